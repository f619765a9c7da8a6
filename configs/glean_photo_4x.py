# Photographs, 4x, trained on crops 16 -> 64. Losses are the pixels' and ST-LPIPS: a discriminator costs fidelity that
# 4x does not need.
_base_ = ['./_base_/stlpips.py', './_base_/photos.py']

in_size, out_size = 16, 64
checkpoint = '{{ fileDirname }}/weights/stylegan2_twemoji_64px.safetensors'
channels = {4: 128, 8: 128, 16: 128, 32: 64, 64: 32}

model = dict(
    generator=dict(
        in_size=in_size,
        bank=dict(
            out_size=out_size,
            style_channels=128,
            num_mlps=4,
            channels=channels,
            pretrained=dict(checkpoint=checkpoint, prefix='generator_ema')),
        encoder=dict(num_rrdbs=4),
        decoder=dict(residual=True)),
    discriminator=None,
    gan_loss=None,
    ema=dict(decay=0.999),
    train_cfg=dict(channels_last=True))

train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    dataset=dict(
        metainfo=dict(dataset_type='photo', task_name='sisr'),
        data_root='data/photos/train',
        data_prefix=dict(img='BIx4_down'),
        ann_file='meta_info_GT.txt',
        pipeline=_base_.crop_pipeline))
# GLEAN is bound to its size: the middle of the test images, which have 256 px.
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        metainfo=dict(dataset_type='photo', task_name='sisr'),
        data_root='data/photos/test',
        data_prefix=dict(img='BIx4_down'),
        ann_file='meta_info_GT.txt',
        pipeline=_base_.middle_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_iters=20_000, val_interval=5000)
optim_wrapper = dict(_delete_=True, constructor='MultiOptimWrapperConstructor', generator=dict(
    type='BF16OptimWrapper', optimizer=dict(type='Adam', lr=1e-3, betas=(0.9, 0.99))))
param_scheduler = [
    dict(type='LinearLR', by_epoch=False, start_factor=0.01, end=200),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=200, T_max=19_800, end=20_000, eta_min=1e-6),
]
default_hooks = dict(checkpoint=dict(interval=1000))
