"""What StyleGAN and StyleGAN2 have in common as banks: sizes, the mapping network, codes and noise."""

from __future__ import annotations

import math
import random
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glean_plus.models.banks.base import check_channels, whole_resolutions
from glean_plus.models.banks.mmagic import STYLE_MODES, StyleSampling
from glean_plus.models.banks.space import Space, geodesic
from glean_plus.models.folding import FoldedBank, FoldedLayer, missing_feature, needed, tile_noises
from glean_plus.models.ops import LRELU_SLOPE, SQRT2, EqualizedLinear
from glean_plus.weights import select_prefix
from glean_plus.weights.formats.layout import count

# How many codes tell the distribution of all.
SAMPLES = 10_000


class NoiseInjection(nn.Module):
    """Holds the learned strength of the noise, (1,) or one a channel."""

    def __init__(self, shape: tuple[int, ...] = (1,)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))


class ConstantInput(nn.Module):
    """The learned 4x4 feature that a whole bank starts from."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


class PixelNorm(nn.Module):
    """Scales each vector to unit mean square over axis 1."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(dim=1, keepdim=True) + 1e-6).rsqrt()


class Drawn(NamedTuple):
    """What an image is made of; the names are those of MMagic's result."""

    latent: Tensor                           # [NLC]  codes of each layer
    inject_index: int                        # first layer of the second style; the number of layers if there is one
    noise_batch: Sequence[Tensor] | None     # the noise behind the codes; None where codes were given


class StyleSpace(Space):
    """W+, W or Z of a StyleGAN or StyleGAN2 bank, as PULSE searches it.

    Mapped codes, before the last leaky ReLU of the mapping network, are about normally distributed; so each code is

        w = leaky_relu(std * v + mean)

    with mean and std of that distribution, axis by axis, and v stays on its sphere. The prior pulls the v of the layers
    together, because the bank was trained on equal ones: the squared geodesic distance of each pair ("geocross").

    Args:
        bank: A whole bank.
        name: ``w+``: a code for each layer; ``w``: one for all; ``z``: the noise before the mapping network.
        seed: Of the noise maps, which stay as they are, and of the sample that tells mean and std.
    """

    def __init__(self, bank: StyleBank, name: str, seed: int) -> None:
        self.bank, self.name = bank, name
        generator = torch.Generator().manual_seed(seed)
        maps = {layer: getattr(bank, f'injected_noise_{layer}') for layer in bank.layers}
        self.noises = [torch.randn(each.shape, generator=generator).to(each) for each in maps.values()]
        # Undo the last leaky ReLU; its gain is a factor, before it as well as behind it.
        sample = F.leaky_relu(bank.sample_codes(SAMPLES, seed), 1 / LRELU_SLOPE)
        self.mean, self.std = sample.mean(dim=0), sample.std(dim=0)

    def start(self, count: int, generator: torch.Generator) -> list[Tensor]:
        bank = self.bank
        vectors = bank.num_latents if self.name == 'w+' else 1
        dim = bank.noise_size if self.name == 'z' else bank.style_channels
        tensors = [torch.randn(count, vectors, dim, generator=generator)]
        self.to_sphere(tensors)
        return tensors

    def draw(self, tensors: list[Tensor]) -> Tensor:
        vectors = tensors[0]
        if self.name == 'z':
            codes = self.bank.style_mapping(vectors[:, 0])[:, None]
        else:
            codes = F.leaky_relu(vectors * self.std + self.mean, LRELU_SLOPE)
        latent = codes.expand(-1, self.bank.num_latents, -1)                 # [NLC]
        return self.bank(latent, input_is_latent=True, injected_noise=self.noises)

    def prior(self, tensors: list[Tensor]) -> Tensor:
        return geodesic(tensors[0])


