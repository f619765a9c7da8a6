"""What MMagic's generators offer to their users: the names of their arguments, and ways to sample from them."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from glean_plus.models.banks.base import LatentBank

STYLE_MODES = ('mix', 'single')


@dataclass(frozen=True)
class Only:
    """An argument of MMagic's that is taken with some values alone.

    Attributes:
        values: Those that a bank is built for.
        instead: What to do on any other, a sentence.
    """

    values: Sequence[Any]
    instead: str


@dataclass(frozen=True)
class MMagicArguments:
    """How the arguments of one of MMagic's generators become those of a bank.

    Attributes:
        generator: Its name.
        renamed: Arguments that have another name here.
        only: Arguments that are not kept here, and with which values they are taken.
    """

    generator: str
    renamed: Mapping[str, str] = field(default_factory=dict)
    only: Mapping[str, Only] = field(default_factory=dict)

    def translate(self, bank: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by the names of MMagic or of the bank -> by those of the bank.

        Raises:
            ValueError: If one is given twice, or with a value that the bank is not built for.
        """
        found: dict[str, Any] = {}
        pretrained = _pretrained(given.get('pretrained'), given.get('init_cfg') if 'init_cfg' in self.only else None)
        for name, value in given.items():
            if name in self.only:
                allowed = self.only[name]
                loads = name == 'init_cfg' and _is_pretrained(value)
                if not loads and _plain(value) not in [_plain(each) for each in allowed.values]:
                    raise ValueError(
                        f"{bank} cannot be built with {name}={value!r}, an argument of MMagic's {self.generator}: "
                        f'{allowed.instead}'
                    )
            elif name != 'pretrained':
                own = self.renamed.get(name, name)
                if own in found or (own != name and own in given):
                    raise ValueError(f"{bank} is given both {own} and MMagic's name for it: leave one of them out.")
                found[own] = value
        if pretrained is not None:
            found['pretrained'] = pretrained
        return found


def _plain(value: Any) -> Any:
    """For comparison: a list is a tuple, and 'inplace' of an activation makes no difference to its result."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items() if key != 'inplace'}
    return tuple(value) if isinstance(value, list) else value


def _is_pretrained(init_cfg: Any) -> bool:
    return isinstance(init_cfg, Mapping) and init_cfg.get('type') == 'Pretrained'


def _pretrained(pretrained: Any, init_cfg: Any) -> Mapping[str, Any] | None:
    """``pretrained`` or ``init_cfg`` as MMagic's generators take them -> as banks do."""
    if pretrained is None and _is_pretrained(init_cfg):
        pretrained = {key: value for key, value in init_cfg.items() if key != 'type'}
    if isinstance(pretrained, str):
        return dict(checkpoint=pretrained)
    if not isinstance(pretrained, Mapping) or 'ckpt_path' not in pretrained:
        return pretrained
    if not pretrained.get('strict', True):
        raise ValueError('pretrained has strict=False, but weights of a bank are loaded strictly: leave it out.')
    left_out = ('ckpt_path', 'strict', 'map_location')
    return dict(checkpoint=pretrained['ckpt_path']) | {k: v for k, v in pretrained.items() if k not in left_out}


_NO_CLASSES = 'it has no classes; BigGANBank has.'
_NO_TRACKED_MEAN = 'its mean code is sampled, see mean_code and get_mean_latent.'
_NO_FP16 = 'train with --amp, which is bfloat16, or sample under torch.autocast.'

