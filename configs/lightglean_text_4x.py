# Text, 4x, trained on crops 16 -> 64 of those that `prepare_text` renders: a quarter of them shrunk alone, the others
# as a scanner or a screenshot leaves them. As LightGLEAN it takes inputs of any size: whole test images, and pages.
_base_ = ['./lightglean_photo_4x.py', './_base_/blind.py']

paper = [
    dict(type='Sometimes', probability=0.6, transforms=[dict(type='BlindBlur', limits=(0.2, 1.8))]),
    dict(type='Sometimes', probability=0.4, transforms=[dict(type='BlindResample', limits=(1, 2))]),
    dict(type='Sometimes', probability=0.5, transforms=[dict(type='BlindNoise', limits=(0, 12))]),
]
file = [
    dict(type='Sometimes', probability=0.4, transforms=[dict(type='BlindNoise', limits=(0, 5))]),
    dict(type='Sometimes', probability=0.8, transforms=[dict(type='BlindJPEG', limits=(45, 95))]),
]
# Before and after the reduction, each in half of the images.
shrink = dict(type='MATLABLikeResize', keys=['img'], scale=0.25)
degrade_anew = dict(
    type='SeededTransforms', seed=0, transforms=[
        _base_.copy_gt,
        dict(type='Sometimes', probability=0.5, transforms=paper), shrink,
        dict(type='Sometimes', probability=0.5, transforms=file), dict(type='Quantize'),
        # Letters have a direction: no flips and no transposition.
        dict(type='SetValues', dictionary=dict(scale=4)),
        dict(type='PairedRandomCrop', gt_patch_size=64),
    ])

train_dataloader = dict(
    sampler=dict(_delete_=True, type='NumberedSampler', shuffle=True),
    dataset=dict(
        metainfo=dict(dataset_type='text', task_name='blind'),
        data_root='data/text/train',
        data_prefix=dict(_delete_=True, gt='GT'),
        pipeline=[_base_.load_gt, degrade_anew, _base_.pack]))
# Clean inputs.
val_dataloader = dict(dataset=dict(
    metainfo=dict(dataset_type='text', task_name='sisr'),
    data_root='data/text/test'))
test_dataloader = val_dataloader
