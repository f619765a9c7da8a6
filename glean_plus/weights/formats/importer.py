"""From a file of any known format to the canonical state dict, or to an error that says what the file is."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

from glean_plus.weights.containers import Content, read_content
from glean_plus.weights.errors import WeightsError, brief
from glean_plus.weights.files import local_copy, select_prefix
from glean_plus.weights.formats.basicsr import BASICSR
from glean_plus.weights.formats.biggan import BIGGAN
from glean_plus.weights.formats.genforce import GENFORCE
from glean_plus.weights.formats.layout import PublishedNetwork, published_networks
from glean_plus.weights.formats.mmagic import canonical
from glean_plus.weights.formats.nvlabs_tf import NVLABS_TF
from glean_plus.weights.formats.nvlabs_torch import NVLABS_TORCH
from glean_plus.weights.formats.rosinality import ROSINALITY
from glean_plus.weights.formats.rules import Format, convert
from glean_plus.weights.prefixes import beginnings, choose, places

FOREIGN: tuple[Format, ...] = (*ROSINALITY, *BASICSR, *NVLABS_TORCH, *NVLABS_TF, *GENFORCE, *BIGGAN)


def formats(discriminator: bool) -> list[Format]:
    """All that is known of generators, or of discriminators."""
    networks = published_networks()
    known = (*canonical(), *FOREIGN)
    return [format for format in known if networks[format.architecture].discriminator == discriminator]


@dataclass
class Imported:
    """A converted network."""

    format: str  # the layout that it was in, such as `NVlabs StyleGAN2 (PyTorch)`
    architecture: str  # `StyleGAN2`, `StyleGAN2 discriminator`, `StyleGAN1`, `BigGAN` or `BigGAN-deep`
    kwargs: dict[str, Any]  # constructor arguments that its tensors and settings tell
    state: dict[str, Tensor]  # the tensors under MMagic's names
    matched: int  # how many of the file's tensors went into it
    ignored: dict[str, str] = field(default_factory=dict)  # {key in the file: why it did not}
    # {canonical key: why it was made up}, such as filters that the format has in its code.
    filled: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)  # canonical keys that nothing gives
    prefix: str = ''  # where in the file the network was
    foreign: bool = True  # whether the file had other names than MMagic's


def import_weights(
    source: str | os.PathLike[str], prefix: str | None = None, discriminator: bool = False, truncation: float = 1.0
) -> Imported:
    """Read a published generator or discriminator of any known format.

    Args:
        source: Path or URL of a .pth, .pt, .bin, .safetensors or NVlabs .pkl.
        prefix: Where in the file the network is, such as ``g_ema``; if None, it is looked for in the whole file, and of
            several the averaged one is taken.
        truncation: Which of the batch statistics to take where a file has several: huggingface's BigGAN-deep.

    Raises:
        WeightsError: If the file cannot be read safely, is of no known format, or differs from its format in a key or
            a shape; the message names them. If it has several networks and none, or more than one, is averaged.
    """
    path = local_copy(source)
    content = read_content(path, beside=True)
    found, format, prefix = _recognise(content, prefix, discriminator, str(path))
    if format is None:
        raise WeightsError(_unknown(found, discriminator, str(path)))
    return _import(found, format, prefix, str(path), truncation)


def _recognise(
    content: Content, prefix: str | None, discriminator: bool, source: str
) -> tuple[Content, Format | None, str]:
    """The part of a file that is a network of a known format: anywhere in it, or at ``prefix`` or below."""
    start = prefix or ''
    part = Content(select_prefix(content.tensors, start, source), content.below(start).settings)
    for each in (part, part.without_wrappers()):
        found = _networks(each, discriminator)
        if found:
            what = 'discriminator' if discriminator else 'generator'
            # What is asked for by name is what lies there, if anything does.
            place = '' if prefix is not None and '' in found else choose(found, source, what)
            others = {*found, *_networks(each, not discriminator)} - {place}
            network = each.without(name for name in others if name.startswith(place)).below(place)
            return network, found[place], '.'.join(name for name in (start, place) if name)
    return part, None, start


def _networks(content: Content, discriminator: bool) -> dict[str, Format]:
    """Place in a file -> format of the network there; the first format that fits."""
    found: dict[str, Format] = {}
    for format in formats(discriminator):
        for place in places(content.tensors.keys(), format.anchors):
            found.setdefault(place, format)
    return found


def _unknown(content: Content, discriminator: bool, source: str) -> str:
    what = 'discriminator' if discriminator else 'generator'
    other = next(iter(_networks(content, not discriminator).values()), None)
    if other:
        return f'{source} is {other.name}, where a {what} is wanted.'
    listing = beginnings(key.replace('/', '.') for key in content.tensors)
    known = ', '.join(format.name for format in formats(discriminator))
    return f'{source} holds no {what} of a known format; its keys start with: {listing}. Known: {known}.'


def _import(content: Content, format: Format, prefix: str, source: str, truncation: float) -> Imported:
    network = published_networks()[format.architecture]
    converted = convert(format, content.tensors, source, truncation)
    try:
        kwargs = network.hyperparameters(converted.state) | format.settings(content.settings)
        expected = network.shapes(kwargs)
    except LookupError as error:
        raise WeightsError(f'{source} is {format.name}, but lacks what is {brief(error)} in a bank.') from error
    # The others: of a shape with more or fewer sides, and of sizes that a network cannot have.
    except (WeightsError, ValueError, ArithmeticError, RuntimeError) as error:
        raise WeightsError(f'{source} is {format.name}, but cannot become a bank: {brief(error)}') from error
    state = converted.state
    unexpected = [key for key in state if key not in expected]
    if unexpected:
        more = brief(', '.join(unexpected[:6]))
        raise WeightsError(f'{source} is {format.name}, but has more than its layers: {more}.')
    for key, shape in expected.items():
        if key in state and tuple(state[key].shape) != shape:
            raise WeightsError(
                f'{source} is {format.name}, but what becomes {key} is {tuple(state[key].shape)}, and {shape} by the '
                f'other tensors.'
            )
    return Imported(
        format=format.name,
        architecture=format.architecture,
        kwargs=kwargs,
        state={key: state[key] for key in expected if key in state},
        matched=len(content.tensors) - len(converted.ignored),
        ignored=converted.ignored,
        filled=converted.filled,
        missing=[key for key in expected if key not in state],
        prefix=prefix,
        foreign=format.foreign,
    )


def read_pretrained(
    pretrained: Mapping[str, Any],
    network: type[PublishedNetwork],
    config: Mapping[str, Any],
    keys: Collection[str],
) -> tuple[dict[str, Tensor], str]:
    """Read ``pretrained=dict(checkpoint=..., prefix=...)`` of a config: tensors, and a name for messages.

    A file with canonical keys is handed on as it is, for a strict check against the model. Of a foreign one, a log line
    tells what was converted.

    Args:
        pretrained: May also have ``truncation``, see :func:`import_weights`.
        config: The model's sizes, by the names of its constructor's arguments.

    Raises:
        WeightsError: As :func:`import_weights`; on a file of another architecture, naming both; on sizes that differ
            from the config's, naming each; on other keys of ``pretrained``.
    """
    if 'checkpoint' not in pretrained or not set(pretrained) <= {'checkpoint', 'prefix', 'truncation'}:
        raise WeightsError(
            f'`pretrained` must have `checkpoint` and may have `prefix` and `truncation`, but has {sorted(pretrained)}.'
        )
    path = local_copy(pretrained['checkpoint'])
    name, architecture, discriminator = network.__name__, network.architecture, network.discriminator
    found, format, prefix = _recognise(
        read_content(path, beside=True), pretrained.get('prefix') or None, discriminator, str(path)
    )
    source = f'{pretrained["checkpoint"]} ({prefix})' if prefix else str(pretrained['checkpoint'])
    if format is None and any(key in keys for key in found.tensors):
        return found.tensors, source  # canonical but damaged: the strict check names the keys
    if format is None:
        raise WeightsError(_unknown(found, discriminator, source))
    if architecture and format.architecture != architecture:
        raise WeightsError(f'{source} is a {format.architecture} ({format.name}), but {name} is a {architecture}.')
    if not format.foreign:
        return found.tensors, source
    imported = _import(found, format, prefix, source, pretrained.get('truncation', 1.0))
    if imported.kwargs.get('official') and not config.get('official'):
        raise WeightsError(
            f"{source} ({format.name}) is the authors' StyleGAN, whose layers compute in another order than MMagic's: "
            f'build {name} with official=True, or its images would be others.'
        )
    differences = [
        f'{key} is {value} in the file and {config[key]} in the config'
        for key, value in imported.kwargs.items()
        if key in config and config[key] != value
    ]
    if differences:
        raise WeightsError(f'{source} ({format.name}) does not fit {name}: {"; ".join(differences)}.')
    print_log(
        f'{name}: {source} is {format.name}: {imported.matched} tensors converted, {len(imported.ignored)} ignored, '
        f'{len(imported.filled)} filled in',
        logger='current',
    )
    return imported.state, source
