# Colorization of Twemoji, every group, 64 px, on the small BigGAN bank that was trained here. Everything is small, as
# in glean_twemoji_4x.py, and the trunk is half as wide: it works at 64 px and not at 16. The discriminator starts from
# nothing.
_base_ = ['./_base_/glean_color.py', './_base_/biggan_twemoji.py']

size = 64
checkpoint = '{{ fileDirname }}/weights/biggan_twemoji_64px.safetensors'

model = dict(
    generator=dict(
        in_size=size,
        bank=dict(**_base_.architecture, pretrained=dict(checkpoint=checkpoint, prefix='generator_ema')),
        encoder=dict(num_rrdbs=2, rrdb_channels=32, growth_channels=16),
        decoder=dict(mid_channels=32)),
    discriminator=dict(
        type='StyleGAN2BankDiscriminator', in_size=size, channels={4: 128, 8: 128, 16: 96, 32: 48, 64: 16}),
    perceptual_loss=dict(_delete_=True, type='STLPIPSLoss', net='alex', loss_weight=0.02),
    gan_loss=dict(loss_weight=1e-3),
    ema=dict(decay=0.99),
    train_cfg=dict(channels_last=True),
    # `mean` is the mean a and b over all pixels of the training split.
    test_cfg=dict(constant_ab=dict(mean=(6.378, 8.085))))

square = dict(type='SquareResize', key='gt', size=size)
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    dataset=dict(
        metainfo=dict(dataset_type='twemoji', task_name='colorization'),
        data_root='data/twemoji',
        ann_file='meta_info_Twemoji_all_train.txt',
        pipeline=[_base_.load, square, _base_.flip, _base_.lightness, _base_.pack]))
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        metainfo=dict(dataset_type='twemoji', task_name='colorization'),
        data_root='data/twemoji',
        ann_file='meta_info_Twemoji_all_test.txt',
        pipeline=[_base_.load, square, _base_.lightness, _base_.pack]))
test_dataloader = val_dataloader

metrics = [
    dict(**metric, **whose)
    for whose in ({}, dict(pred_key='gray_img', prefix='gray'), dict(pred_key='mean_img', prefix='mean'))
    for metric in (dict(type='PSNRMetric'), dict(type='SSIMMetric'), dict(type='STLPIPSMetric', net='vgg'))
]
val_evaluator = dict(metrics=metrics)
test_evaluator = dict(metrics=metrics)

train_cfg = dict(max_iters=1000, val_interval=500)
optim_wrapper = dict(
    generator=dict(type='BF16OptimWrapper', optimizer=dict(lr=5e-4), paramwise_cfg=_base_.slow_codes),
    discriminator=dict(type='BF16OptimWrapper', optimizer=dict(lr=4e-4)))
param_scheduler = dict(T_max=1000, end=1000)
default_hooks = dict(checkpoint=dict(interval=500))
# Images next to each other are one emoji's variants.
custom_hooks = [dict(type='PictureHook', compare=list(range(0, 369, 45)), references=['mean'])]
