# What the studies of Twemoji have in common. A row differs from the others in its generator alone: `same` is checked.
title = 'Twemoji, people'
# 8,000 pictures of 16: half the training of the shipped weights, so that all of it is done in an evening on two cores.
budget = dict(iters=500)
seeds = [0, 1, 2]

metrics = [
    dict(type='PSNR'),
    dict(type='SSIM'),
    # The training loss has the other trunk, alex.
    dict(type='STLPIPSMetric', net='vgg'),
    dict(type='LRConsistency'),
    # Few pictures, so the distance without bias; named for its features, as it is no KID.
    dict(type='KIDMetric', features='stlpips-vgg'),
]

# On the way, for the curves.
val_points = 4
val_metrics = metrics[:3]

# The same model with a bank that knows nothing: what the prior is worth.
reference = 'GLEAN, random bank'

# Skin tones and genders of one emoji are no independent pictures.
groups = dict(file='../../tools/splits/twemoji.csv', picture='name', group='base')
