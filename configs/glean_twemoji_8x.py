# Twemoji's people, 8x: 8 -> 64.
_base_ = './glean_twemoji_4x.py'

model = dict(generator=dict(in_size=8))
low_resolution = dict(dataset=dict(data_prefix=dict(img='BIx8_down')))
train_dataloader = low_resolution
val_dataloader = low_resolution
test_dataloader = low_resolution
