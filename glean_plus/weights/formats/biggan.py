"""ajbrock's BigGAN-PyTorch and huggingface's pytorch-pretrained-BigGAN.

All of them add 1 to the gain of a conditional batch norm in the code, and all give RGB, as MMagic's do by default.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from glean_plus.weights.errors import WeightsError
from glean_plus.weights.formats.rules import Change, Format, Rule, as_it_is, leave, refuse, to

# ---------------------------------------------------------------------------------------------------- ajbrock

def as_number(tensor: Tensor) -> Tensor:
    """A number () or (1,) -> ()."""
    return tensor.reshape(())


SPECTRAL = r'(weight|bias|u0|sv0)'


def _positions(state: Mapping[str, Tensor]) -> dict[tuple[int, int], int]:
    """Number of a block in one flat list, attention included, by its number in a list of lists."""
    pairs = {(int(match.group(1)), int(match.group(2))) for key in state if (match := BLOCK_KEY.match(key))}
    return {pair: number for number, pair in enumerate(sorted(pairs))}


BLOCK_KEY = re.compile(r'blocks\.(\d+)\.(\d+)\.')


def _ajbrock(state: Mapping[str, Tensor], convs: str, condition: Change, first: Sequence[Rule]) -> Sequence[Rule]:
    position = _positions(state)

    def block(i: int, k: int) -> str:
        return f'conv_blocks.{position[i, k]}'

    own = r'blocks\.(\d+)\.(\d+)\.'
    return (
        to(r'shared\.weight', 'shared_embedding.weight'),
        *first,
        to(own + r'conv_sc\.' + SPECTRAL, lambda i, k, part: f'{block(i, k)}.shortcut.conv.{part}'),
        to(own + convs + r'\.' + SPECTRAL, lambda i, k, name, part: f'{block(i, k)}.{name}.conv.{part}'),
        to(own + r'(bn\d)\.(gain|bias)\.weight', lambda i, k, bn, way: f'{block(i, k)}.{bn}.{way}.weight', condition),
        to(own + r'(bn\d)\.(gain|bias)\.(u0|sv0)', lambda i, k, bn, way, part: f'{block(i, k)}.{bn}.{way}.{part}'),
        to(own + r'(bn\d)\.(?:stored|bn\.stored|bn\.running)_(mean|var)',
           lambda i, k, bn, part: f'{block(i, k)}.{bn}.bn.running_{part}'),
        to(own + r'gamma', lambda i, k: f'{block(i, k)}.gamma', as_number),
        to(own + r'(theta|phi|g|o)\.' + SPECTRAL, lambda i, k, name, part: f'{block(i, k)}.{name}.conv.{part}'),
        to(r'output_layer\.0\.gain', 'output_layer.bn.weight'),
        to(r'output_layer\.0\.bias', 'output_layer.bn.bias'),
        to(r'output_layer\.0\.(?:stored|bn\.stored|bn\.running)_(mean|var)',
           r'output_layer.bn.running_\1'),
        to(r'output_layer\.2\.' + SPECTRAL, r'output_layer.conv.\1'),
        leave(r'.+\.accumulation_counter', 'no standing statistics were being gathered, as checked', _not_standing),
        leave(r'.+\.num_batches_tracked', 'counter of training'),
    )  # fmt: skip


def _not_standing(counter: Tensor) -> Tensor:
    if counter.any():
        raise WeightsError(
            f'the batch statistics are sums over {int(counter.max())} passes or averages, which the file does not '
            f'tell; save it with --sv_standing off, or after dividing them and setting the counter to zero.'
        )
    return counter


def ajbrock_rules(state: Mapping[str, Tensor], truncation: float) -> Sequence[Rule]:
    first = (to(r'linear\.' + SPECTRAL, r'noise2feat.\1'),)
    return _ajbrock(state, r'(conv[12])', as_it_is, first)


def ajbrock_deep_rules(state: Mapping[str, Tensor], truncation: float) -> Sequence[Rule]:
    """MMagic's BigGAN-deep differs twice: [noise | class] where this has [class | noise], and the first feature is laid
    out (4, 4, C) where this has (C, 4, 4)."""
    classes = state['shared.weight'].shape[1]

    def condition(matrix: Tensor) -> Tensor:
        return torch.cat([matrix[:, classes:], matrix[:, :classes]], dim=1)

    def rows(tensor: Tensor) -> Tensor:
        return tensor.reshape(-1, 16, *tensor.shape[1:]).transpose(0, 1).reshape(tensor.shape)

    first = (
        to(r'linear\.weight', 'noise2feat.weight', lambda tensor: rows(condition(tensor))),
        to(r'linear\.bias', 'noise2feat.bias', rows),
        to(r'linear\.u0', 'noise2feat.u0', lambda tensor: rows(tensor[0]).unsqueeze(0)),
        to(r'linear\.sv0', 'noise2feat.sv0'),
    )
    return _ajbrock(state, r'(conv[1234])', condition, first)


def ajbrock_discriminator_rules(state: Mapping[str, Tensor], truncation: float) -> Sequence[Rule]:
    position = _positions(state)
    own = r'blocks\.(\d+)\.(\d+)\.'

    def layer(i: int, k: int, name: str, part: str) -> str:
        return f'conv_blocks.{position[i, k]}.{"shortcut" if name == "conv_sc" else name}.conv.{part}'

    return (
        to(own + r'(conv[12]|conv_sc|theta|phi|g|o)\.' + SPECTRAL, layer),
        to(own + r'gamma', lambda i, k: f'conv_blocks.{position[i, k]}.gamma', as_number),
        to(r'linear\.' + SPECTRAL, r'decision.\1'),
        to(r'embed\.' + SPECTRAL, r'proj_y.\1'),
        refuse(r'blocks\.\d+\.\d+\.conv[34]\..+|input_conv\..+', "it is BigGAN-deep's discriminator"),
    )


def add_counters(state: dict[str, Tensor]) -> dict[str, str]:
    """Batch norm's counters, which only training with no momentum reads."""
    names = [key.replace('running_mean', 'num_batches_tracked') for key in state if key.endswith('.running_mean')]
    state.update({name: torch.tensor(0) for name in names})
    return {name: 'counter of training, which no format here stores' for name in names}


