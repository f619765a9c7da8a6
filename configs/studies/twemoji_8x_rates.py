# At which learning rate is each best? In so few iterations it decides as much as the network does. GLEAN against a
# LightGLEAN of a fifth of its parameters: trunk of 48 channels, bank from 16, decoder half as wide with GLEAN's hidden
# layer before the image. The random banks show what the prior is worth at the best rate that no seed diverges at.
_base_ = './twemoji.py'

title = 'Twemoji, people, 8x: learning rates'
reference = 'GLEAN, 2e-3'

_glean = '../glean_twemoji_8x.py'
_light = '../lightglean_twemoji_8x.py'
_rate = 'optim_wrapper.generator.optimizer.lr'
_random = {'model.generator.bank.pretrained': None}
_fifth = {
    'model.generator.bank.start_res': 16,
    'model.generator.encoder.num_rrdbs': 1,
    'model.generator.encoder.rrdb_channels': 48,
    'model.generator.encoder.growth_channels': 24,
    'model.generator.decoder.last_channels': 64,
    'model.generator.decoder.width_ratio': 0.5,
}

rows = {
    'GLEAN, 1e-3': dict(config=_glean),
    'GLEAN, 2e-3': dict(config=_glean, cfg_options={_rate: 2e-3}),
    'GLEAN, 2e-3, random bank': dict(config=_glean, cfg_options={**_random, _rate: 2e-3}),
    'GLEAN, 3e-3': dict(config=_glean, cfg_options={_rate: 3e-3}),
    'GLEAN, 4e-3': dict(config=_glean, cfg_options={_rate: 4e-3}),
    'LightGLEAN, a fifth, 1e-3': dict(config=_light, cfg_options=_fifth),
    'LightGLEAN, a fifth, 2e-3': dict(config=_light, cfg_options={**_fifth, _rate: 2e-3}),
    'LightGLEAN, a fifth, 3e-3': dict(config=_light, cfg_options={**_fifth, _rate: 3e-3}),
    'LightGLEAN, a fifth, 4e-3': dict(config=_light, cfg_options={**_fifth, _rate: 4e-3}),
    'LightGLEAN, a fifth, 3e-3, random bank': dict(config=_light, cfg_options={**_random, **_fifth, _rate: 3e-3}),
    'LightGLEAN, a fifth, 6e-3': dict(config=_light, cfg_options={**_fifth, _rate: 6e-3}),
}
