"""The contract that every latent bank keeps."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor

from glean_plus.models.banks.space import Space
from glean_plus.models.folding import CopiedBank, FoldedBank
from glean_plus.weights import load_strict, read_pretrained
from glean_plus.weights.formats.layout import PublishedNetwork
from glean_plus.weights.strict import check


def whole_resolutions(out_size: int, start_res: int) -> list[int]:
    """The resolutions of a whole bank, 4 to ``out_size``.

    Raises:
        ValueError: If ``out_size`` is no power of two, or ``start_res`` none of them.
    """
    if out_size < 8 or out_size & (out_size - 1):
        raise ValueError(f'out_size must be a power of two, 8 or more, but is {out_size}.')
    whole = [2**i for i in range(2, out_size.bit_length())]
    if start_res not in whole:
        raise ValueError(f'start_res must be one of {whole}, but is {start_res}.')
    return whole


def check_channels(channels: Mapping[int, int], whole: Sequence[int]) -> None:
    """Raise ValueError if a channel table lacks a resolution of the whole bank."""
    missing = [res for res in whole if res not in channels]
    if missing:
        raise ValueError(f'The channel table {channels} lacks the resolutions {missing}; out_size is {whole[-1]}.')


def class_embedding(table: Tensor, label: Tensor) -> Tensor:
    """Rows (N, dim) of a table (classes, dim); ValueError if a label (N,) is none of its classes."""
    wrong = [index for index in label.flatten().tolist() if not 0 <= index < len(table)]
    if wrong:
        raise ValueError(f'This bank has the classes 0 to {len(table) - 1}, but is given {wrong}.')
    return F.embedding(label, table)


class LatentBank(PublishedNetwork, ABC):
    """A generator whose blocks can be run one resolution at a time, on codes and features from elsewhere.

    GLEAN (paper section 3.2) walks through the blocks with :meth:`step`, fusing encoder features in between; LightGLEAN
    (section 4, Eq. 10) starts the walk at a higher resolution. The same module is a GAN's generator through
    :meth:`forward`, so that it can be pre-trained and sampled.

    All that the package knows of a bank is in its class: a new one is a file, and an import in this folder's
    ``__init__``.

    Attributes:
        channels: Width of the features at each resolution, keyed by resolution.
        resolutions: The resolutions of the blocks that this instance holds, ascending.
        start_res: The first of them; blocks below it do not exist in this instance.
        out_size: The last of them, the side of the image.
        code_dims: Length of the latent code of each conditioned layer of the whole bank, first layer first. A layer is
            what one code steers: a style layer of StyleGAN, a block of BigGAN.
        class_dims: How much of each layer's code, from its start, is the embedding of a class; zeros for a bank
            without classes.
        num_classes: How many classes there are; 0 for a bank without.
        noise_size: Length of the noise that it makes images from.
        layers: Indices of the layers that this instance holds.
        attention: The resolutions whose block ends with self-attention.
        pretrained: Where its weights come from, ``dict(checkpoint=path or URL, prefix=...)``, or None. Without
            ``prefix``, the averaged generator of the file.
    """

    channels: Mapping[int, int]
    resolutions: Sequence[int]
    start_res: int
    out_size: int
    code_dims: Sequence[int]
    class_dims: Sequence[int]
    num_classes: int = 0
    noise_size: int
    layers: Sequence[int]
    attention: Sequence[int] = ()
    pretrained: Mapping[str, Any] | None = None
    frozen: bool = False

    # Whether what a block makes of a place follows from its neighbourhood. Self-attention does not count: it is not the
    # kind of bank that has it, but the instance.
    is_local: ClassVar[bool] = True

    # Whether each block adds its share to the bank's own image, so that one without its first blocks lacks theirs.
    adds_images: ClassVar[bool] = False

    # Arguments whose False leaves out what only images from noise need.
    optional: ClassVar[tuple[str, ...]] = ('rgb',)

    # Names of the spaces in which it can be searched for an image, the default first.
    spaces: ClassVar[tuple[str, ...]] = ()

    # Start of a key -> why an instance may do without such tensors of a whole bank; for the log.
    left_out: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        banks = [base for base in cls.__bases__ if issubclass(base, LatentBank) and not inspect.isabstract(base)]
        if banks and 'fold' not in vars(cls):  # it may compute something else than the bank that it is derived from
            cls.fold = LatentBank.fold  # type: ignore[method-assign]  # a method is given, not replaced

    @abstractmethod
    def layers_of(self, resolution: int) -> tuple[int, ...]:
        """Indices of the layers of the block that ends at ``resolution``."""

    @abstractmethod
    def step(
        self,
        resolution: int,
        codes: Sequence[Tensor | None],
        feature: Tensor | None = None,
        noises: Sequence[Tensor | None] | None = None,
    ) -> Tensor:
        """Run the block that ends at ``resolution``: S_i of Eq. 3 and 10.

        Args:
            resolution: One of :attr:`resolutions`.
            codes: One code (N, code_dims[k]) per style layer of the whole bank, in order; the block picks its own. None
                where this instance has no such layer.
            feature: (N, channels[resolution / 2], H / 2, W / 2), already fused with the encoder's feature; None at the
                very first resolution of a whole bank, which starts from its constant.
            noises: In place of the bank's fixed noise, one map (N or 1, 1, H, W) for each layer of the block; None in
                place of a map adds none. A bank without noise maps leaves it unused.

        Returns:
            g_i, (N, channels[resolution], H, W).
        """

    @abstractmethod
    def picture(self, codes: Sequence[Tensor | None], features: Mapping[int, Tensor]) -> Tensor:
        """The bank's own image, which GLEAN's decoder is otherwise there for; needs ``rgb=True``.

        Args:
            codes: As for :meth:`step`.
            features: g_i (N, channels[res], res, res) by resolution, those of :attr:`resolutions`; a bank that draws
                its image from the last one needs no other.

        Returns:
            (N, out_channels, out_size, out_size), about -1 to 1. A StyleGAN2 that starts above 4 lacks the share of
            its image that the blocks below add.

        Raises:
            RuntimeError: If the bank was built without the layers for it.
        """

    def draw_noises(self, generator: torch.Generator | None = None) -> dict[int, list[Tensor]]:
        """New noise maps of each block, (1, 1, res, res) each, by resolution; empty for a bank that has none."""
        return {}

    def tiled_noises(self, size: tuple[int, int], corner: tuple[int, int] = (0, 0)) -> dict[int, list[Tensor]]:
        """The fixed noise maps of each block for an image of another size; empty for a bank that has none.

        They are repeated: what the layers have learned of a map holds for its copies.

        Args:
            size: Height and width of the image, in pixels of ``out_size``.
            corner: Row and column at which it begins in the endless image.

        Returns:
            (1, 1, H, W) each, by resolution, as :meth:`step` takes them.
        """
        return {}

    def set_noises(self, noises: Mapping[int, Sequence[Tensor]]) -> None:
        """Take other fixed noise maps, such as those of :meth:`draw_noises`."""

    def fold(self, codes: Sequence[Tensor | None], dtype: torch.dtype) -> FoldedBank | CopiedBank:
        """This bank for inference and export, with its weights as they are now: a copy, unless the class has a way.

        A class does not inherit this method from a bank that can be built. What it returns can be traced, see
        :mod:`glean_plus.models.folding`.

        Args:
            codes: The code (1, code_dims[k]) of each layer that all images share; None where each has its own.
            dtype: Of the maps.
        """
        return CopiedBank(self, dtype)

    @abstractmethod
    def mean_codes(self, num_samples: int = 4096, seed: int = 0) -> list[Tensor]:
        """The average code of each layer of the whole bank, (code_dims[k],): its most typical image.

        Same seed, same result.
        """

    def code_spreads(self, num_samples: int = 4096, seed: int = 0) -> list[Tensor] | None:
        """The standard deviation of each layer's codes, (code_dims[k],), around :meth:`mean_codes`; None if unknown."""
        return None

    def space(self, name: str, seed: int = 0, label: int | None = None) -> Space:
        """Where this bank, which must be whole, is searched for an image.

        Args:
            name: One of :attr:`spaces`.
            seed: Of what is random of it.
            label: Class of the image, for a bank with classes; None searches it.

        Raises:
            ValueError: If there is no such class.
        """
        raise ValueError(f'{type(self).__name__} has no space to search.')

    @abstractmethod
    def whole(self) -> LatentBank:
        """The whole generator that this instance is a part of, as a checkpoint holds it; built on the meta device."""

    def class_embedding(self, label: Tensor) -> Tensor:
        """Classes (N,) -> their embedding (N, class dim), with which each layer's code starts.

        Raises:
            ValueError: If the bank has no classes, or not this one.
        """
        if not self.num_classes:
            raise ValueError(f'{type(self).__name__} has no classes, but is given the label {label.tolist()}.')
        return class_embedding(self.class_table(), label)

    def class_table(self) -> Tensor:
        """The embedding of each class, (num_classes, class dim)."""
        raise NotImplementedError

    def load(self, state: Mapping[str, Tensor], source: str) -> None:
        """Load a whole bank's weights, strictly, into what this instance keeps of it.

        Raises:
            WeightsError: If a key of the whole bank is missing, unexpected or of another shape.
        """
        name = type(self).__name__
        with torch.device('meta'):
            whole = self.whole().state_dict()
        check(whole, state, source, f'a whole {name} of {self.out_size} px')
        state = self._as_held(state)
        kept = self._kept(state)
        load_strict(self, kept, source, name)
        reasons = Counter(self._reason(key) for key in state if key not in kept)
        if reasons:
            listing = ', '.join(f'{count} tensors of {reason}' for reason, count in reasons.items())
            print_log(f'{name}: {listing} left out', logger='current')

    def _as_held(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """A whole bank's state, as a checkpoint holds it, in the form in which this instance holds its tensors."""
        return state

    def _kept(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What of a whole bank's state this instance holds."""
        own = self.state_dict().keys()
        return {key: value for key, value in state.items() if key in own}

    def _reason(self, key: str) -> str:
        reason = next((reason for start, reason in self.left_out.items() if key.startswith(start)), None)
        return reason or f'blocks below {self.start_res} (the bank starts there)'

    def init_weights(self) -> None:
        """Load :attr:`pretrained`, if there is any. MMEngine's runner calls this before training.

        Any published format will do that :mod:`glean_plus.weights.formats` knows.
        """
        if self.pretrained is not None:
            with torch.device('meta'):
                keys = self.whole().state_dict().keys()
            self.load(*read_pretrained(self.pretrained, type(self), vars(self), keys))

    def freeze(self) -> LatentBank:
        """Fix the weights (section 3.4): no gradients, and evaluation mode even while the rest trains."""
        self.frozen = True
        self.requires_grad_(False)
        return self.eval()

    def train(self, mode: bool = True) -> LatentBank:
        super().train(mode and not self.frozen)
        return self
