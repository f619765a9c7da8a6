# GLEAN as in the paper: losses and weights of section 3.4, schedule of section 5.1. A config adds the sizes, the bank's
# weights and the data. LightGLEAN is the same with a bank that starts at the input's resolution and a narrower decoder.
_base_ = './runtime.py'

model = dict(
    type='GLEANRestorer',
    generator=dict(
        type='GLEAN',
        bank=dict(type='StyleGAN2Bank', mapping=False, rgb=False),
        encoder=dict(type='GLEANEncoder'),
        decoder=dict(type='GLEANDecoder')),
    discriminator=dict(type='StyleGAN2BankDiscriminator'),
    pixel_loss=dict(type='MSELoss', loss_weight=1.0, reduction='mean'),
    perceptual_loss=dict(type='VGGFeatureLoss', layer_weights={'21': 1.0}, loss_weight=1e-2),
    gan_loss=dict(type='GANLoss', gan_type='vanilla', loss_weight=1e-2, real_label_val=1.0, fake_label_val=0),
    ema=dict(decay=0.999),
    train_cfg=dict(),
    # With every prediction, the input enlarged by MATLAB's bicubic: the row to beat.
    test_cfg=dict(bicubic=True),
    data_preprocessor=dict(type='DataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3))

train_cfg = dict(type='IterBasedTrainLoop', max_iters=300_000, val_interval=5000)
val_cfg = dict(type='MultiValLoop')
test_cfg = dict(type='MultiTestLoop')

metrics = [
    dict(type='PSNRMetric'),
    dict(type='SSIMMetric'),
    dict(type='PSNRMetric', pred_key='bicubic_img', prefix='bicubic'),
    dict(type='SSIMMetric', pred_key='bicubic_img', prefix='bicubic'),
]
val_evaluator = dict(type='Evaluator', metrics=metrics)
test_evaluator = dict(type='Evaluator', metrics=metrics)

adam = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4, betas=(0.9, 0.99)))
optim_wrapper = dict(constructor='MultiOptimWrapperConstructor', generator=adam, discriminator=adam)
# The end is given: MMEngine would take max_iters, and a run that is prolonged would have followed another curve.
param_scheduler = dict(type='CosineAnnealingLR', by_epoch=False, T_max=300_000, end=300_000, eta_min=1e-7)

train_pipeline = [
    dict(type='LoadPicture', key='img'),
    dict(type='LoadPicture', key='gt'),
    dict(type='Flip', keys=['img', 'gt'], flip_ratio=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadPicture', key='img'),
    dict(type='LoadPicture', key='gt'),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='PictureDataset', data_prefix=dict(gt='GT'), pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='PictureDataset', data_prefix=dict(gt='GT'), pipeline=test_pipeline, test_mode=True))
test_dataloader = val_dataloader

# `mim test` writes the predictions, and an image that compares the first few with input, bicubic and ground truth.
custom_hooks = [dict(type='PictureHook', compare=[0, 1, 2, 3, 4, 5, 6, 7])]
