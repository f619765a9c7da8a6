# Blind restoration of Twemoji's people, degraded by Eq. 11, to 64 px, on the small bank that was trained here.
#
# The paper's ranges are for images of 512 px and more. Here sigma, which is in pixels, is 64 / 512 of it, and r ends
# at 4, where 16 px remain, not 8: a block of JPEG. Noise and JPEG are the paper's. The degraded image, 16 to 64 px,
# is resized to 32: at the median r of 2.5 it has 26.
_base_ = ['./glean_twemoji_4x.py', './_base_/blind.py']

in_size, out_size = 32, 64

# To beat: bicubic, and filters with the best of a few settings on 100 training images (median 3 or 5; bilateral side
# 5 or 7, sigma_color 0.05 to 0.5, sigma_space 0.7 to 2.5).
filters = dict(bicubic=True, median=3, bilateral=dict(side=7, sigma_color=0.2, sigma_space=2.5))
model = dict(generator=dict(in_size=in_size), test_cfg=filters)

eq11 = [
    dict(type='BlindBlur', limits=(0.025, 1.25)),
    dict(type='BlindDownsample', limits=(1, 4)),
    dict(type='BlindNoise', limits=(0, 25)),
    dict(type='BlindJPEG', limits=(5, 50)),
]
degrade_anew = dict(type='SeededTransforms', seed=0, transforms=[_base_.flip, _base_.copy_gt] + eq11)
degrade_alike = dict(type='SeededTransforms', seed=0, fixed=True, transforms=[_base_.copy_gt] + eq11)
gt_size = dict(type='SquareResize', key='gt', size=out_size)
img_size = dict(type='SquareResize', key='img', size=in_size)

train_dataloader = dict(
    sampler=dict(_delete_=True, type='NumberedSampler', shuffle=True),
    dataset=dict(
        metainfo=dict(task_name='blind'),
        data_prefix=dict(_delete_=True, gt='GT'),
        pipeline=[_base_.load_gt, gt_size, degrade_anew, img_size, _base_.pack]))
val_dataloader = dict(
    dataset=dict(
        metainfo=dict(task_name='blind'),
        data_prefix=dict(_delete_=True, gt='GT'),
        pipeline=[_base_.load_gt, gt_size, degrade_alike, img_size, _base_.pack]))
test_dataloader = val_dataloader

metrics = [
    dict(**metric, **whose)
    for whose in [{}, *(dict(pred_key=f'{name}_img', prefix=name) for name in ('bicubic', 'median', 'bilateral'))]
    for metric in (dict(type='PSNRMetric'), dict(type='SSIMMetric'), dict(type='STLPIPSMetric', net='vgg'))
]
val_evaluator = dict(metrics=metrics)
test_evaluator = dict(metrics=metrics)
custom_hooks = [dict(type='PictureHook', compare=list(range(0, 235, 30)), references=['bicubic', 'bilateral'])]
