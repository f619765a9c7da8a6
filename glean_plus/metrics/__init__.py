from glean_plus.metrics.lpips import LPIPS, STLPIPSMetric

__all__ = ['LPIPS', 'STLPIPSMetric']
