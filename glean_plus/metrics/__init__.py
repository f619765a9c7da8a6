from glean_plus.metrics.consistency import LRConsistency
from glean_plus.metrics.distribution import FIDMetric, KIDMetric
from glean_plus.metrics.fidelity import PSNRMetric, SSIMMetric
from glean_plus.metrics.identity import IdentitySimilarity
from glean_plus.metrics.lpips import LPIPSMetric, STLPIPSMetric
from glean_plus.metrics.niqe import NIQEMetric

__all__ = [
    'FIDMetric', 'IdentitySimilarity', 'KIDMetric', 'LPIPSMetric', 'LRConsistency', 'NIQEMetric', 'PSNRMetric',
    'SSIMMetric', 'STLPIPSMetric',
]  # fmt: skip
