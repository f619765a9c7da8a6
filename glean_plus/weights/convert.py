"""A published generator in any known format -> a bank's file with a card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from glean_plus.version import __version__
from glean_plus.weights.errors import WeightsError
from glean_plus.weights.files import write_with_card
from glean_plus.weights.formats import Imported, import_weights

DTYPES = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}
MORE = 4  # keys named for each reason


def _listing(title: str, reasons: Mapping[str, str]) -> list[str]:
    lines = [f'{title}: {len(reasons)}']
    for reason, number in Counter(reasons.values()).items():
        keys = [key for key, why in reasons.items() if why == reason]
        more = f', and {number - MORE} more' if number > MORE else ''
        lines.append(f'  {reason}: {", ".join(keys[:MORE])}{more}')
    return lines


def described(found: Imported) -> str:
    """A description of a recognised file, in lines."""
    arguments = found.kwargs
    size = arguments.get('out_size', arguments.get('in_size'))
    lines = [
        f'format: {found.format}' + (f', below "{found.prefix}"' if found.prefix else ''),
        f'architecture: {found.architecture}',
        f'resolution: {size}',
    ]
    rest = {key: value for key, value in arguments.items() if key not in ('channels', 'widths')}
    # BigGAN's discriminator is described by the width after each block, which halves the size but for the last.
    blocks = ((max(size >> i, 4), width) for i, width in enumerate(arguments.get('widths', ()), start=1))
    channels = arguments['channels'].items() if 'channels' in arguments else blocks
    lines.append('channels: ' + ', '.join(f'{res}: {width}' for res, width in channels))
    lines.append('arguments: ' + ', '.join(f'{key}={value!r}' for key, value in rest.items()))
    lines.append(f'matched: {found.matched} tensors of the file, {len(found.state)} of the bank')
    lines += _listing('ignored', found.ignored)
    lines += _listing('filled in', found.filled)
    lines.append(f'missing: {len(found.missing)}' + (f': {", ".join(found.missing[:8])}' if found.missing else ''))
    return '\n'.join(lines)


def convert(
    source: str,
    out: Path,
    prefix: str | None = None,
    discriminator: bool = False,
    truncation: float = 1.0,
    dtype: str | None = None,
) -> None:
    """Read a file, print what was recognized, and write it as safetensors with a card.

    Args:
        prefix: Where in the file the network is; None takes the averaged one.
        truncation: Whose batch statistics to take, of huggingface's BigGAN-deep.
        dtype: A key of :data:`DTYPES`; None keeps that of the file.

    Raises:
        WeightsError: If it is in no known format, lacks tensors, or cannot be written; then nothing is written.
    """
    found = import_weights(source, prefix, discriminator, truncation)
    print(described(found))
    if found.missing:
        raise WeightsError(f'{source} lacks {len(found.missing)} tensors; nothing is written.')
    top = 'discriminator' if discriminator else 'generator_ema'
    card: dict[str, Any] = dict(
        name=out.stem,
        kind='discriminator' if discriminator else 'bank',
        source=Path(source).name,
        format=found.format,
        architecture=found.architecture,
        arguments=found.kwargs,
        filled=found.filled,
        ignored=found.ignored,
        prefix=top,
        colour_order='RGB',
        value_range=[-1, 1],
        dtype=dtype or 'as in the source',
        version=__version__,
        note="The weights' licence is that of their source.",
    )
    state = {f'{top}.{key}': value for key, value in found.state.items()}
    try:
        card = write_with_card(state, out, card, dtype=DTYPES[dtype] if dtype else None)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f'{out} cannot be written ({error}): choose another place.') from error
    print(f'{out}: {len(state)} tensors, {card["size"] / 1e6:.1f} MB, SHA-256 {card["sha256"]}')
