# Photographs as people have them, 4x: blurred, noisy, compressed, resized, in two rounds as in second-order
# degradation, each step in a part of the images only, so that what is clean stays so.
_base_ = ['./glean_photo_4x.py', './_base_/blind.py']

# Of the high-resolution crop: a camera's blur, and an earlier life as a smaller JPEG.
first = [
    dict(type='Sometimes', probability=0.5, transforms=[dict(type='BlindBlur', limits=(0.2, 2.5))]),
    dict(type='Sometimes', probability=0.3, transforms=[dict(type='BlindResample', limits=(1, 2.5))]),
    dict(type='Sometimes', probability=0.3, transforms=[dict(type='BlindNoise', limits=(0, 20))]),
    dict(type='Sometimes', probability=0.3, transforms=[dict(type='BlindJPEG', limits=(40, 95))]),
]
# Of the image to restore.
second = [
    dict(type='Sometimes', probability=0.3, transforms=[dict(type='BlindBlur', limits=(0.2, 1.3))]),
    dict(type='Sometimes', probability=0.5, transforms=[dict(type='BlindNoise', limits=(0, 14))]),
    dict(type='Sometimes', probability=0.6, transforms=[dict(type='BlindJPEG', limits=(30, 95))]),
]
shrink = dict(type='MATLABLikeResize', keys=['img'], scale=0.25)
degrade = [
    _base_.copy_gt, dict(type='Sometimes', probability=0.85, transforms=first), shrink,
    dict(type='Sometimes', probability=0.85, transforms=second), dict(type='Quantize'),
]
degrade_anew = dict(type='SeededTransforms', seed=0, transforms=[*degrade, *_base_.crop])

train_dataloader = dict(
    sampler=dict(_delete_=True, type='NumberedSampler', shuffle=True),
    dataset=dict(
        metainfo=dict(task_name='blind'),
        data_prefix=dict(_delete_=True, gt='GT'),
        pipeline=[_base_.load_gt, degrade_anew, _base_.pack]))

# In the middle of the training's ranges, JPEG last.
degrade_alike = dict(
    type='SeededTransforms', seed=0, fixed=True, transforms=[
        dict(type='BlindBlur', limits=(0.2, 1.0)),
        dict(type='BlindNoise', limits=(0, 10)),
        dict(type='BlindJPEG', limits=(50, 95)),
    ])
val_dataloader = dict(
    dataset=dict(
        metainfo=dict(task_name='blind'),
        pipeline=[_base_.load_img, _base_.load_gt, *_base_.middle, degrade_alike, _base_.pack]))
test_dataloader = val_dataloader
