"""GLEAN and LightGLEAN: encoder -> latent bank -> decoder, composed (paper sections 3 and 4)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from glean_plus.models.banks import LatentBank
from glean_plus.models.blocks import init_parts
from glean_plus.models.checkpointing import again, repeatable
from glean_plus.models.codes import LearnedCodes
from glean_plus.models.containers import ModuleDict
from glean_plus.models.contracts import Codes, Decoder, Encoder
from glean_plus.models.task import RESTORATION, TaskSpec
from glean_plus.registry import FOLDED, MODELS


def _build(part: Mapping[str, Any] | nn.Module, **defaults: Any) -> Any:
    """The module of a config, which is of a class of the user's choice; a module stays as it is."""
    if isinstance(part, nn.Module):
        return part
    return MODELS.build(dict(part), default_args=defaults)


def check_size(lq: Tensor, in_size: int, out_size: int) -> None:
    """Raise ValueError if inputs (N, C, H, W) are not of the size that a model restores."""
    height, width = lq.shape[-2:]
    if (height, width) != (in_size, in_size):
        raise ValueError(
            f'The input is {height}x{width}, but this model restores {in_size}x{in_size} to {out_size}x{out_size}: '
            'resize or crop it, or use a config of that input size.'
        )


def check_label(label: Tensor | None, given_class: bool) -> None:
    """Raise ValueError if labels are missing, or not wanted."""
    if (label is not None) != given_class:
        raise ValueError(
            'This model was built with given_class=True and needs a label for each image.'
            if given_class
            else 'This model takes no label; build it with given_class=True to give one.'
        )


def with_class(codes: Sequence[Tensor | None], embedding: Tensor, class_dims: Sequence[int]) -> list[Tensor | None]:
    """Put the embedding (N, dim) of the class before the rest of each code that has room for it."""
    return [
        torch.cat([embedding.to(code.dtype), code.expand(embedding.shape[0], -1)], dim=1)
        if code is not None and class_dim else code
        for code, class_dim in zip(codes, class_dims)
    ]  # fmt: skip


def check_any_size(model: Any, lq: Tensor, origin: tuple[int, int]) -> None:
    """Raise ValueError unless ``model.forward_any`` can be called with inputs (N, C, H, W) at this place."""
    if not model.any_size:
        raise ValueError(
            f'This model is bound to inputs of {model.in_size}x{model.in_size}: its codes are predicted, or its bank '
            'starts at 4, attends to the whole map or normalises over it. Restore larger images in tiles.'
        )
    if any(number % model.multiple for number in (*lq.shape[-2:], *origin)):
        raise ValueError(
            f'Sides and origin must be multiples of {model.multiple}, but are {tuple(lq.shape[-2:])} and {origin}: '
            'pad the input.'
        )


