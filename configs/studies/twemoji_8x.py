# The paper's claims at 8x, 8 -> 64: is it the prior that helps, and what does each part do?
_base_ = './twemoji.py'

title = 'Twemoji, people, 8x: 8 -> 64'

_glean = '../glean_twemoji_8x.py'
_light = '../lightglean_twemoji_8x.py'
# Frozen and random, which is what MMagic's configs train.
_random = {'model.generator.bank.pretrained': None}
_hidden = {
    'model.generator.bank.start_res': 16,
    'model.generator.encoder.num_rrdbs': 1,
    'model.generator.decoder.last_channels': 64,
}

# An inversion of the same bank, `tools/invert.py`, trains nothing and is no row of this kind.
rows = {
    'bicubic': dict(config=_glean, picture='bicubic_img'),
    'ESRGAN+': dict(config='../esrganplus_twemoji_8x.py'),
    'GLEAN without bank': dict(config='../bankfree_twemoji_8x.py'),
    'GLEAN, random bank': dict(config=_glean, cfg_options=_random),
    'GLEAN': dict(config=_glean),
    'GLEAN, fine-tuned bank': dict(config=_glean, cfg_options={'model.generator.freeze_bank': False}),
    'LightGLEAN, random bank': dict(config=_light, cfg_options=_random),
    'LightGLEAN': dict(config=_light),
    'LightGLEAN, 1 RRDB': dict(config=_light, cfg_options={'model.generator.encoder.num_rrdbs': 1}),
    'LightGLEAN from 16': dict(config=_light, cfg_options={'model.generator.bank.start_res': 16}),
    'LightGLEAN from 16, random bank': dict(
        config=_light, cfg_options={**_random, 'model.generator.bank.start_res': 16}),
    'LightGLEAN, faster codes': dict(
        config=_light,
        cfg_options={'optim_wrapper.generator.paramwise_cfg': dict(custom_keys=dict(codes=dict(lr_mult=10)))}),
    # Which of the two decoders is it?
    "LightGLEAN, GLEAN's decoder": dict(
        config=_light,
        cfg_options={'model.generator.decoder.width_ratio': 1, 'model.generator.decoder.last_channels': 64}),
    "GLEAN, LightGLEAN's decoder": dict(
        config=_glean,
        cfg_options={'model.generator.decoder.width_ratio': 0.25, 'model.generator.decoder.last_channels': None}),
    # A fifth of GLEAN's parameters (21 %), the paper's relation.
    'LightGLEAN from 16, 1 RRDB': dict(
        config=_light, cfg_options={'model.generator.bank.start_res': 16, 'model.generator.encoder.num_rrdbs': 1}),
    # The same with a hidden layer before the image, as GLEAN has it, and with a decoder half as wide as GLEAN's.
    'LightGLEAN from 16, 1 RRDB, hidden layer': dict(config=_light, cfg_options=_hidden),
    'LightGLEAN from 16, 1 RRDB, hidden layer, half': dict(
        config=_light, cfg_options={**_hidden, 'model.generator.decoder.width_ratio': 0.5}),
}
