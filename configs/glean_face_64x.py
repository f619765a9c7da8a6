# Faces, 64x: 16 -> 1024.
_base_ = './glean_face_16x.py'

model = dict(generator=dict(in_size=16))
low_resolution = dict(dataset=dict(data_prefix=dict(img='BIx64_down')))
train_dataloader = low_resolution
val_dataloader = low_resolution
test_dataloader = low_resolution
