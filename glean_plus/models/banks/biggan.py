"""BigGAN as a latent bank (Brock et al., ICLR 2019; paper section 3.2), and what BigGAN-deep shares with it."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from glean_plus.models.banks.base import LatentBank, check_channels, whole_resolutions
from glean_plus.models.banks.biggan_layers import (
    ConditionalBatchNorm,
    Conv,
    FoldedAttention,
    FoldedNorm,
    FoldedNormedConv,
    FoldedStart,
    OutputLayer,
    SelfAttention,
    folded_conv,
    upsample,
)
from glean_plus.models.banks.mmagic import BIGGAN, MMagicArguments, accepts_mmagic
from glean_plus.models.banks.space import Space
from glean_plus.models.folding import FoldedBank, FoldedLayer, missing_feature, needed, weight_of
from glean_plus.models.spectral_norm import (
    NAMES,
    SpectralLinear,
    SpectralOptions,
    plain_weight,
    resolve_spectral_norm,
    stored_style,
)
from glean_plus.registry import MODELS
from glean_plus.weights import WeightsError
from glean_plus.weights.formats.layout import count, side

# Size of the images -> widths at 4, 8, ..., in units of base_channels.
WIDTHS: dict[int, tuple[int, ...]] = {
    32: (4, 4, 4, 4),
    64: (16, 16, 8, 4, 2),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
    512: (16, 16, 8, 8, 4, 2, 1, 1),
}


def biggan_channels(out_size: int, base_channels: int) -> dict[int, int]:
    """The published channel table; BigGAN's ``base_channels`` is 96, BigGAN-deep's 128.

    Raises:
        ValueError: If none is published for this size.
    """
    if out_size not in WIDTHS:
        raise ValueError(f'There is no published BigGAN of {out_size} px, only of {sorted(WIDTHS)}; give `channels`.')
    return {4 << index: base_channels * width for index, width in enumerate(WIDTHS[out_size])}


class ClassSpace(Space):
    """Noise and class of a BigGAN or BigGAN-deep bank: PULSE's idea for them.

    The noise is on its sphere; the embedding of the class is given or, for images whose class is not known, searched,
    in units of the spread of the known classes.

    Args:
        bank: A whole bank.
        label: The class; None searches its embedding, from the mean of all classes on.
    """

    def __init__(self, bank: BigGANBase, label: int | None) -> None:
        self.bank, self.searched = bank, label is None
        device = bank.shared_embedding.weight.device
        classes = torch.arange(bank.num_classes, device=device)
        known = bank.class_embedding(classes).detach()
        self.mean, self.std = known.mean(dim=0), known.std(dim=0, unbiased=False)
        if label is not None:
            if not 0 <= label < bank.num_classes:
                raise ValueError(f'The bank has the classes 0 to {bank.num_classes - 1}, but the label is {label}.')
            self.mean = known[label]

    def start(self, count: int, generator: torch.Generator) -> list[Tensor]:
        tensors = [torch.randn(count, 1, self.bank.noise_size, generator=generator)]
        self.to_sphere(tensors)
        return tensors + ([torch.zeros(count, self.bank.shared_dim)] if self.searched else [])

    def draw(self, tensors: list[Tensor]) -> Tensor:
        noise = tensors[0][:, 0]
        embedding = self.mean + self.std * tensors[1] if self.searched else self.mean.expand(len(noise), -1)
        return self.bank(noise, embedding, use_outside_embedding=True)

    def prior(self, tensors: list[Tensor]) -> Tensor:
        return tensors[1].square().mean(dim=1) if self.searched else tensors[0].new_zeros(len(tensors[0]))


class BigGANBase(LatentBank):
    """What both BigGANs are: a linear layer to 4x4, blocks steered by [class embedding | noise], self-attention.

    The layers of the bank, and so its codes, are the linear layer (layer 0) and each block in turn.

    Frozen, the bank has no spectral normalisation left: :meth:`freeze` turns its layers into plain ones, and
    :meth:`load` does the same to a checkpoint. A frozen bank cannot go back to training.

    Args:
        out_size: Side of the image, a power of two.
        start_res: First resolution that is kept. 4 keeps everything; above it, the linear layer and the blocks below
            do not exist, as in LightGLEAN (Eq. 10).
        noise_size: Length of the noise z; the published one if None.
        num_classes: Number of classes.
        shared_dim: Length of a class' embedding.
        base_channels: Unit of the published channel table; its own unit if None. Not used with ``channels``.
        channels: Width per resolution from 4 on, e.g. ``{4: 128, 8: 128, 16: 64}``; the published table if None.
        attention: Resolutions whose block is followed by self-attention; those above ``out_size`` do not exist.
        sn_style: How the checkpoint stores spectral normalisation, ``ajbrock`` or ``torch``; the published checkpoints'
            way if None.
        sn_eps: Least norm of its vectors.
        out_channels: Channels of the image.
        embedding: Keep the embedding of the classes, which given classes and :meth:`forward` need. A bank whose codes
            are predicted or learned as a whole does without.
        rgb: Keep the output layer, which only :meth:`forward` uses.
        pretrained: ``dict(checkpoint=path or URL, prefix='generator_ema')``, loaded by :meth:`init_weights`.
        flip_channels: Reverse the order of the channels in what :meth:`forward` makes; MMagic's ``rgb2bgr``.

    The arguments of MMagic's generators are taken as well, those that a bank has no use for with the values that change
    nothing.

    Raises:
        ValueError: On sizes that are no powers of two, a channel table with a gap, or a value of one of MMagic's
            arguments that a bank cannot have.
    """

    left_out = {
        'shared_embedding.': 'class embedding (no class is given)',
        'output_layer.': 'output layer (the decoder makes the image)',
    }

    origin = 'MMagic'
    optional = ('embedding', 'rgb')
    spaces = ('z',)

    # What is published, and how many blocks there are a resolution.
    published: ClassVar[Mapping[str, Any]]
    blocks_per_resolution: ClassVar[int]
    # The convolution of a block to the width that it ends with.
    widening: ClassVar[str]
    # A block for inference; arguments: one of the blocks, the index of its code, and as of FoldedNorm.
    folded_block: ClassVar[Callable[..., FoldedLayer]]
    # Each layer has its own part of the noise, and the first no class: "hierarchical latent space".
    splits_noise: ClassVar[bool]
    mmagic: ClassVar[MMagicArguments]

    @accepts_mmagic
    def __init__(
        self,
        out_size: int,
        start_res: int = 4,
        noise_size: int | None = None,
        num_classes: int = 1000,
        shared_dim: int = 128,
        base_channels: int | None = None,
        channels: Mapping[int, int] | None = None,
        attention: Sequence[int] = (64,),
        sn_style: str | None = None,
        sn_eps: float = 1e-6,
        out_channels: int = 3,
        embedding: bool = True,
        rgb: bool = True,
        pretrained: Mapping[str, Any] | None = None,
        flip_channels: bool = False,
    ) -> None:
        super().__init__()
        self.pretrained, self.flip_channels = pretrained, flip_channels
        whole = whole_resolutions(out_size, start_res)
        if num_classes < 1:
            raise ValueError(f'{type(self).__name__} needs classes, but num_classes is {num_classes}.')
        if channels is None:
            table = biggan_channels(out_size, base_channels or self.published['base_channels'])
        else:
            table = {int(res): width for res, width in channels.items()}
        check_channels(table, whole)

        self.out_size, self.start_res, self.out_channels = out_size, start_res, out_channels
        self.num_classes, self.shared_dim = num_classes, shared_dim
        self.channels = {res: table[res] for res in whole}
        self.attention = tuple(res for res in attention if res in whole)
        self.resolutions = tuple(res for res in whole if res >= start_res)
        self.layers = tuple(layer for res in self.resolutions for layer in self.layers_of(res))
        self.sn_style, self.sn_eps = sn_style or self.published['sn_style'], sn_eps
        # Names of the layers that freeze() has made plain; they stand in a checkpoint in their original form.
        self._resolved: list[str] = []
        self._loaded_embedding: Tensor | None = None  # that of an instance without any, for its statistics

        num_layers = 1 + self.blocks_per_resolution * (len(whole) - 1)
        noise_size = noise_size or self.published['noise_size']
        noise_dim = noise_size // num_layers if self.splits_noise else noise_size
        self.noise_size = noise_dim * num_layers if self.splits_noise else noise_dim
        if noise_dim < 1:
            raise ValueError(f'noise_size {noise_size} is too short to be split over {num_layers} layers.')
        self.class_dims = (0 if self.splits_noise else shared_dim, *[shared_dim] * (num_layers - 1))
        self.code_dims = tuple(class_dim + noise_dim for class_dim in self.class_dims)

        sn = SpectralOptions(sn_style=self.sn_style, sn_eps=sn_eps)
        if start_res == 4:
            self.noise2feat = SpectralLinear(self.code_dims[0], table[4] * 16, True, **sn)
        if embedding:
            self.shared_embedding = nn.Embedding(num_classes, shared_dim)
            nn.init.orthogonal_(self.shared_embedding.weight)
        # The keys are MMagic's: blocks and attention are numbered in a row.
        self.conv_blocks = nn.ModuleDict()
        for res in self.resolutions:
            if res > 4:
                blocks = self._blocks(table[res // 2], table[res], self.code_dims[-1], sn)
                blocks += [SelfAttention(table[res], sn)] if res in self.attention else []
                self.conv_blocks.update(dict(zip(self.names_of(res), blocks)))
        if rgb:
            self.output_layer = OutputLayer(table[out_size], out_channels, sn)

    @classmethod
    def hyperparameters(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        weight, style = stored_style(state, 'noise2feat')
        numbers = range(count(state, r'conv_blocks\.(\d+)\.'))
        blocks = [n for n in numbers if f'conv_blocks.{n}.gamma' not in state]
        # Of several blocks a resolution, the last goes to the resolution's width.
        last = blocks[cls.blocks_per_resolution - 1::cls.blocks_per_resolution]
        widths = [state[f'conv_blocks.{n}.{cls.widening}.conv.{weight}'].shape[0] for n in last]
        classes, shared = state['shared_embedding.weight'].shape
        condition = state[f'conv_blocks.0.bn1.gain.{weight}'].shape[1]
        first = state[f'noise2feat.{weight}'].shape[1]
        if condition != first + (shared if cls.splits_noise else 0):
            raise WeightsError(
                f'its blocks are conditioned on {condition} numbers and its first layer on {first}: the noise does not '
                f'go into every block, as it does in a bank.'
            )
        return dict(
            out_size=side(len(last)),
            noise_size=first * (len(last) + 1) if cls.splits_noise else first - shared,
            num_classes=classes,
            shared_dim=shared,
            channels={4: state[f'conv_blocks.0.conv1.conv.{weight}'].shape[1]}
            | {side(i): width for i, width in enumerate(widths, start=1)},
            attention=tuple(side(i) for i, n in enumerate(last, start=1) if f'conv_blocks.{n + 1}.gamma' in state),
            sn_style=style,
            out_channels=state['output_layer.conv.bias'].shape[0],
        )

    @abstractmethod
    def _blocks(self, below: int, width: int, code_dim: int, sn: SpectralOptions) -> list[nn.Module]:
        """The blocks of a resolution, each with call (feature, code); together they double the size and go from the
        width below to its own."""

    def _start(self, code: Tensor) -> Tensor:
        """The linear layer: (N, code_dims[0]) -> (N, channels[4], 4, 4)."""
        return self.noise2feat(code).unflatten(1, (-1, 4, 4))

    def conditioned(self, code: Tensor) -> Tensor:
        """A code in the order in which the checkpoints' weights take it."""
        return code

    def layers_of(self, resolution: int) -> tuple[int, ...]:
        """Indices of a resolution's layers."""
        above, count = int(math.log2(resolution)) - 2, self.blocks_per_resolution
        return (0,) if above == 0 else tuple(range(1 + (above - 1) * count, 1 + above * count))

    def names_of(self, resolution: int) -> list[str]:
        """Names of a resolution's blocks, and last of its attention if it has one."""
        if resolution == 4:
            return []
        first = self.layers_of(resolution)[0] - 1 + sum(res < resolution for res in self.attention)
        return [str(first + i) for i in range(self.blocks_per_resolution + (resolution in self.attention))]

    def step(
        self,
        resolution: int,
        codes: Sequence[Tensor | None],
        feature: Tensor | None = None,
        noises: Sequence[Tensor | None] | None = None,
    ) -> Tensor:
        if resolution == 4:
            return self._start(needed(codes[0]))
        if feature is None:
            raise missing_feature(resolution)
        g: Tensor = feature
        names = self.names_of(resolution)
        for name, layer in zip(names, self.layers_of(resolution)):
            g = self.conv_blocks[name](g, self.conditioned(needed(codes[layer])))
        return self.conv_blocks[names[-1]](g) if resolution in self.attention else g

    def fold(self, codes: Sequence[Tensor | None], dtype: torch.dtype) -> FoldedBank:
        roll = 0 if self.splits_noise else self.shared_dim  # see conditioned()
        layers: dict[int, list[FoldedLayer]] = {}
        if self.start_res == 4:
            weight = weight_of(self.noise2feat).roll(roll, 1)
            weight, bias = map(self._channels_last, (weight, self.noise2feat.bias))
            layers[4] = [FoldedStart(weight, bias, dtype, codes[0])]
        for res in self.resolutions:
            if res > 4:
                names = self.names_of(res)
                layers[res] = [
                    self.folded_block(self.conv_blocks[name], index, codes[index], roll, dtype)
                    for name, index in zip(names, self.layers_of(res))
                ]
                last = self.conv_blocks[names[-1]]
                if isinstance(last, SelfAttention):
                    layers[res].append(FoldedAttention(last, dtype))
        return FoldedBank(layers, constant=self.start_res == 4 and codes[0] is not None)

    def _channels_last(self, rows: Tensor) -> Tensor:
        """Rows of the linear layer's weight or bias, (C 4 4, ...) -> (4 4 C, ...)."""
        return rows.unflatten(0, (-1, 16)).transpose(0, 1).flatten(0, 1)

    def class_table(self) -> Tensor:
        if not hasattr(self, 'shared_embedding'):
            raise RuntimeError('This bank was built without the embedding of classes; build it with embedding=True.')
        return self.shared_embedding.weight

    def picture(self, codes: Sequence[Tensor | None], features: Mapping[int, Tensor]) -> Tensor:
        self._need_output_layer()
        image = self.output_layer(features[self.out_size])
        # Half precision has fewer levels than an image.
        return torch.tanh(image.to(torch.promote_types(image.dtype, torch.float32)))

    def _need_output_layer(self) -> None:
        if not hasattr(self, 'output_layer'):
            raise RuntimeError('This bank was built without the output layer; build it with rgb=True to make images.')

    def codes(self, noise: Tensor, embedding: Tensor) -> list[Tensor]:
        """Noise (N, noise_size) and classes' embedding (N, shared_dim) -> the code of each layer."""
        parts = noise.chunk(len(self.code_dims), dim=1) if self.splits_noise else [noise] * len(self.code_dims)
        return [
            torch.cat([embedding.to(part.dtype), part], dim=1) if class_dim else part
            for class_dim, part in zip(self.class_dims, parts)
        ]

    @torch.no_grad()
    def mean_codes(self, num_samples: int = 4096, seed: int = 0) -> list[Tensor]:
        """The mean of the classes' embeddings, then zeros, which are the mean of the noise; nothing is sampled."""
        mean = self._classes().mean(dim=0)
        return [code[0] for code in self.codes(mean.new_zeros(1, self.noise_size), mean[None])]

    @torch.no_grad()
    def code_spreads(self, num_samples: int = 4096, seed: int = 0) -> list[Tensor]:
        """That of the classes' embeddings, then ones, which are that of the noise; nothing is sampled."""
        spread = self._classes().std(dim=0)
        return [code[0] for code in self.codes(spread.new_ones(1, self.noise_size), spread[None])]

    def _classes(self) -> Tensor:
        """The embedding of each class (classes, shared_dim): the bank's, or its checkpoint's."""
        if hasattr(self, 'shared_embedding'):
            return self.shared_embedding.weight
        if self._loaded_embedding is None:
            raise RuntimeError(
                "The mean codes need the classes' embedding: build the bank with embedding=True, or load a checkpoint."
            )
        return self._loaded_embedding

    def space(self, name: str, seed: int = 0, label: int | None = None) -> Space:
        return ClassSpace(self, label)

    def whole(self) -> BigGANBase:
        return type(self)(
            self.out_size, noise_size=self.noise_size, num_classes=self.num_classes, shared_dim=self.shared_dim,
            channels=self.channels, attention=self.attention, sn_style=self.sn_style, sn_eps=self.sn_eps,
            out_channels=self.out_channels,
        )  # fmt: skip

    def freeze(self) -> LatentBank:
        self._resolved += resolve_spectral_norm(self)
        return super().freeze()

    def load(self, state: Mapping[str, Tensor], source: str) -> None:
        # Batch norm's count of batches, which old checkpoints lack and nothing here reads.
        averages = [key for key in state if key.endswith('.running_mean')]
        counts = {key.replace('running_mean', 'num_batches_tracked'): torch.tensor(0) for key in averages}
        super().load(counts | dict(state), source)
        self._loaded_embedding = state['shared_embedding.weight'].float()

    def _as_held(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """With the spectral normalisation of the layers that were made plain resolved alike."""
        held = dict(state)
        for layer in self._resolved:
            names = [f'{layer}.{name}' for name in (*NAMES[self.sn_style], 'sv0') if name]
            tensors = {name.rpartition('.')[2]: held.pop(name).float() for name in names if name in held}
            held[f'{layer}.weight'] = plain_weight(tensors, self.sn_style, self.sn_eps)
        if self._resolved:
            print_log(f'{type(self).__name__}: spectral normalisation of {len(self._resolved)} layers resolved into '
                      'their weights', logger='current')
        return held

    def forward(
        self,
        noise: Tensor | Callable[[tuple[int, int]], Tensor] | None = None,
        label: Tensor | Callable[[tuple[int]], Tensor] | None = None,
        num_batches: int = 0,
        return_noise: bool = False,
        truncation: float = -1.0,
        use_outside_embedding: bool = False,
    ) -> Tensor | dict:
        """Make images; the interface is that of MMagic's ``BigGANGenerator``, so that its trainer works.

        Args:
            noise: (N, noise_size); a function of a shape, or None for a normal distribution, draws ``num_batches``.
            label: Classes (N,) or (N, 1); a function of a shape, or None for a uniform distribution, draws them.
            num_batches: How many to draw.
            return_noise: Return a dict of ``fake_img``, ``noise_batch``, ``label``.
            truncation: From 0 on, noise beyond this bound is set to it.
            use_outside_embedding: ``label`` is the embedding (N, shared_dim).

        Returns:
            Images (N, out_channels, out_size, out_size), -1 to 1, in the channel order of the training (RGB in the
            checkpoints that OpenMMLab converted), or the dict.
        """
        if self.start_res != 4:
            raise RuntimeError(f'This bank starts at {self.start_res} and makes no images; only a whole one does.')
        self._need_output_layer()
        if num_batches < 1 and not (isinstance(noise, Tensor) and isinstance(label, Tensor)):
            raise ValueError(f'num_batches must be positive where noise or label is drawn, but is {num_batches}.')
        if not isinstance(noise, Tensor):
            noise = (noise or torch.randn)((num_batches, self.noise_size))
        if noise.ndim != 2 or noise.shape[1] != self.noise_size:
            raise ValueError(f'The noise must have the shape (N, {self.noise_size}), but has {tuple(noise.shape)}.')
        if truncation >= 0:
            noise = noise.clamp(-truncation, truncation)
        if label is None:
            label = torch.randint(0, self.num_classes, (num_batches,))
        elif not isinstance(label, Tensor):
            label = label((num_batches,))
        noise, label = noise.to(self.noise2feat.bias), label.to(self.noise2feat.bias.device)
        embedding = label if use_outside_embedding else self.class_embedding(label.flatten())
        if embedding.shape != (len(noise), self.shared_dim):
            what = 'embedding' if use_outside_embedding else 'classes'
            expected = (len(noise), self.shared_dim) if use_outside_embedding else (len(noise),)
            raise ValueError(f'The {what} of this noise must have the shape {expected}, but has {tuple(label.shape)}.')
        codes = self.codes(noise, embedding)
        first, *others = self.resolutions
        feature = self.step(first, codes)
        for res in others:
            feature = self.step(res, codes, feature)
        image = self.picture(codes, {self.out_size: feature})
        image = image.flip(1) if self.flip_channels else image
        return dict(fake_img=image, noise_batch=noise, label=label) if return_noise else image


class ResBlock(nn.Module):
    """BigGAN's block, which doubles the size."""

    def __init__(self, in_channels: int, out_channels: int, code_dim: int, sn: SpectralOptions) -> None:
        super().__init__()
        self.bn1 = ConditionalBatchNorm(in_channels, code_dim, sn)
        self.conv1 = Conv(in_channels, out_channels, 3, sn)
        self.bn2 = ConditionalBatchNorm(out_channels, code_dim, sn)
        self.conv2 = Conv(out_channels, out_channels, 3, sn)
        self.shortcut = Conv(in_channels, out_channels, 1, sn)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        y = self.conv1(upsample(self.bn1(x, code)))
        y = self.conv2(self.bn2(y, code))
        # A 1x1 convolution and repetition commute, and before it there is a quarter to compute.
        return y + upsample(self.shortcut(x))


class FoldedResBlock(FoldedLayer):
    """A :class:`ResBlock`; arguments as of :class:`FoldedNorm`."""

    def __init__(self, block: ResBlock, index: int, code: Tensor | None, roll: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.index, self.norm = index, FoldedNorm(block.bn1, code, roll)
        self.conv1 = FoldedNormedConv(block.conv1, FoldedNorm(block.bn2, code, roll), dtype, up=True)
        self.conv2, self.shortcut = folded_conv(block.conv2, dtype), folded_conv(block.shortcut, dtype)

    def forward(self, x: Tensor, code: Tensor | None, noise: Tensor | None) -> Tensor:
        y = self.conv1(self.norm(x, code), code)
        return self.conv2(y).add_(upsample(self.shortcut(x)))


@MODELS.register_module()
class BigGANBank(BigGANBase):
    """BigGAN's generator, whole or from a resolution on, with MMagic's state-dict keys.

    The noise is split evenly over the layers: layer 0, the linear one, has a code of its part alone, the block that
    ends at 4 * 2**k, layer k, one of [class embedding | its part]. The arguments are those of :class:`BigGANBase`;
    published are 120 for ``noise_size`` (what does not divide evenly is left out, so 119 at 256 px), 96 for
    ``base_channels``, ``ajbrock`` for ``sn_style``, and 32 to 512 px for ``out_size``.

    Example:
        >>> channels = {4: 8, 8: 8, 16: 8}
        >>> bank = BigGANBank(16, noise_size=6, num_classes=3, shared_dim=4, channels=channels, attention=())
        >>> bank(torch.zeros(2, 6), torch.tensor([0, 2])).shape
        torch.Size([2, 3, 16, 16])
    """

    architecture = 'BigGAN'
    anchors = ('noise2feat.bias', 'conv_blocks.0.shortcut.conv.bias')
    mmagic = BIGGAN
    published = dict(noise_size=120, base_channels=96, sn_style='ajbrock')
    blocks_per_resolution = 1
    widening = 'conv1'
    folded_block = FoldedResBlock
    splits_noise = True

    def _blocks(self, below: int, width: int, code_dim: int, sn: SpectralOptions) -> list[nn.Module]:
        return [ResBlock(below, width, code_dim, sn)]
