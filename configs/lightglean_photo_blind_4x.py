_base_ = './glean_photo_blind_4x.py'

# In the form of lightglean_photo_4x, whose weights `load_from` can take.
model = dict(
    generator=dict(bank=dict(start_res=16), encoder=dict(num_rrdbs=8), decoder=dict(width_ratio=0.5)),
    perceptual_loss=dict(loss_weight=0.03))

# Larger crops than the bank's 16 -> 64, as it takes any: 24 px are three blocks of a JPEG.
larger = [_base_.set_scale, dict(type='PairedRandomCrop', gt_patch_size=96), *_base_.turn]
degrade_anew = dict(type='SeededTransforms', seed=0, transforms=[*_base_.degrade, *larger])
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=[_base_.load_gt, degrade_anew, _base_.pack]))

val_dataloader = dict(
    dataset=dict(pipeline=[_base_.load_img, _base_.load_gt, _base_.degrade_alike, _base_.pack]))
test_dataloader = val_dataloader
