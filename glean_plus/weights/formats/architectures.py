"""The canonical layouts: what MMagic's generators call their tensors, and how large each is.

From a state dict follow the constructor's arguments, and from those every key and shape, so that a converted file is
checked as a whole before any model is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from glean_plus.weights.formats.architectures_biggan import BIGGAN_ARCHITECTURES
from glean_plus.weights.formats.layout import Architecture, Shapes, count, resolutions


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
    for i, res in enumerate(resolutions(arguments['out_size'])[1:]):
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
    for i, res in enumerate(reversed(resolutions(size)[1:]), start=1):
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
    for i, res in enumerate(resolutions(arguments['out_size'])):
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


ARCHITECTURES = {
    each.name: each
    for each in (
        Architecture('StyleGAN2', stylegan2_arguments, stylegan2_shapes),
        Architecture('StyleGAN2 discriminator', discriminator_arguments, discriminator_shapes, discriminator=True),
        Architecture('StyleGAN1', stylegan1_arguments, stylegan1_shapes),
        *BIGGAN_ARCHITECTURES,
    )
}
