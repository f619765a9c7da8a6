# As LightGLEAN it takes inputs of any size: whole test images.
_base_ = './glean_photo_4x.py'

model = dict(
    generator=dict(bank=dict(start_res=16), decoder=dict(width_ratio=0.5)))

val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
