"""Parts of a GLEAN that can be switched off or exchanged (paper section 6, Fig. 13-15), and those that a model has.

A walk through the bank is one thing, what is made of the bank's features another: switches that share a walk differ in
the latter alone. Which switches there are follows from the model's parts; one that such a model usually has, but this
one has not, is listed with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from glean_plus.models.banks import LatentBank
from glean_plus.models.codes import LearnedCodes
from glean_plus.models.glean import GLEAN

MODEL = 'model'
GROUPS = {
    MODEL: 'The model',
    'encoder': 'Encoder features to the bank (Fig. 13)',
    'own': "Without the decoder: the bank's own image (Fig. 13, 15)",
    'bank': 'Bank features to the decoder (Fig. 14)',
    'codes': 'Codes and noise',
}
# Codes that can replace an image's own.
OWN, NEXT, MEAN, BANK = 'own', 'of the next image', 'mean of the images', 'mean of the bank'


class Walk(NamedTuple):
    """One pass through the bank; the default is the model's own."""

    encoder_to: int | None = None  # highest resolution whose encoder feature enters the bank, 0 for none; None for all
    codes: str = OWN  # `OWN`, or what takes their place
    new_noise: bool = False  # resample the noise maps


AS_IT_IS = Walk()


@dataclass(frozen=True)
class Switch:
    """One way to run the model."""

    key: str  # short name, such as `encoder_to_8`
    group: str  # a key of `GROUPS`
    label: str  # what a reader sees
    walk: Walk = AS_IT_IS  # the pass through the bank
    # Highest resolution whose bank feature reaches the decoder, 0 for none; None for all. The others are zeros.
    bank_to: int | None = None
    decoder: bool = True  # the image is the decoder's; otherwise the bank's own
    note: str = ''  # what must be known to read its result
    reason: str = ''  # why it does not apply to this model; empty if it does

    @property
    def applies(self) -> bool:
        return not self.reason


def entries(model: GLEAN) -> list[int]:
    """Resolutions at which encoder features enter the bank: that of its start, if it starts above 4, and fusions."""
    start = [] if model.bank.start_res == 4 else [model.bank.start_res // 2]
    return sorted({*start, *(int(res) for res in model.fusions)})


def switches_of(model: GLEAN, own_image: LatentBank | str, count: int) -> list[Switch]:
    """Every switch, in the order of the paper's figures; the first is the model as it is.

    Args:
        own_image: The bank that synthesizes its own image, or why there is none.
    """
    return [
        Switch(MODEL, MODEL, 'output: all on'),
        *_encoder(model),
        *_own(model, own_image),
        *_bank(model),
        *_codes(model, own_image, count),
        *_noise(model),
    ]


def _encoder(model: GLEAN) -> list[Switch]:
    levels = entries(model)
    off = Switch('encoder_off', 'encoder', 'encoder features off', Walk(encoder_to=0))
    if not levels:
        reason = 'no encoder feature enters this bank: it starts from its constant, and nothing is fused'
        return [replace(off, reason=reason)]
    if not model.fusions:
        note = f'the bank starts from zeros in place of the encoder feature at {levels[0]}'
        reason = f'nothing is fused into this bank: the encoder feature at {levels[0]}, its start, is the only one'
        return [replace(off, note=note), Switch('encoder_to', 'encoder', 'encoder features up to r', reason=reason)]
    # In the paper 4 to 16 of an input of 64 are "coarse".
    coarse = max([level for level in levels if level <= model.in_size // 4], default=0)
    steps = [
        Switch(f'encoder_to_{level}', 'encoder',
               f'encoder features up to {level}' + (' (coarse)' if level == coarse else ''), Walk(encoder_to=level))
        for level in levels[:-1]
    ]  # fmt: skip
    return [off, *steps]


def _own(model: GLEAN, own_image: LatentBank | str) -> list[Switch]:
    note = 'nothing in training makes this an image: the paper trained a variant without decoder for it'
    if isinstance(own_image, str):
        return [Switch('own', 'own', "bank's own image", reason=own_image)]
    if model.bank.adds_images and model.bank.start_res > 4:
        note += f'; the share of the image that blocks below {model.bank.start_res} add is not there'
    whole = Switch('own', 'own', "bank's own image", decoder=False, note=note)
    parts = [
        Switch(f'own_{each.key}', 'own', f'own image, {each.label}', each.walk, decoder=False)
        for each in _encoder(model) if each.applies
    ]  # fmt: skip
    return [*parts, whole]


def _bank(model: GLEAN) -> list[Switch]:
    levels = sorted(model.decoder.resolutions)
    if not levels:
        return [Switch('bank_off', 'bank', 'bank features off', reason='no bank feature reaches this decoder')]
    off = Switch('bank_off', 'bank', 'bank features off', bank_to=0, note='zeros in their place')
    if len(levels) == 1:
        reason = f'the bank feature at {levels[0]} is the only one that the decoder takes'
        return [off, Switch('bank_to', 'bank', 'bank features up to r', reason=reason)]
    steps = [Switch(f'bank_to_{level}', 'bank', f'bank features up to {level}', bank_to=level) for level in levels[:-1]]
    return [off, *steps]


def _codes(model: GLEAN, own_image: LatentBank | str, count: int) -> list[Switch]:
    shared = isinstance(model.codes, LearnedCodes) and not model.given_class
    reason = 'the codes are parameters, the same for every image' if shared else ''
    if not reason and count < 2:
        reason = 'it needs two images or more'
    bank_reason = own_image if isinstance(own_image, str) else ''
    return [
        Switch(f'codes_{key}', 'codes', f'codes: {codes}', Walk(codes=codes), reason=why)
        for key, codes, why in (('next', NEXT, reason), ('mean', MEAN, reason), ('bank', BANK, bank_reason))
    ]


def _noise(model: GLEAN) -> Sequence[Switch]:
    has_maps = bool(model.bank.draw_noises())
    reason = '' if has_maps else f'{type(model.bank).__name__} has no noise maps: its noise is a part of the codes'
    return [Switch('noise', 'codes', 'noise maps resampled', Walk(new_noise=True), reason=reason)]
