# Multi-class super-resolution of ImageNet, 8x: 32 -> 256.
_base_ = './glean_imagenet_4x.py'

model = dict(generator=dict(in_size=32))
low_resolution = dict(dataset=dict(data_prefix=dict(img='BIx8_down')))
train_dataloader = low_resolution
val_dataloader = low_resolution
test_dataloader = low_resolution
