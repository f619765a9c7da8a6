"""A knob between the bank and the input.

What a model was trained to give lies in the middle. Below it, the bank's features enter the decoder larger than in
training: sharper, and further from the input. Above it, the result goes over into its projection onto the input: what
the model makes up, it makes up where the input does not contradict. Both ends are measured in docs/guides/trust.md.
"""

from __future__ import annotations

from torch import nn

from glean_plus.inference.errors import RestoreError
from glean_plus.models.decoder import GLEANDecoder

MIDDLE = 0.5  # the model's own result
STEPS = 5  # of the projection


def check_fidelity(fidelity: float | None, consistent: int) -> None:
    """Raise RestoreError on what is no fidelity, or where ``consistent`` leaves it nothing to do."""
    if fidelity is None:
        return
    if not 0 <= fidelity <= 1:
        raise RestoreError(f'fidelity is 0 (the bank) to 1 (the input), not {fidelity}.')
    if consistent and fidelity > MIDDLE:
        raise RestoreError(
            f'fidelity {fidelity} fades in what `consistent` does in full: give one of them, or a fidelity below '
            f'{MIDDLE}.'
        )


def bank_factor(fidelity: float | None) -> float:
    """By how much the bank's features are enlarged: 1.5 at fidelity 0, 1 from the middle on."""
    return 1.0 if fidelity is None else 1 + max(MIDDLE - fidelity, 0)


def input_share(fidelity: float | None) -> float:
    """How far the result goes to its projection: 0 up to the middle, 1 at fidelity 1."""
    return 0.0 if fidelity is None else max(fidelity - MIDDLE, 0) / (1 - MIDDLE)


def enlarge_bank_features(network: nn.Module, factor: float) -> None:
    """Multiply the bank's features where they enter the decoder, in the weights that take them: at any speed.

    Raises:
        RestoreError: If there is no bank, or another decoder than ``GLEANDecoder``.
    """
    bank, decoder = getattr(network, 'bank', None), getattr(network, 'decoder', None)
    if bank is None or not isinstance(decoder, GLEANDecoder):
        raise RestoreError(f'This model hands a decoder no features of a bank: its fidelity is {MIDDLE} or more.')
    parts = (*decoder.stages[1:], decoder.last)
    takers = [next(module for module in part.modules() if isinstance(module, nn.Conv2d)) for part in parts]
    for res, taker in zip(decoder.stage_resolutions, takers):
        if res in decoder.resolutions:  # the features are the last of the channels
            taker.weight.data[:, -bank.channels[res]:] *= factor
