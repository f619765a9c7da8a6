# Faces, 8x: 128 -> 1024.
_base_ = './glean_face_16x.py'

model = dict(generator=dict(in_size=128))
low_resolution = dict(dataset=dict(data_prefix=dict(img='BIx8_down')))
train_dataloader = low_resolution
val_dataloader = low_resolution
test_dataloader = low_resolution
