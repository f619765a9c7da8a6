"""Checkpoints of any kind -> the tensors of a generator, and a config -> its pre-trained bank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from glean_plus.models.banks import LatentBank
from glean_plus.models.glean import GLEAN
from glean_plus.registry import ARCHITECTURES, MODELS
from glean_plus.weights import WeightsError, draws_bgr, import_weights, select_prefix
from glean_plus.weights.fetch import cached_path, is_address
from glean_plus.weights.files import local_copy
from glean_plus.weights.mmagic_glean import from_mmagic, is_mmagic_glean
from glean_plus.weights.prefixes import at_top
from glean_plus.weights.strict import check

AVERAGE = 'generator_ema.'


def generator_states(
    state: Mapping[str, Tensor], generator: nn.Module, source: str, averaged: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of a generator and of its moving average, out of a checkpoint.

    Args:
        state: A checkpoint of training, a file with the generator alone, or one of MMagic's GLEAN.
        generator: The network; it may be on the meta device, as values are not looked at.
        source: Of the checkpoint, for messages.
        averaged: Look for the average as well.

    Returns:
        All tensors of the generator, and all of its average but for a frozen bank's, which is the same; none where
        there is no average.

    Raises:
        WeightsError: If tensors are missing, unexpected or of another shape.
    """
    state = at_top(state, 'generator')
    given = select_prefix(state, 'generator', source)
    averages = {key[len(AVERAGE):]: value for key, value in state.items() if averaged and key.startswith(AVERAGE)}
    if isinstance(generator, GLEAN) and is_mmagic_glean(given):
        given = _converted(given, 'generator')
        averages = _converted(averages, 'generator_ema') if averages else {}
    expected = generator.state_dict()
    check(expected, given, source, "this config's generator")
    if averages:
        if bank_is_frozen(generator):  # MMagic keeps an average of it
            expected, averages = (
                {key: value for key, value in each.items() if not key.startswith('bank.')}
                for each in (expected, averages)
            )
        check(expected, averages, source, "this config's moving average")
    return given, averages


def bank_is_frozen(generator: nn.Module) -> bool:
    """Whether a network has a bank whose weights are fixed."""
    return bool(getattr(getattr(generator, 'bank', None), 'frozen', False))


def _converted(state: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """Tensors of MMagic's GLEAN by our names."""
    given, dropped = from_mmagic(state)
    print_log(f'MMagic GLEAN checkpoint, {what}.*: {len(given)} tensors taken, {len(dropped)} dropped: '
              f'{"; ".join(sorted(set(dropped.values())))}', logger='current')  # fmt: skip
    return given


def bank_draws_bgr(bank: LatentBank) -> bool:
    """What the catalogue knows of the order of colours of a bank's pre-trained weights."""
    return bank.pretrained is not None and draws_bgr(str(bank.pretrained['checkpoint']))


class MissingBankError(WeightsError):
    """A config names no file of its pre-trained bank, or the file is not there."""


def load_bank(
    config: Mapping[str, Any],
    *,
    whole: bool = False,
    download: bool = True,
    device: str | torch.device = 'cpu',
    **parts: Any,
) -> LatentBank:
    """A pre-trained bank, frozen.

    Args:
        config: ``model.generator.bank`` of a config. Without ``type``, class and sizes are those of the file that
            ``pretrained`` names.
        whole: The full generator, not only the blocks that the config keeps.
        download: Fetch the file if it is not here.
        device: Where to have it.
        **parts: Of the bank's arguments, those that differ from the config's, such as ``rgb=True``.

    Raises:
        MissingBankError: If the config names no file, or one that is not there.
        WeightsError: If the file is another bank's, or none.
    """
    if 'type' not in config:
        source, prefix = (config['pretrained'].get(name) for name in ('checkpoint', 'prefix'))
        found = import_weights(source, prefix)
        bank: LatentBank = ARCHITECTURES.get(found.architecture)(**found.kwargs)
        bank.load(found.state, source)
        return bank.freeze().to(device)
    config = dict(config) | parts
    with torch.device('meta'):
        part: LatentBank = MODELS.build(dict(config))
    if part.pretrained is None:
        raise MissingBankError(
            'the config names no file of the pre-trained bank: model.generator.bank.pretrained.checkpoint is not set'
        )
    checkpoint = str(part.pretrained['checkpoint'])
    if not download and is_address(checkpoint) and not cached_path(checkpoint).is_file():
        raise MissingBankError(
            f'the pre-trained bank is not here: `glean-plus fetch {checkpoint}` fetches it to {cached_path(checkpoint)}'
        )
    try:
        local_copy(checkpoint)
    except WeightsError as error:
        raise MissingBankError(f'the pre-trained bank is not there: {error}') from error
    bank = part.whole() if whole else MODELS.build(config)
    bank.pretrained = part.pretrained
    bank.init_weights()
    return bank.freeze().to(device)
