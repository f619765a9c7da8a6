# The paper's claims at 4x, 16 -> 64: is it the prior that helps, and what does each part do?
_base_ = './twemoji.py'

title = 'Twemoji, people, 4x: 16 -> 64'

_glean = '../glean_twemoji_4x.py'
_light = '../lightglean_twemoji_4x.py'
# Frozen and random, which is what MMagic's configs train.
_random = {'model.generator.bank.pretrained': None}

# An inversion of the same bank, `tools/invert.py`, trains nothing and is no row of this kind.
rows = {
    'bicubic': dict(config=_glean, picture='bicubic_img'),
    'ESRGAN+': dict(config='../esrganplus_twemoji_4x.py'),
    'GLEAN without bank': dict(config='../bankfree_twemoji_4x.py'),
    'GLEAN, random bank': dict(config=_glean, cfg_options=_random),
    'GLEAN': dict(config=_glean),
    'GLEAN, fine-tuned bank': dict(config=_glean, cfg_options={'model.generator.freeze_bank': False}),
    'LightGLEAN, random bank': dict(config=_light, cfg_options=_random),
    'LightGLEAN': dict(config=_light),
    'LightGLEAN, 1 RRDB': dict(config=_light, cfg_options={'model.generator.encoder.num_rrdbs': 1}),
    'LightGLEAN from 8': dict(config=_light, cfg_options={'model.generator.bank.start_res': 8}),
    'LightGLEAN from 8, random bank': dict(
        config=_light, cfg_options={**_random, 'model.generator.bank.start_res': 8}),
    'LightGLEAN from 32': dict(config=_light, cfg_options={'model.generator.bank.start_res': 32}),
    'LightGLEAN from 32, random bank': dict(
        config=_light, cfg_options={**_random, 'model.generator.bank.start_res': 32}),
    # 15 % of GLEAN's parameters, where the paper's has a fifth.
    'LightGLEAN from 32, 1 RRDB': dict(
        config=_light, cfg_options={'model.generator.bank.start_res': 32, 'model.generator.encoder.num_rrdbs': 1}),
}
