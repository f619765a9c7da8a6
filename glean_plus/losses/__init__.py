from glean_plus.losses.consistency import LRConsistencyLoss
from glean_plus.losses.identity import IdentityLoss
from glean_plus.losses.perceptual import BackboneFeatureLoss, LPIPSLoss, STLPIPSLoss, VGGFeatureLoss

__all__ = [
    'BackboneFeatureLoss', 'IdentityLoss', 'LPIPSLoss', 'LRConsistencyLoss', 'STLPIPSLoss', 'VGGFeatureLoss',
]  # fmt: skip
