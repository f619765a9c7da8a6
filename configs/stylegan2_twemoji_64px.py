# Pre-trains the small StyleGAN2 bank on the training split of Twemoji's people, 64 px. Small by intent: it exists so
# that every step of GLEAN can be run and tested on two CPU cores.
_base_ = './_base_/runtime.py'

channels = {4: 128, 8: 128, 16: 128, 32: 64, 64: 32}

model = dict(
    type='StyleGAN2BankTrainer',
    generator=dict(type='StyleGAN2Bank', out_size=64, style_channels=128, num_mlps=4, channels=channels),
    discriminator=dict(
        type='StyleGAN2BankDiscriminator', in_size=64, channels={4: 128, 8: 128, 16: 96, 32: 48, 64: 16}),
    data_preprocessor=dict(type='DataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3),
    ema_config=dict(type='RampUpEMA', ema_kimg=10, ema_rampup=0.05, batch_size=32),
    # R1 with gamma 0.05: loss weight = gamma / 2 * interval. No path length regularisation.
    loss_config=dict(
        r1_loss_weight=0.05 / 2 * 16, r1_interval=16, norm_mode='HWC', g_reg_interval=10**9, g_reg_weight=0),
    augment=['color', 'translation', 'cutout'],
    channels_last=True)

train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='PictureDataset',
        metainfo=dict(dataset_type='twemoji', task_name='unconditional'),
        data_root='data/twemoji',
        data_prefix=dict(gt='GT'),
        ann_file='meta_info_Twemoji_people_train.txt',
        pipeline=[
            dict(type='LoadPicture', key='gt'),
            dict(type='Flip', keys=['gt'], flip_ratio=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ]))

# 16,000 iterations of 32 images: 512,000 seen.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=16_000)
adam = dict(type='BF16OptimWrapper', optimizer=dict(type='Adam', lr=2e-3, betas=(0.0, 0.99)))
optim_wrapper = dict(constructor='MultiOptimWrapperConstructor', generator=adam, discriminator=adam)

default_hooks = dict(checkpoint=dict(interval=1000, max_keep_ckpts=2))
