"""The canonical layouts of BigGAN, BigGAN-deep and BigGAN's discriminator, as :mod:`.architectures` has StyleGAN's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from glean_plus.weights.errors import WeightsError
from glean_plus.weights.formats.layout import Architecture, Shapes, count, resolutions


def _spectral(state: Mapping[str, Tensor], layer: str) -> tuple[str, str]:
    """Name of a normalised weight, and MMagic's name of the style of its spectral norm."""
    return ('weight_orig', 'torch') if f'{layer}.weight_orig' in state else ('weight', 'ajbrock')


def _normalised(style: str, name: str, *shape: int, bias: bool = True) -> Shapes:
    """The tensors of a spectrally normalised layer with a weight of ``shape``."""
    if style == 'torch':
        own: Shapes = {'weight_orig': shape, 'weight_u': (shape[0],), 'weight_v': (math.prod(shape[1:]),)}
    else:
        own = {'weight': shape, 'u0': (1, shape[0]), 'sv0': (1,)}
    if bias:
        own['bias'] = (shape[0],)
    return {f'{name}.{key}': value for key, value in own.items()}


def _attention(style: str, name: str, width: int) -> Shapes:
    """The tensors of self-attention."""
    shapes: Shapes = {f'{name}.gamma': ()}
    for layer, out, into in (('theta', width // 8, width), ('phi', width // 8, width), ('g', width // 2, width),
                             ('o', width, width // 2)):  # fmt: skip
        shapes |= _normalised(style, f'{name}.{layer}.conv', out, into, 1, 1, bias=False)
    return shapes


def _biggan_arguments(state: Mapping[str, Tensor], deep: bool) -> dict[str, Any]:
    weight, style = _spectral(state, 'noise2feat')
    numbers = range(count(state, r'conv_blocks\.(\d+)\.'))
    blocks = [n for n in numbers if f'conv_blocks.{n}.gamma' not in state]
    # Of the deep one's two blocks a resolution, the second goes to the resolution's width.
    last = blocks[1::2] if deep else blocks
    widths = [state[f'conv_blocks.{n}.{"conv4" if deep else "conv1"}.conv.{weight}'].shape[0] for n in last]
    classes, shared = state['shared_embedding.weight'].shape
    condition = state[f'conv_blocks.0.bn1.gain.{weight}'].shape[1]
    first = state[f'noise2feat.{weight}'].shape[1]
    if condition != first + (0 if deep else shared):
        raise WeightsError(
            f'its blocks are conditioned on {condition} numbers and its first layer on {first}: the noise does not go '
            f'into every block, as it does in a bank.'
        )
    return dict(
        out_size=4 << len(last),
        noise_size=first - shared if deep else first * (len(last) + 1),
        num_classes=classes,
        shared_dim=shared,
        channels={4: state[f'conv_blocks.0.conv1.conv.{weight}'].shape[1]}
        | {8 << i: width for i, width in enumerate(widths)},
        attention=tuple(8 << i for i, n in enumerate(last) if f'conv_blocks.{n + 1}.gamma' in state),
        sn_style=style,
        out_channels=state['output_layer.conv.bias'].shape[0],
    )


def _biggan_shapes(arguments: Mapping[str, Any], deep: bool) -> Shapes:
    channels, shared, noise = arguments['channels'], arguments['shared_dim'], arguments['noise_size']
    levels = resolutions(arguments['out_size'])
    shapes: Shapes = {'shared_embedding.weight': (arguments['num_classes'], shared)}

    def normalised(name: str, *shape: int, bias: bool = True) -> None:
        shapes.update(_normalised(arguments['sn_style'], name, *shape, bias=bias))

    def statistics(name: str, width: int) -> None:
        shapes.update({f'{name}.running_mean': (width,), f'{name}.running_var': (width,)})
        shapes[f'{name}.num_batches_tracked'] = ()

    # The noise goes into every layer, of the deep one as a whole, of the other in parts.
    first = shared + noise if deep else noise // len(levels)
    condition = first if deep else shared + first
    normalised('noise2feat', channels[4] * 16, first)

    def conditional(name: str, width: int) -> None:
        for part in ('gain', 'bias'):
            normalised(f'{name}.{part}', width, condition, bias=False)
        statistics(f'{name}.bn', width)

    number = 0
    for res in levels[1:]:
        before, after = channels[res // 2], channels[res]
        if deep:
            for out in (before, after):
                block, hidden = f'conv_blocks.{number}', before // 4
                for k, width in enumerate((before, hidden, hidden, hidden), start=1):
                    conditional(f'{block}.bn{k}', width)
                sizes = ((hidden, before, 1), (hidden, hidden, 3), (hidden, hidden, 3), (out, hidden, 1))
                for k, (wide, narrow, size) in enumerate(sizes, start=1):
                    normalised(f'{block}.conv{k}.conv', wide, narrow, size, size)
                number += 1
        else:
            block = f'conv_blocks.{number}'
            conditional(f'{block}.bn1', before)
            conditional(f'{block}.bn2', after)
            for name, width, size in (('conv1', before, 3), ('conv2', after, 3), ('shortcut', before, 1)):
                normalised(f'{block}.{name}.conv', after, width, size, size)
            number += 1
        if res in arguments['attention']:
            shapes |= _attention(arguments['sn_style'], f'conv_blocks.{number}', after)
            number += 1
    width = channels[levels[-1]]
    shapes |= {'output_layer.bn.weight': (width,), 'output_layer.bn.bias': (width,)}
    statistics('output_layer.bn', width)
    normalised('output_layer.conv', arguments['out_channels'], width, 3, 3)
    return shapes


def _discriminator_arguments(state: Mapping[str, Tensor]) -> dict[str, Any]:
    weight, style = _spectral(state, 'decision')
    numbers = range(count(state, r'conv_blocks\.(\d+)\.'))
    blocks = [n for n in numbers if f'conv_blocks.{n}.gamma' not in state]
    for n in blocks[:-1]:
        if f'conv_blocks.{n}.shortcut.conv.{weight}' not in state:
            raise WeightsError(f'its block {n} does not halve the size, as every block but the last does here.')
    in_size = 2 ** (len(blocks) + 1)
    classes = state.get(f'proj_y.{weight}')
    return dict(
        in_size=in_size,
        num_classes=0 if classes is None else len(classes),
        img_channels=state[f'conv_blocks.0.conv1.conv.{weight}'].shape[1],
        widths=[state[f'conv_blocks.{n}.conv2.conv.{weight}'].shape[0] for n in blocks],
        attention=tuple(
            in_size >> (i + 1) for i, n in enumerate(blocks[:-1]) if f'conv_blocks.{n + 1}.gamma' in state
        ),
        sn_style=style,
    )


def _discriminator_shapes(arguments: Mapping[str, Any]) -> Shapes:
    style, widths, size = arguments['sn_style'], arguments['widths'], arguments['in_size']
    shapes: Shapes = {}
    number = 0
    for i, (before, after) in enumerate(zip([arguments['img_channels'], *widths], widths)):
        last = i == len(widths) - 1
        layers = [('conv1', before, 3), ('conv2', after, 3)]
        layers += [('shortcut', before, 1)] if not last or before != after else []
        for name, width, kernel in layers:
            shapes |= _normalised(style, f'conv_blocks.{number}.{name}.conv', after, width, kernel, kernel)
        number += 1
        if not last and size >> (i + 1) in arguments['attention']:
            shapes |= _attention(style, f'conv_blocks.{number}', after)
            number += 1
    shapes |= _normalised(style, 'decision', 1, widths[-1])
    if arguments['num_classes']:
        shapes |= _normalised(style, 'proj_y', arguments['num_classes'], widths[-1], bias=False)
    return shapes


BIGGAN_ARCHITECTURES = (
    Architecture('BigGAN', partial(_biggan_arguments, deep=False), partial(_biggan_shapes, deep=False)),
    Architecture('BigGAN-deep', partial(_biggan_arguments, deep=True), partial(_biggan_shapes, deep=True)),
    Architecture('BigGAN discriminator', _discriminator_arguments, _discriminator_shapes, discriminator=True),
)
