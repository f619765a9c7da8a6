_base_ = './glean_photo_blind_4x.py'

model = dict(
    generator=dict(bank=dict(start_res=16), decoder=dict(width_ratio=0.5)))

val_dataloader = dict(
    dataset=dict(pipeline=[_base_.load_img, _base_.load_gt, _base_.degrade_alike, _base_.pack]))
test_dataloader = val_dataloader