@MODELS.register_module()
class GLEAN(nn.Module):
    """Restores (N, C, in_size, in_size) to (N, C', out_size, out_size), both about -1 to 1.

    One class for both models; the config chooses the parts. With a bank that starts at 4, predicted codes and fusion it
    is GLEAN (Eq. 1-4); with one that starts at the input's resolution, learned codes and no fusion it is LightGLEAN
    (Eq. 10). Sizes and widths that follow from the bank are handed to the other parts, so a config states them once.

    The bank may start below the input's resolution, too: the encoder goes down to half of where it starts. Or above,
    at twice the input's, where it is given f_0 itself. In colorization in_size is out_size (appendix A), and a bank
    that starts there would be its last block alone.

    Args:
        in_size: Nominal side of the input, a resolution of the bank or half of its first.
        bank: The latent bank or its config.
        encoder: The encoder or its config (default: ``GLEANEncoder`` with 23 RRDBs).
        codes: ``PredictedCodes`` or ``LearnedCodes``, or a config; None chooses predicted codes for a whole bank and
            learned ones for a bank that starts higher.
        decoder: The decoder or its config. Its ``resolutions`` are those whose bank features it is given beside f_0;
            with ``wants_input``, it is given the input as well.
        fuse: Fuse encoder features into the bank by a convolution at every resolution up to the input's (S' of Eq. 3);
            None means: if the bank is whole.
        freeze_bank: Keep the bank's weights fixed (section 3.4). False is the paper's fine-tuning ablation.
        given_class: The class is given with each image; its embedding, which the bank knows, starts each code, and
            only the rest is predicted or learned. Otherwise the whole code is.

    Raises:
        ValueError: Where in_size does not fit the bank, the bank has no classes to give, or nothing of the image
            would reach it.

    Example:
        >>> bank = dict(type='StyleGAN2Bank', out_size=32, style_channels=8, channels={4: 8, 8: 8, 16: 8, 32: 8})
        >>> model = GLEAN(8, bank, encoder=dict(type='GLEANEncoder', num_rrdbs=1))
        >>> model(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 3, 32, 32])
    """

    encoder: Encoder
    codes: Codes
    bank: LatentBank
    decoder: Decoder

    def __init__(
        self,
        in_size: int,
        bank: Mapping[str, Any] | LatentBank,
        encoder: Mapping[str, Any] | nn.Module | None = None,
        codes: Mapping[str, Any] | nn.Module | None = None,
        decoder: Mapping[str, Any] | nn.Module | None = None,
        fuse: bool | None = None,
        freeze_bank: bool = True,
        given_class: bool = False,
    ) -> None:
        super().__init__()
        built: LatentBank = _build(bank)
        whole = built.start_res == 4
        lowest_res = 4 if whole else built.start_res // 2
        fitting = sorted({lowest_res, *built.resolutions})
        if in_size not in fitting:
            raise ValueError(
                f'in_size {in_size} does not fit the bank, which makes {built.out_size} px from {built.start_res} on: '
                f'it must be one of {fitting}.'
            )
        if given_class and not any(built.class_dims):
            raise ValueError(f'given_class=True needs a bank with classes, but {type(built).__name__} has none.')
        self.in_size = in_size
        self.out_size = built.out_size
        self.given_class = given_class
        self.encoder = _build(
            encoder or dict(type='GLEANEncoder'), in_size=in_size, lowest_res=lowest_res, channels=built.channels
        )
        self.codes = _build(
            codes or dict(type='PredictedCodes' if whole else 'LearnedCodes'),
            in_channels=built.channels[lowest_res],
            resolution=lowest_res,
            code_dims=[dim - given for dim, given in zip(built.code_dims, self._given_dims(built))],
            layers=built.layers,
        )
        self.recompute = False
        self.fusions: ModuleDict[nn.Conv2d] = ModuleDict()
        fuse = whole if fuse is None else fuse
        if whole and not fuse and isinstance(self.codes, LearnedCodes):
            raise ValueError(
                'With learned codes and without fusion, nothing of the image reaches a bank that starts at 4: '
                'set fuse=True, take PredictedCodes, or start the bank higher.'
            )
        if fuse:
            for res in built.resolutions:
                if res <= in_size:
                    width = built.channels[res]
                    self.fusions[str(res)] = nn.Conv2d(2 * width, width, 3, 1, 1)
        self.bank = built
        self.decoder = _build(
            decoder or dict(type='GLEANDecoder'), in_size=in_size, out_size=built.out_size, channels=built.channels
        )
        if isinstance(self.codes, LearnedCodes):  # each process of several waits for the gradients of all parameters
            read = [res for res in built.resolutions if res <= max(self.decoder.resolutions, default=0)]
            self.codes.train_only([layer for res in read for layer in built.layers_of(res)])
        if freeze_bank:
            built.freeze()

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        return self.encoder.in_channels

    @property
    def out_channels(self) -> int:
        """Channels of the result."""
        return self.decoder.out_channels

    @property
    def task(self) -> str:
        """What the network is for, as its decoder says: ``restoration``, or ``colorization``, which takes lightness."""
        return str(getattr(self.decoder, 'task', RESTORATION))

    def task_spec(self) -> TaskSpec:
        """What the network is for."""
        return TaskSpec(
            task=self.task, in_size=self.in_size, scale=self.out_size // self.in_size, in_channels=self.in_channels,
            out_channels=self.out_channels, any_size=self.any_size, multiple=self.multiple,
            classes=self.bank.num_classes if self.given_class else 0,
        )  # fmt: skip

    @property
    def multiple(self) -> int:
        """Sides that :meth:`forward_any` takes are multiples of this: the encoder's halvings."""
        return self.in_size // self.encoder.resolutions[-1]

    @property
    def any_size(self) -> bool:
        """Whether :meth:`forward_any` can be called: codes are learned, and the bank is convolutions from its start on.

        A whole bank starts from a constant of 4x4, predicted codes are a layer on 4x4. Self-attention takes any size,
        but its cost grows with the square of the area. StyleGAN's instance norm takes any as well, but its statistics
        are those of the whole map, so that a part of an image would not be what it is in the whole.
        """
        bank = self.bank
        attends = any(res in bank.resolutions for res in bank.attention)
        return bank.start_res > 4 and isinstance(self.codes, LearnedCodes) and bank.is_local and not attends

    def init_weights(self) -> None:
        """Load the bank's pre-trained weights, if its config names any, and start learned codes at its mean codes."""
        init_parts(self)
        if self.bank.pretrained is not None:
            codes = zip(self.bank.mean_codes(), self._given_dims(self.bank))
            self.codes.start_from([code[given:] for code, given in codes])

    def forward(
        self,
        lq: Tensor,
        label: Tensor | None = None,
        codes: list[Tensor | None] | None = None,
        any_size: bool = False,
    ) -> Tensor:
        """See the class.

        Args:
            lq: (N, C, in_size, in_size).
            label: Class of each image, (N,), where the model was built with ``given_class``.
            codes: As :meth:`encode` gives them, in place of this input's own: those of the image it is a part of.
            any_size: The same as :meth:`forward_any`, for what wraps a model and calls nothing else of it, as
                ``DistributedDataParallel`` does.

        Raises:
            ValueError: On an input of another size than ``in_size``, without ``any_size``; on a label that is missing
                or not wanted.
        """
        if any_size:
            return self.forward_any(lq, label)
        if codes is None:
            features, codes = self.encode(lq, label)
        else:
            self._check(lq, label)
            features = self.encoder(lq)
        return self.decode(lq, features, self.retrieve(features, codes))

    def forward_any(self, lq: Tensor, label: Tensor | None = None, origin: tuple[int, int] = (0, 0)) -> Tensor:
        """LightGLEAN on inputs of any size and aspect, with the bank's fixed noise continued by repetition.

        An input of ``in_size`` gives what a call of the model gives.

        Args:
            lq: (N, C, H, W), H and W multiples of :attr:`multiple`.
            label: As for a call.
            origin: Where the input's upper left corner lies in the image that it is a part of, multiples as well: the
                noise of a part is that of the whole.

        Returns:
            (N, C', s H, s W), s being out_size / in_size.

        Raises:
            ValueError: If the model is bound to its size, see :attr:`any_size`, or sides or origin are no multiples.
        """
        check_label(label, self.given_class)
        check_any_size(self, lq, origin)
        features, codes = self._encode(lq, label)
        scale = self.out_size // self.in_size
        (height, width), (top, left) = lq.shape[-2:], origin
        noises = self.bank.tiled_noises((scale * height, scale * width), (scale * top, scale * left))
        return self.decode(lq, features, self.retrieve(features, codes, noises=noises))

    def fold(self, dtype: torch.dtype = torch.float32, compiled: bool = False) -> nn.Module:
        """This model for inference alone, as its weights are now: the same images in less time.

        Args:
            dtype: Of the maps, see :class:`glean_plus.accel.FoldedGLEAN`.
            compiled: With a kernel that this machine's C++ compiler builds, see
                :class:`glean_plus.accel.kernel.CompiledGLEAN`.
        """
        folded: nn.Module = FOLDED.get('GLEAN')(self, dtype, compiled)
        return folded

    def encode(self, lq: Tensor, label: Tensor | None = None) -> tuple[dict[int, Tensor], list[Tensor | None]]:
        """Features at each of the encoder's resolutions (Eq. 1), and the code of each layer (Eq. 2, or learned).

        Args and errors are those of a call of the model.
        """
        self._check(lq, label)
        return self._encode(lq, label)

    def _check(self, lq: Tensor, label: Tensor | None) -> None:
        check_label(label, self.given_class)
        check_size(lq, self.in_size, self.out_size)

    def _encode(self, lq: Tensor, label: Tensor | None) -> tuple[dict[int, Tensor], list[Tensor | None]]:
        features = self.encoder(lq)
        codes = self.codes(features[self.encoder.resolutions[-1]])
        if label is not None:
            codes = with_class(codes, self.bank.class_embedding(label), self.bank.class_dims)
        return features, codes

    def decode(self, lq: Tensor, features: Mapping[int, Tensor], bank_features: Mapping[int, Tensor]) -> Tensor:
        """The image from f_0, the bank's features and, where the decoder wants it, the input (Eq. 4)."""
        inputs = (lq,) if getattr(self.decoder, 'wants_input', False) else ()
        return self.decoder(features[self.in_size], bank_features, *inputs)

    def _given_dims(self, bank: LatentBank) -> Sequence[int]:
        """How much of each layer's code is given, not predicted or learned."""
        return bank.class_dims if self.given_class else [0] * len(bank.code_dims)

    def retrieve(
        self,
        features: Mapping[int, Tensor],
        codes: list[Tensor | None],
        *,
        fused: Collection[int] | None = None,
        noises: Mapping[int, Sequence[Tensor]] | None = None,
        wanted: Collection[int] | None = None,
    ) -> dict[int, Tensor]:
        """Walk through the bank, up to the last resolution of the result: Eq. 3, or Eq. 10 where it starts above 4.

        Args:
            features, codes: As :meth:`encode` gives them, or others in their place.
            fused: Resolutions at which encoder features are fused, of those that have a fusion; elsewhere S_i takes
                the place of S_i'. None fuses at all.
            noises: Maps in place of the bank's fixed noise, as its ``draw_noises`` makes them.
            wanted: Resolutions of the result; None gives the decoder's.

        Returns:
            g_i at these resolutions.
        """
        g = None if self.bank.start_res == 4 else features[self.bank.start_res // 2]
        read = self.decoder.resolutions if wanted is None else wanted
        taken: dict[int, Tensor] = {}
        recompute = self.recompute and repeatable(self.bank)
        for res in self.bank.resolutions:
            if res > max(read, default=0):
                break
            given = res, codes, g, noises[res] if noises else None
            feature: Tensor = again(self.bank.step, *given) if recompute and g is not None else self.bank.step(*given)
            if res == 4:  # from the constant: one feature, where the codes are the same for all images
                feature = feature.expand(features[self.in_size].shape[0], -1, -1, -1)
            if str(res) in self.fusions and (fused is None or res in fused):
                feature = self.fusions[str(res)](torch.cat([feature, features[res]], dim=1))
            if res in read:
                taken[res] = feature
            g = feature
        return taken
