"""Which way each metric is better."""

from __future__ import annotations

from typing import Any

# Class -> whether lower is better; ours and MMagic's. A metric of one's own has an attribute `lower_is_better` instead.
LOWER_IS_BETTER = {
    'PSNRMetric': False, 'SSIMMetric': False, 'LRConsistency': False, 'IdentitySimilarity': False,
    'LPIPSMetric': True, 'STLPIPSMetric': True, 'NIQEMetric': True, 'FIDMetric': True, 'KIDMetric': True,
    'PSNR': False, 'SSIM': False, 'SNR': False, 'MAE': True, 'MSE': True, 'NIQE': True,
    'SAD': True, 'MattingMSE': True, 'GradientError': True, 'ConnectivityError': True,
}  # fmt: skip
# Ends of the keys that count images beside a metric, and are none themselves.
EXACT, LEFT_OUT = '-exact', '-left-out'


def lower_is_better(metric: type) -> bool | None:
    """Whether a metric of this class is better when it is lower; None if that is not known."""
    for each in metric.__mro__:
        own: Any = vars(each).get('lower_is_better')
        if isinstance(own, bool):
            return own
        if each.__name__ in LOWER_IS_BETTER:
            return LOWER_IS_BETTER[each.__name__]
    return None
