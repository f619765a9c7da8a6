from glean_plus.metrics.lpips import LPIPS, STLPIPSMetric
from glean_plus.metrics.niqe import NoReferenceNIQE

__all__ = ['LPIPS', 'NoReferenceNIQE', 'STLPIPSMetric']
