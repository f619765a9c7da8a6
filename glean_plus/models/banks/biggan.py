"""BigGAN as a latent bank (Brock et al., ICLR 2019; paper section 3.2), and what BigGAN-deep shares with it."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor, nn

from glean_plus.models.banks.base import LatentBank, check_channels, whole_resolutions
from glean_plus.models.banks.mmagic import BIGGAN, MMagicArguments, accepts_mmagic
from glean_plus.models.folding import FoldedBank, FoldedConv, FoldedLayer, weight_of
from glean_plus.models.spectral_norm import (
    NAMES,
    SpectralConv2d,
    SpectralLinear,
    plain_weight,
    resolve_spectral_norm,
)
from glean_plus.registry import MODELS

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


class Conv(nn.Module):
    """Holds a spectrally normalised convolution where MMagic's keys have it."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, sn: Mapping[str, Any], bias: bool = True
    ) -> None:
        super().__init__()
        self.conv = SpectralConv2d(in_channels, out_channels, kernel_size, bias, **sn)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation whose gain and bias are linear in the code, followed by a ReLU."""

    def __init__(self, channels: int, code_dim: int, sn: Mapping[str, Any]) -> None:
        super().__init__()
        self.gain = SpectralLinear(code_dim, channels, False, **sn)
        self.bias = SpectralLinear(code_dim, channels, False, **sn)
        self.bn = nn.BatchNorm2d(channels, affine=False)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """(N, channels, H, W) and (N or 1, code_dim) -> (N, channels, H, W)."""
        x = self.bn(x)
        gain, bias = (layer(code).to(x.dtype)[:, :, None, None] for layer in (self.gain, self.bias))  # [NC11]
        return F.relu(torch.addcmul(bias, x, 1 + gain), inplace=True)


class SelfAttention(nn.Module):
    """Every position attends to the positions of the feature at half the size (Zhang et al., ICML 2019)."""

    def __init__(self, channels: int, sn: Mapping[str, Any]) -> None:
        super().__init__()
        if channels < 8:
            raise ValueError(f'Self-attention needs 8 channels or more, but its resolution has {channels}.')
        self.theta = Conv(channels, channels // 8, 1, sn, bias=False)
        self.phi = Conv(channels, channels // 8, 1, sn, bias=False)
        self.g = Conv(channels, channels // 2, 1, sn, bias=False)
        self.o = Conv(channels // 2, channels, 1, sn, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query = self.theta(x).flatten(2).transpose(1, 2)                     # [N, HW, C/8]
        key = F.max_pool2d(self.phi(x), 2).flatten(2)                        # [N, C/8, HW/4]
        value = F.max_pool2d(self.g(x), 2).flatten(2).transpose(1, 2)        # [N, HW/4, C/2]
        attended = F.softmax(query @ key, dim=-1).to(value.dtype) @ value    # [N, HW, C/2]
        attended = self.o(attended.transpose(1, 2).unflatten(2, x.shape[2:]))
        return x + self.gamma.to(x.dtype) * attended.to(x.dtype)


def upsample(x: Tensor) -> Tensor:
    """Double height and width by repetition."""
    return F.interpolate(x, scale_factor=2, mode='nearest')


class ResBlock(nn.Module):
    """BigGAN's block, which doubles the size."""

    def __init__(self, in_channels: int, out_channels: int, code_dim: int, sn: Mapping[str, Any]) -> None:
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


