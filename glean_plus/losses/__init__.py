from glean_plus.losses.perceptual import STLPIPSLoss, VGGFeatureLoss

__all__ = ['STLPIPSLoss', 'VGGFeatureLoss']
