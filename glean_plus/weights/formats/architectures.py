"""The canonical layouts: what MMagic's generators call their tensors, and how large each is.

From a state dict follow the constructor's arguments, and from those every key and shape, so that a converted file is
checked as a whole before any model is built.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from glean_plus.weights.errors import WeightsError

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Architecture:
    """
    Attributes:
        name: As banks and messages name it.
        discriminator: Whether it scores pictures rather than making them.
        arguments: State -> arguments of the bank's constructor. Raises KeyError if a tensor that tells them is missing,
            and WeightsError if no bank is such a network.
        shapes: Constructor arguments -> {key: shape}.
    """

    name: str
    arguments: Callable[[Mapping[str, Tensor]], dict[str, Any]]
    shapes: Callable[[Mapping[str, Any]], Shapes]
    discriminator: bool = False


def count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many different numbers the pattern's group takes."""
    return len({match.group(1) for key in state if (match := re.match(pattern, key))})


def _resolutions(out_size: int) -> list[int]:
    return [2**i for i in range(2, out_size.bit_length())]


def _mapping(arguments: Mapping[str, Any]) -> Shapes:
    width = arguments['style_channels']
    widths = [arguments['noise_size']] + [width] * arguments['num_mlps']
    shapes: Shapes = {}
    for i, (before, after) in enumerate(zip(widths, widths[1:]), start=1):
        shapes |= {f'style_mapping.{i}.bias': (after,), f'style_mapping.{i}.linear.weight_orig': (after, before)}
    return shapes


def stylegan2_arguments(state: Mapping[str, Tensor]) -> dict[str, Any]:
    levels = count(state, r'to_rgbs\.(\d+)\.')
    channels = {4: state['constant_input.input'].shape[1]}
    for i in range(levels):
        channels[8 << i] = state[f'convs.{2 * i + 1}.activate.bias'].shape[0]
    return dict(
        out_size=4 << levels,
        style_channels=state['conv1.conv.style_modulation.linear.weight_orig'].shape[1],
        noise_size=state['style_mapping.1.linear.weight_orig'].shape[1],
        out_channels=state['to_rgb1.bias'].shape[1],
        num_mlps=count(state, r'style_mapping\.(\d+)\.'),
        channels=channels,
    )


