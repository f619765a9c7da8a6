# The paper's claim for colorization: what is the prior worth where the structure is given?
_base_ = './twemoji.py'

title = 'Twemoji, all groups: colorization'

_glean = '../glean_twemoji_color.py'
_light = '../lightglean_twemoji_color.py'
# Frozen and random.
_random = {'model.generator.bank.pretrained': None}

# The input is the lightness of the ground truth, at its size: nothing to shrink to.
metrics = [metric for metric in _base_.metrics if metric['type'] != 'LRConsistency']

rows = {
    'kept gray': dict(config=_glean, picture='gray_img'),
    'mean colour': dict(config=_glean, picture='mean_img'),
    'GLEAN, random bank': dict(config=_glean, cfg_options=_random),
    'GLEAN': dict(config=_glean),
    'LightGLEAN, random bank': dict(config=_light, cfg_options=_random),
    'LightGLEAN': dict(config=_light),
}