class FoldedNorm(nn.Module):
    """Conditional batch norm and ReLU: a scale and a shift of each channel, linear in the code.

    Args:
        layer: The module.
        code: The code (1, code_dim) of all images, or None if each has its own.
        roll: By how much the bank's weights take the code rolled.
        dtype: Of the maps.

    Attributes:
        constant: Scale and shift (1, C) of all images; None if each has its own.
    """

    def __init__(self, layer: ConditionalBatchNorm, code: Tensor | None, roll: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        gain, bias = (weight_of(part).detach().roll(roll, 1) for part in (layer.gain, layer.bias))
        # (x - mean) / std * (1 + gain c) + bias c
        factor = (layer.bn.running_var + layer.bn.eps).rsqrt()
        mean = layer.bn.running_mean * factor
        self.affine = torch.cat([factor[:, None] * gain, bias - mean[:, None] * gain]), torch.cat([factor, -mean])
        self.constant = None if code is None else self._scales(code.detach())

    def _scales(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """(N, code_dim) -> scale and shift (N, C), float32."""
        scale, shift = F.linear(code.float(), *self.affine).chunk(2, dim=1)
        return scale, shift

    def forward(self, x: Tensor, code: Tensor | None) -> Tensor:
        scale, shift = self._scales(code) if self.constant is None else self.constant
        scale, shift = (each.to(self.dtype)[:, :, None, None] for each in (scale, shift))
        return F.relu(torch.addcmul(shift, x, scale))  # OpenVINO converts no relu_() after addcmul()


class FoldedNormedConv(nn.Module):
    """A convolution, then conditional batch norm and ReLU, whose constants are in the convolution's weights."""

    def __init__(self, conv: Conv, norm: FoldedNorm, dtype: torch.dtype, up: bool = False) -> None:
        super().__init__()
        weight, bias = weight_of(conv.conv), conv.conv.bias
        if norm.constant is not None:
            scale, shift = (each[0] for each in norm.constant)
            weight, bias = weight * scale[:, None, None, None], shift if bias is None else bias * scale + shift
        self.conv, self.norm = FoldedConv.of(weight, bias, dtype, 'repeat' if up else None), norm

    def forward(self, x: Tensor, code: Tensor | None) -> Tensor:
        x = self.conv(x)
        return F.relu_(x) if self.norm.constant is not None else self.norm(x, code)


def folded_conv(conv: Conv, dtype: torch.dtype) -> FoldedConv:
    """A convolution that nothing constant follows."""
    return FoldedConv.of(weight_of(conv.conv), conv.conv.bias, dtype)


class FoldedStart(FoldedLayer):
    """The linear layer, (N, code_dim) -> (N, C, 4, 4).

    Args:
        weight: (16 C, code_dim), the channels last.
        bias: (16 C,).
        dtype: Of the maps.
        code: The code (1, code_dim) of all images, or None if each has its own.
    """

    index = 0

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype, code: Tensor | None) -> None:
        super().__init__()
        self.weight, self.bias, self.dtype = weight.detach().clone(), bias.detach().clone(), dtype
        self.code = None if code is None else code.detach().clone()

    def forward(self, x: Tensor | None, code: Tensor | None, noise: Tensor | None) -> Tensor:
        code = code if self.code is None else self.code
        start = F.linear(code.float(), self.weight, self.bias).to(self.dtype)
        return start.unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)


