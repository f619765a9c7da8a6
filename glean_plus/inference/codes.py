"""How far predicted codes are from the mean of the bank's own, in units of their spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glean_plus.models.banks import LatentBank
from glean_plus.models.loading import MissingBankError, load_bank

SAMPLES = 10_000  # where a bank's codes are known by samples alone


@dataclass(frozen=True)
class CodeStatistics:
    """Mean and standard deviation of each layer's codes, (dim,) each, over what the bank draws images from."""

    means: Sequence[Tensor]
    spreads: Sequence[Tensor]

    def distance(self, codes: Sequence[Tensor | None]) -> Tensor:
        """Codes (N, dim) of each layer -> (N,), root mean square of (code - mean) / spread; about 1 of the bank's own.

        Of a code with a given class, whose start is not predicted, the rest counts.
        """
        parts = []
        for code, mean, spread in zip(codes, self.means, self.spreads):
            if code is not None:
                own = code.float().cpu()[:, -len(mean):]
                parts.append((own - mean) / spread.clamp(min=1e-6))
        return torch.cat(parts, dim=1).square().mean(dim=1).sqrt()


def code_statistics(generator: Mapping[str, Any]) -> CodeStatistics | str:
    """Of the pre-trained bank that a generator's config names; or a sentence about why they cannot be had.

    Nothing is downloaded: the config may be a stranger's, and a visitor of the web page may ask.

    Raises:
        WeightsError: If there is a file, and it is another bank's.
    """
    try:
        bank = load_bank(generator['bank'], download=False)
    except MissingBankError as error:
        return str(error)
    return _of(bank, bool(generator.get('given_class')))


def _of(bank: LatentBank, given_class: bool) -> CodeStatistics | str:
    means, spreads = bank.mean_codes(SAMPLES), bank.code_spreads(SAMPLES)
    if spreads is None:
        return f'nothing is known of the codes of a {type(bank).__name__}'
    if given_class:
        means, spreads = ([each[given:] for each, given in zip(all_, bank.class_dims)] for all_ in (means, spreads))
    return CodeStatistics(means, spreads)