class StyleBank(StyleSampling):
    """A bank whose layers are each steered by one code (style_channels,) and disturbed by one noise map.

    A subclass adds its blocks, those of :attr:`resolutions` only, each followed by :meth:`_add_fixed_noise`. Its
    arguments are explained there.

    Raises:
        ValueError: On sizes that are no powers of two, or a channel table with a gap.
    """

    left_out = {
        'style_mapping.': 'mapping network (codes do not come from noise)',
        'to_rgb': 'ToRGB (the decoder makes the image)',
    }

    origin = 'MMagic'
    optional = ('mapping', 'rgb')
    spaces = ('w+', 'w', 'z')

    # Scale of the leaky ReLU in the mapping network.
    mapping_gain: ClassVar[float] = SQRT2
    # Arguments that only a subclass has, and that a whole bank of its kind must share.
    variant: Mapping[str, Any] = {}
    # That of an instance without any, for the mean code; not part of the model.
    _loaded_mapping: nn.Module | None

    def __init__(
        self,
        out_size: int,
        start_res: int,
        channels: Mapping[int, int],
        style_channels: int,
        noise_size: int | None,
        out_channels: int,
        num_mlps: int,
        lr_mlp: float,
        mapping: bool,
        mix_prob: float,
        pretrained: Mapping[str, Any] | None,
        default_style_mode: str,
        eval_style_mode: str,
        flip_channels: bool,
    ) -> None:
        super().__init__()
        for mode in (default_style_mode, eval_style_mode):
            if mode not in STYLE_MODES:
                raise ValueError(f'A style mode is one of {", ".join(STYLE_MODES)}, but is {mode!r}.')
        self.pretrained = pretrained
        whole = whole_resolutions(out_size, start_res)
        check_channels(channels, whole)

        self.out_size = out_size
        self.start_res = start_res
        self.style_channels = style_channels
        self.noise_size = style_channels if noise_size is None else noise_size
        self.channels = {res: channels[res] for res in whole}
        self.resolutions = tuple(res for res in whole if res >= start_res)
        self.num_latents = 2 * len(whole)
        self.code_dims = (style_channels,) * self.num_latents
        self.class_dims = (0,) * self.num_latents
        self.layers = tuple(layer for res in self.resolutions for layer in self.layers_of(res))
        self.num_mlps, self.lr_mlp, self.out_channels = num_mlps, lr_mlp, out_channels
        self.mix_prob, self.flip_channels = mix_prob, flip_channels
        # As in MMagic's, default_style_mode is the mode that counts now: train() and eval() set it.
        self.default_style_mode = self._train_style_mode = default_style_mode
        self.eval_style_mode = eval_style_mode
        self.__dict__['_loaded_mapping'] = None
        if mapping:
            self.style_mapping = self._mapping_network()

    def train(self, mode: bool = True) -> StyleBank:
        super().train(mode)
        self.default_style_mode = self._train_style_mode if self.training else self.eval_style_mode
        return self

    @staticmethod
    def _index(resolution: int) -> int:
        """0 for 4, 1 for 8 and so on."""
        return int(math.log2(resolution)) - 2

    @abstractmethod
    def layers_of(self, resolution: int) -> tuple[int, ...]:
        """Indices of a resolution's style layers, which are also those of their noise and codes."""

    @abstractmethod
    def _constant(self) -> Tensor:
        """The constant (1, channels[4], 4, 4) that the first block of a whole bank starts from."""

    @abstractmethod
    def _block(
        self, resolution: int, feature: Tensor, codes: Sequence[Tensor], noises: Sequence[Tensor | None]
    ) -> Tensor:
        """Run a block: a code and a noise map for each of its style layers. At 4, the feature replaces the constant."""

    @abstractmethod
    def _folded_block(
        self, resolution: int, codes: Sequence[Tensor | None], dtype: torch.dtype
    ) -> Sequence[FoldedLayer]:
        """The style layers of a block; arguments as for :meth:`fold`."""

    def fold(self, codes: Sequence[Tensor | None], dtype: torch.dtype) -> FoldedBank:
        whole = self.start_res == 4
        start = self._constant().detach().to(dtype, copy=True) if whole else None
        layers = {res: self._folded_block(res, codes, dtype) for res in self.resolutions}
        return FoldedBank(layers, start, constant=whole and codes[0] is not None)

    def _add_fixed_noise(self, resolution: int) -> None:
        for layer in self.layers_of(resolution):
            self.register_buffer(f'injected_noise_{layer}', torch.randn(1, 1, resolution, resolution))

    def step(
        self,
        resolution: int,
        codes: Sequence[Tensor | None],
        feature: Tensor | None = None,
        noises: Sequence[Tensor | None] | None = None,
    ) -> Tensor:
        layers = self.layers_of(resolution)
        if noises is None:
            noises = [getattr(self, f'injected_noise_{layer}') for layer in layers]
        own = [needed(codes[layer]) for layer in layers]
        if feature is None:
            if resolution != 4:
                raise missing_feature(resolution)
            feature = self._constant().expand(own[0].shape[0], -1, -1, -1)
        return self._block(resolution, feature, own, noises)

    def _fixed_noises(self) -> dict[int, list[Tensor]]:
        """The fixed noise maps of each block."""
        return {res: [getattr(self, f'injected_noise_{layer}') for layer in self.layers_of(res)]
                for res in self.resolutions}  # fmt: skip

    def draw_noises(self, generator: torch.Generator | None = None) -> dict[int, list[Tensor]]:
        return {
            res: [torch.randn(each.shape, generator=generator).to(each) for each in fixed]
            for res, fixed in self._fixed_noises().items()
        }

    def tiled_noises(self, size: tuple[int, int], corner: tuple[int, int] = (0, 0)) -> dict[int, list[Tensor]]:
        return tile_noises(self._fixed_noises(), size, corner)

    def set_noises(self, noises: Mapping[int, Sequence[Tensor]]) -> None:
        for res, maps in noises.items():
            for layer, noise in zip(self.layers_of(res), maps):
                setattr(self, f'injected_noise_{layer}', noise)

    def _mapping_network(self) -> nn.Sequential:
        widths = [self.noise_size] + [self.style_channels] * self.num_mlps
        return nn.Sequential(
            PixelNorm(),
            *(
                EqualizedLinear(i, o, lr_mul=self.lr_mlp, activate=True, gain=self.mapping_gain)
                for i, o in zip(widths, widths[1:])
            ),
        )

    def mean_codes(self, num_samples: int = 4096, seed: int = 0) -> list[Tensor]:
        return [self.mean_code(num_samples, seed)] * self.num_latents

    def code_spreads(self, num_samples: int = 4096, seed: int = 0) -> list[Tensor]:
        return [self.sample_codes(num_samples, seed).std(dim=0)] * self.num_latents

    def space(self, name: str, seed: int = 0, label: int | None = None) -> Space:
        return StyleSpace(self, name, seed)

    def mean_code(self, num_samples: int = 4096, seed: int = 0) -> Tensor:
        """The average output of the mapping network, (style_channels,)."""
        return self.sample_codes(num_samples, seed).mean(dim=0)

    @torch.no_grad()
    def sample_codes(self, num_samples: int = 4096, seed: int = 0) -> Tensor:
        """What the mapping network makes of normal noise, (num_samples, style_channels). Same seed, same codes."""
        mapping = self._any_mapping()
        first = next(mapping.parameters())
        noise = torch.randn(num_samples, self.noise_size, generator=torch.Generator().manual_seed(seed))
        return mapping(noise.to(first))

    def _any_mapping(self) -> nn.Module:
        mapping: nn.Module | None = getattr(self, 'style_mapping', None) or self._loaded_mapping
        if mapping is None:
            raise RuntimeError(
                'The mean code needs the mapping network: build the bank with mapping=True, or load a checkpoint.'
            )
        return mapping

    def whole(self) -> StyleBank:
        build: Callable[..., StyleBank] = type(self)
        return build(
            self.out_size, style_channels=self.style_channels, noise_size=self.noise_size,
            out_channels=self.out_channels, num_mlps=self.num_mlps, channels=self.channels, lr_mlp=self.lr_mlp,
            mix_prob=self.mix_prob, **self.variant,
        )  # fmt: skip

    def load(self, state: Mapping[str, Tensor], source: str) -> None:
        # Networks whose mean code was tracked in training carry it along; nothing here reads it.
        state = {key: value for key, value in state.items() if key != 'w_avg'}
        super().load(state, source)
        if not hasattr(self, 'style_mapping'):
            mapping = self._mapping_network()
            mapping.load_state_dict(select_prefix(state, 'style_mapping', source))
            self.__dict__['_loaded_mapping'] = mapping.requires_grad_(False)

    def _draw(
        self,
        styles: Tensor | Sequence[Tensor] | Callable[[tuple[int, int]], Tensor] | None,
        num_batches: int,
        inject_index: int | None,
        truncation: float,
        truncation_latent: Tensor | None,
        input_is_latent: bool,
    ) -> Drawn:
        """What ``forward`` is given to codes; its arguments are explained at :meth:`StyleGAN2Bank.forward`."""
        if self.start_res != 4:
            raise RuntimeError(f'This bank starts at {self.start_res} and makes no images; only a whole one does.')
        self._need('to_rgbs', 'pictures', 'rgb=True')
        if isinstance(styles, Tensor):
            styles = [styles]
        elif styles is None or callable(styles):
            if num_batches < 1:
                raise ValueError(f'num_batches must be positive where noise is drawn, but is {num_batches}.')
            draw = torch.randn if styles is None else styles
            mix = self.default_style_mode == 'mix' and random.random() < self.mix_prob
            styles = [draw((num_batches, self.noise_size)).to(self._constant()) for _ in range(1 + mix)]

        self._check_styles(styles, input_is_latent)
        noise_batch = None if input_is_latent else styles
        if not input_is_latent:
            self._need('style_mapping', 'images from noise', 'mapping=True')
            styles = [self.style_mapping(style) for style in styles]
        if truncation < 1:
            centre = self.mean_code() if truncation_latent is None else truncation_latent
            styles = [centre + truncation * (style - centre) for style in styles]
        latent, inject_index = self._spread(styles, inject_index)
        return Drawn(latent, inject_index, noise_batch)

    @staticmethod
    def _mapping_hyperparameters(state: Mapping[str, Tensor]) -> dict[str, Any]:
        """The mapping network's part of :meth:`hyperparameters`."""
        return dict(
            noise_size=state['style_mapping.1.linear.weight_orig'].shape[1],
            num_mlps=count(state, r'style_mapping\.(\d+)\.'),
        )

    def _check_styles(self, styles: Sequence[Tensor], input_is_latent: bool) -> None:
        """Raise ValueError if styles are not one or two tensors of the widths that this bank takes."""
        if len(styles) not in (1, 2):
            raise ValueError(f'There are {len(styles)} styles: give one tensor, or two to mix.')
        width, what = (self.style_channels, 'code') if input_is_latent else (self.noise_size, 'style')
        shapes = [f'(N, {width})']
        if input_is_latent and len(styles) == 1:
            shapes.append(f'(N, {self.num_latents}, {width})')
        for style in styles:
            inner = tuple(style.shape[1:])
            if inner != (width,) and (len(shapes) == 1 or inner != (self.num_latents, width)):
                given = f'has {tuple(style.shape)}'
                raise ValueError(f'A {what} of this bank must have the shape {" or ".join(shapes)}, but {given}.')

    def _spread(self, styles: Sequence[Tensor], inject_index: int | None) -> tuple[Tensor, int]:
        """One or two styles to W+ codes (N, num_latents, style_channels)."""
        if len(styles) == 1:
            style = styles[0]
            latent = style if style.ndim == 3 else style.unsqueeze(1).repeat(1, self.num_latents, 1)
            return latent, self.num_latents
        if inject_index is None:
            inject_index = random.randint(1, self.num_latents - 1)
        first = styles[0].unsqueeze(1).repeat(1, inject_index, 1)
        second = styles[1].unsqueeze(1).repeat(1, self.num_latents - inject_index, 1)
        return torch.cat([first, second], dim=1), inject_index

    def _noises(
        self,
        resolution: int,
        latent: Tensor,
        injected_noise: Sequence[Tensor | None] | None,
        add_noise: bool,
        randomize_noise: bool,
    ) -> list[Tensor | None] | None:
        layers = self.layers_of(resolution)
        if not add_noise:
            return [None for _ in layers]
        if injected_noise is not None:
            return [injected_noise[layer] for layer in layers]
        if not randomize_noise:
            return None
        size = (latent.shape[0], 1, resolution, resolution)
        return [torch.randn(size, device=latent.device) for _ in layers]

    def _result(
        self, image: Tensor, drawn: Drawn, features: Sequence[Tensor], as_dict: bool, feat_idx: int | None
    ) -> Tensor | dict:
        """What ``forward`` returns: the image, or a dict with what it is made of and, if asked for, one feature."""
        image = image.flip(1) if self.flip_channels else image
        if not as_dict:
            return image
        result = dict(fake_img=image, **drawn._asdict())
        if feat_idx is not None:
            if not -len(features) <= feat_idx < len(features):
                sides = list(self.resolutions[:len(features)])
                raise ValueError(f'feat_idx {feat_idx} is no index of the features, which are of {sides} px.')
            result['feats'] = features[feat_idx]
        return result

    def _need(self, part: str, purpose: str, remedy: str) -> None:
        if not hasattr(self, part):
            raise RuntimeError(f'This bank was built without `{part}`, which {purpose} need; build it with {remedy}.')
