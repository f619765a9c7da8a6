# As LightGLEAN it takes inputs of any size: whole test images.
_base_ = './glean_photo_4x.py'

model = dict(
    generator=dict(bank=dict(start_res=16), encoder=dict(num_rrdbs=8), decoder=dict(width_ratio=0.5)),
    perceptual_loss=dict(loss_weight=0.05))

# With a checkpoint, e.g. of a training with model.generator.encoder.num_rrdbs=4, it starts from that one's weights.
custom_hooks = [*_base_.custom_hooks, dict(type='DeeperEncoderHook', checkpoint=None)]

val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