STYLEGAN1 = MMagicArguments(
    'StyleGAN1Generator', only=dict(blur_kernel=Only(([1, 2, 1],), 'its filter is [1, 2, 1].'))
)
STYLEGAN2 = MMagicArguments(
    'StyleGAN2Generator',
    renamed=dict(bgr2rgb='flip_channels'),
    only=dict(
        cond_size=Only((None, 0, -1), _NO_CLASSES),
        cond_mapping_channels=Only((None,), _NO_CLASSES),
        blur_kernel=Only(([1, 3, 3, 1],), 'its filter is [1, 3, 3, 1].'),
        norm_eps=Only((1e-6,), 'the noise is normalized with 1e-6.'),
        update_mean_latent_with_ema=Only((False,), _NO_TRACKED_MEAN),
        w_avg_beta=Only((0.998,), _NO_TRACKED_MEAN),
        num_fp16_scales=Only((0,), _NO_FP16),
        fp16_enabled=Only((False,), _NO_FP16),
        fixed_noise=Only((False,), 'its fixed noise is that of forward(..., randomize_noise=False).'),
    ),
)
_BIGGANS = dict(
    input_scale=Only((4,), 'it starts at 4x4.'),
    with_shared_embedding=Only((True,), 'its classes share one embedding.'),
    act_cfg=Only((dict(type='ReLU'),), 'its activation is a ReLU.'),
    upsample_cfg=Only((dict(type='nearest', scale_factor=2),), 'it enlarges by repetition.'),
    with_spectral_norm=Only((True,), 'it is trained with it, and freeze() takes it out.'),
    auto_sync_bn=Only((False,), "leave it out, and set sync_bn='torch' in the config, by which the runner does that."),
    arch_cfg=Only((None,), 'give channels={4: width, 8: width, ...} and attention=[resolutions].'),
    out_norm_cfg=Only((dict(type='BN'),), 'its output layer has a batch norm.'),
)
BIGGAN = MMagicArguments(
    'BigGANGenerator',
    renamed=dict(output_scale='out_size', rgb2bgr='flip_channels'),
    only=_BIGGANS | dict(
        split_noise=Only((True,), 'its noise is split over the layers; BigGANDeepBank does not split it.'),
        blocks_cfg=Only((dict(type='BigGANGenResBlock'),), 'its blocks are those of BigGAN.'),
        init_cfg=Only((None, dict(type='ortho')), 'its weights start orthogonal, or are loaded.'),
    ),
)
BIGGAN_DEEP = MMagicArguments(
    'BigGANDeepGenerator',
    renamed=BIGGAN.renamed,
    only=_BIGGANS | dict(
        concat_noise=Only((True,), 'its codes are class and noise together.'),
        block_depth=Only((2,), 'it has two blocks a resolution.'),
        blocks_cfg=Only((dict(type='BigGANDeepGenResBlock'),), 'its blocks are those of BigGAN-deep.'),
        init_type=Only(('ortho',), 'its weights start orthogonal, or are loaded.'),
    ),
)


def accepts_mmagic(init: Callable[..., None]) -> Callable[..., None]:
    """Let the constructor of a bank take the arguments of MMagic's generator, too, as ``mmagic`` translates them."""

    @functools.wraps(init)
    def translated(self: Any, *args: Any, **given: Any) -> None:
        init(self, *args, **self.mmagic.translate(type(self).__name__, given))

    return translated


class StyleSampling(LatentBank):
    """A bank with the methods of MMagic's style-based generators. They sample as PyTorch's seed says."""

    @abstractmethod
    def _any_mapping(self) -> nn.Module:
        """The mapping network, of the bank or of the checkpoint that it was loaded from."""

    @torch.no_grad()
    def get_mean_latent(self, num_samples: int = 4096, bs_per_repeat: int = 1024) -> Tensor:
        """The average output of the mapping network, (1, style_channels); ``mean_code`` is the same for a fixed seed.

        Args:
            num_samples: Of normal noise, a multiple of ``bs_per_repeat``.
            bs_per_repeat: How many at a time.

        Raises:
            ValueError: If it is no multiple.
        """
        if num_samples < 1 or num_samples % bs_per_repeat:
            raise ValueError(f'num_samples must be a multiple of bs_per_repeat {bs_per_repeat}, but is {num_samples}.')
        mapping = self._any_mapping()
        first = next(mapping.parameters())
        means = [
            mapping(torch.randn(bs_per_repeat, self.noise_size).to(first)).mean(dim=0, keepdim=True)
            for _ in range(num_samples // bs_per_repeat)
        ]
        return torch.stack(means).mean(dim=0)

    def make_injected_noise(self) -> list[Tensor]:
        """New noise maps of all layers, (1, 1, res, res) each, for ``injected_noise`` of :meth:`forward`."""
        return [noise for noises in self.draw_noises().values() for noise in noises]

    @torch.no_grad()
    def style_mixing(
        self,
        n_source: int,
        n_target: int,
        inject_index: int = 1,
        truncation_latent: Tensor | None = None,
        truncation: float = 0.7,
        **options: Any,
    ) -> Tensor:
        """A table of images: each target's first layers with each source's others.

        Args:
            n_source, n_target: Columns and rows.
            inject_index: First layer that a source steers.
            truncation_latent, truncation: As for :meth:`forward`.
            **options: Further arguments of :meth:`forward`.

        Returns:
            ((1 + n_target) * (1 + n_source), out_channels, H, W), row by row: a black image and the sources, then each
            target and its mixtures.
        """
        options |= dict(truncation_latent=truncation_latent, truncation=truncation)
        first = next(self.parameters())
        sources, targets = (torch.randn(count, self.noise_size).to(first) for count in (n_source, n_target))
        source_images, target_images = self(sources, **options), self(targets, **options)
        rows = [torch.full_like(source_images[:1], -1), source_images]
        for target, image in zip(targets, target_images):
            rows += [image[None], self([target.expand(n_source, -1), sources], inject_index=inject_index, **options)]
        return torch.cat(rows)
