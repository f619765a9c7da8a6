_base_ = './glean_photo_blind_4x.py'

# In the form of lightglean_photo_4x, whose weights `load_from` can take.
model = dict(
    generator=dict(bank=dict(start_res=16), encoder=dict(num_rrdbs=8), decoder=dict(width_ratio=0.5)),
    perceptual_loss=dict(loss_weight=0.05))

val_dataloader = dict(
    dataset=dict(pipeline=[_base_.load_img, _base_.load_gt, _base_.degrade_alike, _base_.pack]))
test_dataloader = val_dataloader