class FoldedResBlock(FoldedLayer):
    """A :class:`ResBlock`; arguments as of :class:`FoldedNorm`."""

    def __init__(self, block: ResBlock, index: int, code: Tensor | None, roll: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.index, self.norm = index, FoldedNorm(block.bn1, code, roll, dtype)
        self.conv1 = FoldedNormedConv(block.conv1, FoldedNorm(block.bn2, code, roll, dtype), dtype, up=True)
        self.conv2, self.shortcut = folded_conv(block.conv2, dtype), folded_conv(block.shortcut, dtype)

    def forward(self, x: Tensor, code: Tensor | None, noise: Tensor | None) -> Tensor:
        y = self.conv1(self.norm(x, code), code)
        return self.conv2(y).add_(upsample(self.shortcut(x)))


class FoldedAttention(FoldedLayer):
    """Self-attention: its three projections are one convolution, and gamma is in the last one's weights."""

    def __init__(self, layer: SelfAttention, dtype: torch.dtype) -> None:
        super().__init__()
        weights = [weight_of(part.conv) for part in (layer.theta, layer.phi, layer.g)]
        self.widths = [len(weight) for weight in weights]
        self.project = FoldedConv.of(torch.cat(weights), None, dtype)
        self.last = FoldedConv.of(layer.gamma * weight_of(layer.o.conv), None, dtype)

    def forward(self, x: Tensor, code: Tensor | None, noise: Tensor | None) -> Tensor:
        query, key, value = self.project(x).split(self.widths, dim=1)
        query = query.flatten(2).transpose(1, 2)                             # [N, HW, C/8]
        key = F.max_pool2d(key, 2).flatten(2)                                # [N, C/8, HW/4]
        value = F.max_pool2d(value, 2).flatten(2).transpose(1, 2)            # [N, HW/4, C/2]
        attended = F.softmax(query @ key, dim=-1, dtype=torch.float32).to(value.dtype) @ value
        attended = attended.transpose(1, 2).unflatten(2, x.shape[2:])
        return x + self.last(attended.contiguous(memory_format=torch.channels_last))


def class_embedding(table: Tensor, label: Tensor) -> Tensor:
    """Rows (N, dim) of a table (classes, dim); ValueError if a label (N,) is none of its classes."""
    wrong = [index for index in label.flatten().tolist() if not 0 <= index < len(table)]
    if wrong:
        raise ValueError(f'This bank has the classes 0 to {len(table) - 1}, but is given {wrong}.')
    return F.embedding(label, table)


class OutputLayer(nn.Module):
    """Feature to image, before the tanh."""

    def __init__(self, in_channels: int, out_channels: int, sn: Mapping[str, Any]) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(in_channels)
        self.conv = SpectralConv2d(in_channels, out_channels, 3, True, **sn)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.relu(self.bn(x), inplace=True))


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

    # What is published, and how many blocks there are a resolution.
    published: ClassVar[Mapping[str, Any]]
    blocks_per_resolution: ClassVar[int]
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
        self._mean_embedding: Tensor | None = None

        num_layers = 1 + self.blocks_per_resolution * (len(whole) - 1)
        noise_size = noise_size or self.published['noise_size']
        noise_dim = noise_size // num_layers if self.splits_noise else noise_size
        self.noise_size = noise_dim * num_layers if self.splits_noise else noise_dim
        if noise_dim < 1:
            raise ValueError(f'noise_size {noise_size} is too short to be split over {num_layers} layers.')
        self.class_dims = (0 if self.splits_noise else shared_dim, *[shared_dim] * (num_layers - 1))
        self.code_dims = tuple(class_dim + noise_dim for class_dim in self.class_dims)

        sn = dict(sn_style=self.sn_style, sn_eps=sn_eps)
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
                self.conv_blocks.update(zip(self.names_of(res), blocks))
        if rgb:
            self.output_layer = OutputLayer(table[out_size], out_channels, sn)

    @abstractmethod
    def _blocks(self, below: int, width: int, code_dim: int, sn: Mapping[str, Any]) -> list[nn.Module]:
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

    def step(self, resolution: int, codes: Sequence[Tensor], feature: Tensor | None = None) -> Tensor:
        if resolution == 4:
            return self._start(codes[0])
        if feature is None:
            raise ValueError(f'The block at {resolution} needs a feature of the resolution below; only 4 needs none.')
        g: Tensor = feature
        names = self.names_of(resolution)
        for name, layer in zip(names, self.layers_of(resolution)):
            g = self.conv_blocks[name](g, self.conditioned(codes[layer]))
        return self.conv_blocks[names[-1]](g) if resolution in self.attention else g

    def _fold_block(
        self, block: nn.Module, index: int, code: Tensor | None, roll: int, dtype: torch.dtype
    ) -> FoldedLayer:
        """One of :meth:`_blocks`; arguments as of :class:`FoldedNorm`."""
        raise NotImplementedError

    def _folded(self, codes: Sequence[Tensor | None], dtype: torch.dtype) -> FoldedBank:
        """What :meth:`fold` returns."""
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
                    self._fold_block(self.conv_blocks[name], index, codes[index], roll, dtype)
                    for name, index in zip(names, self.layers_of(res))
                ]
                if res in self.attention:
                    layers[res].append(FoldedAttention(self.conv_blocks[names[-1]], dtype))
        return FoldedBank(layers, constant=self.start_res == 4 and codes[0] is not None)

    def _channels_last(self, rows: Tensor) -> Tensor:
        """Rows of the linear layer's weight or bias, (C 4 4, ...) -> (4 4 C, ...)."""
        return rows.unflatten(0, (-1, 16)).transpose(0, 1).flatten(0, 1)

    def class_embedding(self, label: Tensor) -> Tensor:
        if not hasattr(self, 'shared_embedding'):
            raise RuntimeError('This bank was built without the embedding of classes; build it with embedding=True.')
        return class_embedding(self.shared_embedding.weight, label)

    def picture(self, codes: Sequence[Tensor], features: Mapping[int, Tensor]) -> Tensor:
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
        if hasattr(self, 'shared_embedding'):
            mean = self.shared_embedding.weight.mean(dim=0)
        elif self._mean_embedding is not None:
            mean = self._mean_embedding
        else:
            raise RuntimeError(
                "The mean codes need the classes' embedding: build the bank with embedding=True, or load a checkpoint."
            )
        zeros = mean.new_zeros(1, self.noise_size)
        return [code[0] for code in self.codes(zeros, mean[None])]

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
        self._mean_embedding = state['shared_embedding.weight'].float().mean(dim=0)

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


@MODELS.register_module()
class BigGANBank(BigGANBase):
    """BigGAN's generator, whole or from a resolution on, with MMagic's state-dict keys.

    The noise is split evenly over the layers: layer 0, the linear one, has a code of its part alone, the block that
    ends at 4 * 2**k, layer k, one of [class embedding | its part]. The arguments are those of :class:`BigGANBase`;
    published are 120 for ``noise_size`` (what does not divide evenly is left out, so 119 at 256 px), 96 for
    ``base_channels``, ``ajbrock`` for ``sn_style``, and 32 to 512 px for ``out_size``.
    """

    architecture = 'BigGAN'
    mmagic = BIGGAN
    published = dict(noise_size=120, base_channels=96, sn_style='ajbrock')
    blocks_per_resolution = 1
    splits_noise = True

    def _blocks(self, below: int, width: int, code_dim: int, sn: Mapping[str, Any]) -> list[nn.Module]:
        return [ResBlock(below, width, code_dim, sn)]

    def fold(self, codes: Sequence[Tensor | None], dtype: torch.dtype) -> FoldedBank:
        return self._folded(codes, dtype)

    def _fold_block(
        self, block: nn.Module, index: int, code: Tensor | None, roll: int, dtype: torch.dtype
    ) -> FoldedLayer:
        return FoldedResBlock(block, index, code, roll, dtype)