def stylegan2_shapes(arguments: Mapping[str, Any]) -> Shapes:
    channels, style, rgb = arguments['channels'], arguments['style_channels'], arguments['out_channels']
    shapes = _mapping(arguments)

    def modulated(name: str, before: int, after: int, size: int) -> None:
        shapes[f'{name}.conv.weight_orig'] = (1, after, before, size, size)
        shapes[f'{name}.conv.style_modulation.bias'] = (before,)
        shapes[f'{name}.conv.style_modulation.linear.weight_orig'] = (before, style)

    def layer(name: str, before: int, after: int) -> None:
        modulated(name, before, after, 3)
        shapes[f'{name}.noise_injector.weight'] = (1,)
        shapes[f'{name}.activate.bias'] = (after,)

    def to_rgb(name: str, width: int) -> None:
        modulated(name, width, rgb, 1)
        shapes[f'{name}.bias'] = (1, rgb, 1, 1)

    shapes |= {'constant_input.input': (1, channels[4], 4, 4), 'injected_noise_0': (1, 1, 4, 4)}
    layer('conv1', channels[4], channels[4])
    to_rgb('to_rgb1', channels[4])
    for i, res in enumerate(_resolutions(arguments['out_size'])[1:]):
        layer(f'convs.{2 * i}', channels[res // 2], channels[res])
        layer(f'convs.{2 * i + 1}', channels[res], channels[res])
        to_rgb(f'to_rgbs.{i}', channels[res])
        shapes |= {f'convs.{2 * i}.conv.blur.kernel': (4, 4), f'to_rgbs.{i}.upsample.kernel': (4, 4)}
        shapes |= {f'injected_noise_{2 * i + k}': (1, 1, res, res) for k in (1, 2)}
    return shapes


def discriminator_arguments(state: Mapping[str, Tensor]) -> dict[str, Any]:
    levels = count(state, r'convs\.(\d+)\.conv1\.')
    channels = {4 << levels: state['convs.0.1.bias'].shape[0]}
    for i in range(1, levels + 1):
        channels[4 << (levels - i)] = state[f'convs.{i}.conv2.2.bias'].shape[0]
    image = state['convs.0.0.conv.weight_orig'].shape[1]
    return dict(in_size=4 << levels, img_channels=image, channels=dict(sorted(channels.items())))


def discriminator_shapes(arguments: Mapping[str, Any]) -> Shapes:
    channels, size = arguments['channels'], arguments['in_size']
    shapes: Shapes = {
        'convs.0.0.conv.weight_orig': (channels[size], arguments['img_channels'], 1, 1),
        'convs.0.1.bias': (channels[size],),
    }
    for i, res in enumerate(reversed(_resolutions(size)[1:]), start=1):
        before, after = channels[res], channels[res // 2]
        shapes |= {
            f'convs.{i}.conv1.0.conv.weight_orig': (before, before, 3, 3),
            f'convs.{i}.conv1.1.bias': (before,),
            f'convs.{i}.conv2.0.kernel': (4, 4),
            f'convs.{i}.conv2.1.conv.weight_orig': (after, before, 3, 3),
            f'convs.{i}.conv2.2.bias': (after,),
            f'convs.{i}.skip.0.kernel': (4, 4),
            f'convs.{i}.skip.1.conv.weight_orig': (after, before, 1, 1),
        }
    width = channels[4]
    return shapes | {
        'final_conv.0.conv.weight_orig': (width, width + 1, 3, 3),
        'final_conv.1.bias': (width,),
        'final_linear.0.bias': (width,),
        'final_linear.0.linear.weight_orig': (width, width * 16),
        'final_linear.1.bias': (1,),
        'final_linear.1.linear.weight_orig': (1, width),
    }


def stylegan1_arguments(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """``official`` tells MMagic's StyleGAN(1) from NVlabs': see :mod:`.stylegan1`."""
    levels = count(state, r'to_rgbs\.(\d+)\.')
    return dict(
        out_size=2 << levels,
        style_channels=state['convs.0.adain1.affine.weight_orig'].shape[1],
        noise_size=state['style_mapping.1.linear.weight_orig'].shape[1],
        out_channels=state['to_rgbs.0.conv.bias'].shape[0],
        num_mlps=count(state, r'style_mapping\.(\d+)\.'),
        channels={4 << i: state[f'convs.{i}.conv2.conv.bias'].shape[0] for i in range(levels)},
        official=state['convs.0.noise_injector1.weight'].ndim == 4,
    )


def stylegan1_shapes(arguments: Mapping[str, Any]) -> Shapes:
    channels, style, rgb = arguments['channels'], arguments['style_channels'], arguments['out_channels']
    shapes = _mapping(arguments)
    for i, res in enumerate(_resolutions(arguments['out_size'])):
        width, block = channels[res], f'convs.{i}'
        noise = (1, width, 1, 1) if arguments['official'] else (1,)
        if i == 0:
            shapes[f'{block}.conv1.input'] = (1, width, 4, 4)
        else:
            shapes[f'{block}.conv1.0.conv.weight_orig'] = (width, channels[res // 2], 3, 3)
            shapes |= {f'{block}.conv1.0.conv.bias': (width,), f'{block}.conv1.1.kernel': (3, 3)}
        shapes |= {f'{block}.conv2.conv.weight_orig': (width, width, 3, 3), f'{block}.conv2.conv.bias': (width,)}
        shapes |= {f'to_rgbs.{i}.conv.weight_orig': (rgb, width, 1, 1), f'to_rgbs.{i}.conv.bias': (rgb,)}
        for k in (1, 2):
            shapes[f'{block}.noise_injector{k}.weight'] = noise
            shapes[f'{block}.adain{k}.affine.weight_orig'] = (2 * width, style)
            shapes[f'{block}.adain{k}.affine.bias'] = (2 * width,)
            shapes[f'injected_noise_{2 * i + k - 1}'] = (1, 1, res, res)
    return shapes


def _spectral(state: Mapping[str, Tensor]) -> tuple[str, str]:
    """Name of a normalised weight, and MMagic's name of the style of its spectral norm."""
    return ('weight_orig', 'torch') if 'noise2feat.weight_orig' in state else ('weight', 'ajbrock')


def _biggan_arguments(state: Mapping[str, Tensor], deep: bool) -> dict[str, Any]:
    weight, style = _spectral(state)
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
    resolutions = _resolutions(arguments['out_size'])
    shapes: Shapes = {'shared_embedding.weight': (arguments['num_classes'], shared)}

    def normalised(name: str, *shape: int, bias: bool = True) -> None:
        rest = 1
        for n in shape[1:]:
            rest *= n
        if arguments['sn_style'] == 'torch':
            own: Shapes = {'weight_orig': shape, 'weight_u': (shape[0],), 'weight_v': (rest,)}
        else:
            own = {'weight': shape, 'u0': (1, shape[0]), 'sv0': (1,)}
        if bias:
            own['bias'] = (shape[0],)
        shapes.update({f'{name}.{key}': value for key, value in own.items()})

    def statistics(name: str, width: int) -> None:
        shapes.update({f'{name}.running_mean': (width,), f'{name}.running_var': (width,)})
        shapes[f'{name}.num_batches_tracked'] = ()

    # The noise goes into every layer, of the deep one as a whole, of the other in parts.
    first = shared + noise if deep else noise // len(resolutions)
    condition = first if deep else shared + first
    normalised('noise2feat', channels[4] * 16, first)

    def conditional(name: str, width: int) -> None:
        for part in ('gain', 'bias'):
            normalised(f'{name}.{part}', width, condition, bias=False)
        statistics(f'{name}.bn', width)

    number = 0
    for res in resolutions[1:]:
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
            block = f'conv_blocks.{number}'
            shapes[f'{block}.gamma'] = ()
            pairs = (('theta', after, after // 8), ('phi', after, after // 8), ('g', after, after // 2),
                     ('o', after // 2, after))  # fmt: skip
            for name, width, wide in pairs:
                normalised(f'{block}.{name}.conv', wide, width, 1, 1, bias=False)
            number += 1
    width = channels[resolutions[-1]]
    shapes |= {'output_layer.bn.weight': (width,), 'output_layer.bn.bias': (width,)}
    statistics('output_layer.bn', width)
    normalised('output_layer.conv', arguments['out_channels'], width, 3, 3)
    return shapes


ARCHITECTURES = {
    each.name: each
    for each in (
        Architecture('StyleGAN2', stylegan2_arguments, stylegan2_shapes),
        Architecture('StyleGAN2 discriminator', discriminator_arguments, discriminator_shapes, discriminator=True),
        Architecture('StyleGAN1', stylegan1_arguments, stylegan1_shapes),
        Architecture('BigGAN', partial(_biggan_arguments, deep=False), partial(_biggan_shapes, deep=False)),
        Architecture('BigGAN-deep', partial(_biggan_arguments, deep=True), partial(_biggan_shapes, deep=True)),
    )
}
