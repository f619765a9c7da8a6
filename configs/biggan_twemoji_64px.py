# Pre-trains a small class-conditional BigGAN bank on the training split of all of Twemoji, 64 px; the classes are the
# nine Unicode groups, in the order of tools/prepare_twemoji.py. Small by intent, as the StyleGAN2 bank beside it.
_base_ = ['./_base_/runtime.py', './_base_/biggan_twemoji.py']

model = dict(
    type='BigGANBankTrainer',
    generator=dict(type='BigGANBank', **_base_.architecture),
    discriminator=dict(type='BigGANBankDiscriminator', in_size=64, widths=_base_.critic_widths),
    data_preprocessor=dict(type='DataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3),
    # The statistics of batch norm are averaged with the weights: GLEAN's frozen bank lives on them.
    ema_config=dict(type='RampUpEMA', ema_kimg=10, ema_rampup=0.05, batch_size=32, update_buffers=True),
    augment=['color', 'translation', 'cutout'],
    channels_last=True)

train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='LabeledImageDataset',
        num_classes=_base_.architecture.num_classes,
        data_root='data/twemoji',
        data_prefix=dict(gt='GT'),
        ann_file='labels_Twemoji_all_train.txt',
        pipeline=[
            dict(type='LoadPicture', key='gt'),
            dict(type='Flip', keys=['gt'], flip_ratio=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ]))

# 16,000 iterations of 32 images: 512,000 seen.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=16_000)
# The discriminator learns faster, in place of more steps of it.
adam = dict(type='Adam', betas=(0.0, 0.999), eps=1e-6)
optim_wrapper = dict(
    constructor='MultiOptimWrapperConstructor',
    generator=dict(type='BF16OptimWrapper', optimizer=dict(lr=2e-4, **adam)),
    discriminator=dict(type='BF16OptimWrapper', optimizer=dict(lr=4e-4, **adam)))

default_hooks = dict(checkpoint=dict(interval=1000, max_keep_ckpts=2))
