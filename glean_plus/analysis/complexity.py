"""Parameters and FLOPs of a generator, in the paper's accounting and in ground truth (paper Tables 1 and 5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from glean_plus.models.baselines import BankFreeGLEAN
from glean_plus.models.glean import GLEAN
from glean_plus.registry import MODELS


@dataclass(frozen=True)
class Complexity:
    """Parameters by part, in units, and FLOPs of one image.

    The parts are encoder, generator and decoder of a GLEAN, encoder and decoder of one without a bank, and of any other
    network the generator, which is all of it.

    ``paper``: as the paper counts. Fusion convolutions, those of the RGB skip included, belong to the encoder; the
    generator is the mapping network and every block and ToRGB from its first resolution on; FLOPs are multiply-adds,
    biases and activations of plain convolution and linear layers, so the bank's modulated convolutions count nothing.
    ``kept``: what the model really holds; ``trained``: those of it that training changes. ``macs``: multiply-adds of
    everything that a forward pass computes, the bank included.
    """

    in_size: int
    out_size: int
    paper: Mapping[str, int]
    paper_flops: int
    kept: Mapping[str, int]
    trained: int
    macs: int


@dataclass(frozen=True)
class Published:
    """A column of the paper's tables, in millions and 1e9, with the tolerance of ours as a share of it."""

    params: Mapping[str, float]
    flops: float
    # None: at most the published number.
    params_tolerance: float | None
    flops_tolerance: float

    @property
    def total(self) -> float:
        return sum(self.params.values())


# Tables 1 and 5, 64 -> 1024. Table 1 rounds GLEAN's sum up to 175.6M. No depth of an ESRGAN has both numbers of Table 5
# (see ESRGANPlus): its FLOPs are held.
PUBLISHED = {
    'GLEAN': Published(dict(encoder=137.3, generator=30.4, decoder=7.9), 277.5, 0.002, 0.002),
    'LightGLEAN': Published(dict(encoder=23.7, generator=10.9, decoder=1.7), 98.24, None, 0.005),
    'ESRGAN+': Published(dict(generator=23.97), 225.0, math.inf, 0.002),
}


def published_column(generator: Mapping[str, Any]) -> Published | None:
    """The paper's numbers of a config's generator, None where it has none."""
    kind, bank = generator['type'], generator.get('bank', {})
    if (generator['in_size'], bank.get('out_size', generator.get('out_size'))) != (64, 1024):
        return None
    if kind == 'ESRGANPlus':
        return PUBLISHED['ESRGAN+']
    if kind == 'GLEAN' and MODELS.get(bank['type']).architecture == 'StyleGAN2':
        return PUBLISHED['GLEAN' if bank.get('start_res', 4) == 4 else 'LightGLEAN']
    return None


def _count(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _hook(add: Callable[[int], None]) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            add(output.numel() * (module.weight[0].numel() + (module.bias is not None)))
        elif isinstance(module, nn.Linear):
            add(output.numel() * (module.in_features + (module.bias is not None)))
        elif isinstance(module, nn.LeakyReLU):
            add(output.numel())

    return count


def complexity(generator: Mapping[str, Any]) -> Complexity:
    """Count one image through a generator; nothing is allocated.

    Args:
        generator: The generator of a config: GLEAN, or a network with ``in_size``, ``out_size`` and ``in_channels``.

    Raises:
        ValueError: If it is neither.
    """
    with torch.device('meta'):
        model: nn.Module = MODELS.build(dict(generator)).eval()
        names = 'in_size', 'out_size', 'in_channels'
        if missing := [name for name in names if not hasattr(model, name)]:
            raise ValueError(f'A {type(model).__name__} does not say its {", ".join(missing)}.')
        in_size, out_size, in_channels = (getattr(model, name) for name in names)
        lq = torch.zeros(1, in_channels, in_size, in_size)
    trained = _count(parameter for parameter in model.parameters() if parameter.requires_grad)
    # The counter cannot follow a module whose input is a parameter, as the constant of a bank that is trained.
    model.requires_grad_(False)

    # The convolution of the RGB skip, (width + 3) -> 3, beside each fusion; MMagic has it, and throws its result away.
    fusions = {int(res): model.bank.channels[int(res)] for res in model.fusions} if isinstance(model, GLEAN) else {}
    rgb = [(width + 3) * 3 * 9 for width in fusions.values()]
    rgb_flops = sum((weights + 3) * res**2 for weights, res in zip(rgb, fusions))

    flops = [rgb_flops]
    hooks = [module.register_forward_hook(_hook(flops.append)) for module in model.modules()]
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(lq)
    for hook in hooks:
        hook.remove()

    kept = _parts(model)
    paper = dict(kept)
    if isinstance(model, GLEAN):
        bank = {key: value for key, value in generator['bank'].items() if key not in model.bank.optional}
        with torch.device('meta'):
            paper['generator'] = _count(MODELS.build(bank).parameters())
        paper['encoder'] += sum(rgb) + 3 * len(rgb)
    return Complexity(
        in_size=in_size,
        out_size=out_size,
        paper=paper,
        paper_flops=sum(flops),
        kept=kept,
        trained=trained,
        macs=counter.get_total_flops() // 2,
    )


def _parts(model: nn.Module) -> dict[str, int]:
    """Parameters of each part."""
    if isinstance(model, GLEAN):
        encoder = [*model.encoder.parameters(), *model.codes.parameters(), *model.fusions.parameters()]
        parts = dict(encoder=encoder, generator=model.bank.parameters(), decoder=model.decoder.parameters())
    elif isinstance(model, BankFreeGLEAN):
        parts = dict(encoder=model.encoder.parameters(), decoder=model.decoder.parameters())
    else:
        parts = dict(generator=model.parameters())
    return {name: _count(parameters) for name, parameters in parts.items()}


def misses(result: Complexity, published: Published) -> list[str]:
    """The differences from a published column that are outside its tolerance, a sentence each."""
    found = []
    total = sum(result.paper.values()) / 1e6
    if published.params_tolerance is None:
        if total > published.total:
            found.append(f'{total:.1f} M parameters are more than {published.total:.1f} M')
    else:
        for part, millions in {**published.params, 'all': published.total}.items():
            ours = total if part == 'all' else result.paper[part] / 1e6
            # The table gives one decimal: what rounds to it is exact.
            if round(ours, 1) != round(millions, 1) and abs(ours / millions - 1) > published.params_tolerance:
                found.append(f'{part}: {ours:.2f} M parameters, not {millions:.1f} M')
    billions = result.paper_flops / 1e9
    if abs(billions / published.flops - 1) > published.flops_tolerance:
        found.append(f'{billions:.2f} G FLOPs, not {published.flops} G')
    return found