# ------------------------------------------------------------------------------------------------ huggingface

EPSILON = 1e-4  # of its batch norms; MMagic's have 1e-5
MMAGIC_EPSILON = 1e-5

SN = r'(bias|weight_orig|weight_u|weight_v)'


def _at(truncation: float) -> Change:
    """Statistics (T, C) for truncations from 0 to 1 -> those for one, (C,).

    In between, the weights of the two neighbours are the wrong way round; they are so in the original, whose images
    are the reference.
    """
    if not 0 < truncation <= 1:
        raise WeightsError(f'The truncation must be above 0 and at most 1, but is {truncation}.')

    def change(table: Tensor) -> Tensor:
        rest, start = math.modf(truncation / (1.0 / (len(table) - 1)))
        here = table[int(start)]
        return here * rest + table[int(start) + 1] * (1 - rest) if rest else here

    return change


def huggingface_rules(state: Mapping[str, Tensor], truncation: float) -> Sequence[Rule]:
    statistics = _at(truncation)
    parts = {'bn': 'bn', 'scale': 'gain', 'offset': 'bias'}
    block = r'generator\.layers\.(\d+)\.'
    names = {'snconv1x1_theta': 'theta', 'snconv1x1_phi': 'phi', 'snconv1x1_g': 'g', 'snconv1x1_o_conv': 'o'}

    def variance(table: Tensor) -> Tensor:
        return statistics(table) + (EPSILON - MMAGIC_EPSILON)

    return (
        to(r'embeddings\.weight', 'shared_embedding.weight', Tensor.t),
        to(r'generator\.gen_z\.' + SN, r'noise2feat.\1'),
        to(block + r'conv_(\d)\.' + SN, lambda i, k, part: f'conv_blocks.{i}.conv{k + 1}.conv.{part}'),
        to(block + r'bn_(\d)\.(scale|offset)\.' + SN,
           lambda i, k, way, part: f'conv_blocks.{i}.bn{k + 1}.{parts[way]}.{part}'),
        to(block + r'bn_(\d)\.running_means', lambda i, k: f'conv_blocks.{i}.bn{k + 1}.bn.running_mean', statistics),
        to(block + r'bn_(\d)\.running_vars', lambda i, k: f'conv_blocks.{i}.bn{k + 1}.bn.running_var', variance),
        to(block + r'(snconv1x1_\w+)\.' + SN, lambda i, name, part: f'conv_blocks.{i}.{names[name]}.conv.{part}'),
        to(block + r'gamma', r'conv_blocks.\1.gamma', as_number),
        to(r'generator\.bn\.(weight|bias)', r'output_layer.bn.\1'),
        to(r'generator\.bn\.running_means', 'output_layer.bn.running_mean', statistics),
        to(r'generator\.bn\.running_vars', 'output_layer.bn.running_var', variance),
        to(r'generator\.conv_to_rgb\.' + SN, r'output_layer.conv.\1'),
        refuse(r'generator\.layers\.\d+\.conv_sc\..+', 'it is not the deep BigGAN'),
    )  # fmt: skip


def huggingface_finish(state: dict[str, Tensor]) -> dict[str, str]:
    """Keep the three of many output channels that are the image.

    The norm is that of all of them. So the three rows are divided by it, and get vectors that give them the norm 1.
    """
    weight, bias = state['output_layer.conv.weight_orig'], state['output_layer.conv.bias']
    u, v = state['output_layer.conv.weight_u'], state['output_layer.conv.weight_v']
    kept = weight[:3] / torch.dot(u, weight.flatten(1) @ v)
    image = kept.flatten(1) @ v
    state |= {
        'output_layer.conv.weight_orig': kept,
        'output_layer.conv.weight_u': image / image.square().sum(),
        'output_layer.conv.bias': bias[:3].clone(),
    }
    return add_counters(state)


BIGGAN = (
    Format('ajbrock BigGAN', 'BigGAN', ('shared.weight', 'linear.weight', 'blocks.0.0.conv_sc.weight'), ajbrock_rules,
           add_counters),
    Format('ajbrock BigGAN-deep', 'BigGAN-deep', ('shared.weight', 'linear.weight', 'blocks.0.0.conv4.weight'),
           ajbrock_deep_rules, add_counters),
    Format('ajbrock BigGAN discriminator', 'BigGAN discriminator',
           ('embed.weight', 'linear.weight', 'blocks.0.0.conv1.weight'), ajbrock_discriminator_rules),
    Format('huggingface BigGAN-deep', 'BigGAN-deep', ('embeddings.weight', 'generator.gen_z.weight_orig'),
           huggingface_rules, huggingface_finish),
)  # fmt: skip
