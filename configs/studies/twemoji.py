# What the studies of Twemoji have in common. A row differs from the others in its generator alone: `same` is checked.
title = 'Twemoji, people'
# 9,600 images.
budget = dict(iters=600)
seeds = [0, 1, 2]

metrics = [
    dict(type='PSNR'),
    dict(type='SSIM'),
    # The training loss has the other trunk, alex.
    dict(type='STLPIPSMetric', net='vgg'),
    dict(type='LRConsistency'),
    # Few images, so the distance without bias; named for its features, as it is no KID.
    dict(type='KIDMetric', features='stlpips-vgg'),
]

# On the way, for the curves.
val_points = 2
val_metrics = metrics[:3]

# Without a warm-up, the first steps throw some seeds so far off that they never make up for it: seeds of one row then
# differ by more than the rows (GLEAN at 8x after 500 steps: 17.8 and 18.7 dB). Lengths are those for the configs' 1,000
# steps, and stretched with the rest.
cfg_options = dict(param_scheduler=[
    dict(type='LinearLR', by_epoch=False, start_factor=0.02, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=100, end=1000, T_max=900, eta_min=1e-7),
])

# The same model with a bank that knows nothing: what the prior is worth.
reference = 'GLEAN, random bank'

# Skin tones and genders of one emoji are no independent images.
groups = dict(file='../../tools/splits/twemoji.csv', picture='name', group='base')
