"""A model's name, config or checkpoint -> the config of its network, and the file of its weights."""

from __future__ import annotations

import difflib
import os
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

from glean_plus.inference.embedded import embedded_model, literal, safetensors_metadata
from glean_plus.inference.errors import RestoreError
from glean_plus.utils.resources import data_folder
from glean_plus.utils.tables import aligned
from glean_plus.weights import CATALOGUE, Card, WeightsError, local_copy, read_card
from glean_plus.weights.cards import hash_in_name, parse_card
from glean_plus.weights.fetch import cached_path, is_address
from glean_plus.weights.listing import state
from glean_plus.weights.resources import ConfigError, config_file, config_of, own_config

__all__ = ['PathLike', 'Source', 'available', 'find', 'is_here', 'listing', 'literal', 'other_config']

PathLike = Union[str, 'os.PathLike[str]']

# Of a config that is named in a file: one of ours, and no path.
NAME = re.compile(r'\w[\w.-]{,59}')


@dataclass(frozen=True)
class Source:
    """Where a network comes from.

    Attributes:
        name: For people.
        model: ``model`` of the config.
        config: The config's name or path, or that of the checkpoint that carries it.
        checkpoint: File of the weights.
        card: What is known of it, if anything is.
    """

    name: str
    model: Mapping[str, Any]
    config: str
    checkpoint: Path
    card: Card | None = None


def available() -> dict[str, Card]:
    """The restorers that have a name: those that are shipped, and published ones, which are downloads."""
    shipped = (read_card(path) for path in sorted((data_folder('configs') / 'weights').glob('*.json')))
    return {card.name: card for card in (*shipped, *CATALOGUE.values()) if card.kind == 'restorer'}


def find(model: PathLike | Mapping[str, Any], checkpoint: PathLike | None = None) -> Source:
    """The source of a name, of a config and a checkpoint, or of a checkpoint alone.

    A checkpoint of training carries its config, a .safetensors file of ours its own or the name of one here. Nothing in
    a checkpoint is run.

    Args:
        model: Name (``glean-plus models`` lists them), path, URL or ``hf://`` address of a checkpoint; with
            ``checkpoint``, a config: path, name of one of ours, or its content.
        checkpoint: Path, URL, ``hf://`` address or name.

    Raises:
        RestoreError: If there is no such model or config, or a checkpoint does not say what it belongs to.
        WeightsError: If a file cannot be had or read.
    """
    if checkpoint is not None:
        names = available()
        file = _weights(names[str(checkpoint)]) if str(checkpoint) in names else local_copy(checkpoint)
        if isinstance(model, Mapping):
            return Source(file.stem, _model_of(model, 'The config'), 'a mapping', file, _card_beside(file))
        config = _config(str(model))
        return Source(config.stem, _read_config(config), str(model), file, _card_beside(file))
    if isinstance(model, Mapping):
        raise RestoreError('A config alone has no weights: give its checkpoint as well.')
    text = str(model)
    if card := available().get(text):
        name = card.config or card.name
        return Source(text, _read_config(_config(name)), name, _weights(card), card)
    if text.endswith('.py'):
        raise RestoreError(f'{text} is a config and has no weights: give its checkpoint as well.')
    if not is_address(text) and not Path(text).expanduser().is_file():
        close = difflib.get_close_matches(text.lower(), available())
        hint = f'did you mean {" or ".join(close)}?' if close else f'there are {", ".join(available())}.'
        raise RestoreError(f'There is no model {text!r}, neither by name nor as a file; {hint}')
    file = local_copy(text)
    card = _card_beside(file)
    name = (card.config or card.name) if card is not None else ''
    embedded = embedded_model(file) if file.suffix == '.safetensors' else None
    if embedded is None and NAME.fullmatch(name) and own_config(name).is_file():
        return Source(file.stem, _read_config(own_config(name)), name, file, card)
    embedded = embedded_model(file) if embedded is None else embedded
    if embedded is None:
        raise RestoreError(f'{file} does not say which config it belongs to: give the config as well, and it second. '
                           'A bank alone restores nothing.')
    return Source(file.stem, _model_of({'model': embedded}, str(file)), str(file), file, card)


def listing() -> str:
    """A table of the models that have a name."""
    rows = [('name', 'weights', 'data', 'licence')]
    for name, card in available().items():
        data, licence = (textwrap.shorten(text, 44, placeholder=' ...') for text in (card.data, card.licence))
        rows.append((name, state(card, 'a download'), data, licence))
    return '\n'.join(aligned(rows))


def other_config(source: Source) -> str:
    """Where weights that do not fit their config say which one is theirs: a sentence on what to do; else empty."""
    file, own = source.checkpoint, source.card and (source.card.config or source.card.name)
    if own and Path(source.config).stem != own:
        return f'{file.name} is of the config {own}: take that.'
    try:
        carried = source.config != str(file) and embedded_model(file) is not None
    except (RestoreError, WeightsError):  # the file is refused for another reason
        return ''
    return f'{file.name} carries its own config: take that.' if carried else ''


def is_here(card: Card) -> bool:
    """Whether the weights of a card are shipped or cached, so that nothing has to be fetched."""
    return (cached_path(card) if card.url else _shipped(card)).is_file()


def _weights(card: Card) -> Path:
    """The file of a card: shipped beside it, or fetched."""
    return local_copy(card if card.url else _shipped(card))


def _shipped(card: Card) -> Path:
    return data_folder('configs') / 'weights' / f'{card.name}.safetensors'


def _config(given: str) -> Path:
    try:
        return config_file(given)
    except FileNotFoundError as error:
        raise RestoreError(str(error)) from error


def _read_config(path: Path) -> Mapping[str, Any]:
    try:
        return _model_of(config_of(path).to_dict(), str(path))
    except ConfigError as error:
        raise RestoreError(str(error)) from error


def _model_of(config: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    model = config.get('model')
    if not isinstance(model, Mapping) or not isinstance(model.get('generator'), Mapping) or (
        'in_size' not in model['generator']
    ):
        raise RestoreError(f'{what} is of no restorer: its model has no generator with an `in_size`.')
    return model


def _card_beside(file: Path) -> Card | None:
    """The card in a .safetensors file or beside it; for a published file, that of the catalogue."""
    if file.suffix == '.safetensors':
        text = safetensors_metadata(file).get('card')
        if text is not None:
            facts = parse_card(text, f'The card in {file}')
            order = str(facts.get('colour_order', 'rgb')).lower()
            facts = {key: str(facts.get(key, '')) for key in ('name', 'kind', 'data', 'licence', 'config')}
            if facts['kind'] != 'restorer':
                return None
            try:
                return Card(**facts, colour_order=order)
            except WeightsError as error:
                raise WeightsError(f'The card in {file} is none: {error}') from error
    digest = hash_in_name(file.name)
    return next((card for card in CATALOGUE.values() if digest and card.sha256 == digest), None)
