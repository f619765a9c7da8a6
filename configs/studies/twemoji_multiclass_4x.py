# The paper's claim for images of many classes: what is a BigGAN bank of all groups worth?
_base_ = './twemoji.py'

title = 'Twemoji, all groups, 4x: 16 -> 64'

_glean = '../glean_twemoji_multiclass_4x.py'
_light = '../lightglean_twemoji_multiclass_4x.py'
# Frozen and random.
_random = {'model.generator.bank.pretrained': None}

# No curves: 369 images take a minute each time.
val_points = 0

rows = {
    'bicubic': dict(config=_glean, picture='bicubic_img'),
    'GLEAN, random bank': dict(config=_glean, cfg_options=_random),
    'GLEAN': dict(config=_glean),
    'LightGLEAN, random bank': dict(config=_light, cfg_options=_random),
    'LightGLEAN': dict(config=_light),
}
