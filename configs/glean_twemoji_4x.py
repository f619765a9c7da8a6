# Twemoji's people, 4x: 16 -> 64, on the small bank that was trained here. Everything is small: 2 RRDBs, 128 channels at
# most, 16,000 images seen, and the perceptual loss that needs no download. In so short a training the paper's weight
# of the GAN loss, 1e-2, would drown the pixels: the discriminator comes from the bank's training and is far ahead.
_base_ = './_base_/stlpips.py'

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
        encoder=dict(num_rrdbs=2)),
    discriminator=dict(
        in_size=out_size,
        channels={4: 128, 8: 128, 16: 96, 32: 48, 64: 16},
        pretrained=dict(checkpoint=checkpoint, prefix='discriminator')),
    gan_loss=dict(loss_weight=1e-3),
    ema=dict(decay=0.99),
    train_cfg=dict(channels_last=True))

train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    dataset=dict(
        metainfo=dict(dataset_type='twemoji', task_name='sisr'),
        data_root='data/twemoji',
        data_prefix=dict(img='BIx4_down'),
        ann_file='meta_info_Twemoji_people_train.txt'))
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        metainfo=dict(dataset_type='twemoji', task_name='sisr'),
        data_root='data/twemoji',
        data_prefix=dict(img='BIx4_down'),
        ann_file='meta_info_Twemoji_people_test.txt'))
test_dataloader = val_dataloader

train_cfg = dict(max_iters=1000, val_interval=500)
optim_wrapper = dict(
    generator=dict(type='BF16OptimWrapper', optimizer=dict(lr=1e-3)),
    discriminator=dict(type='BF16OptimWrapper', optimizer=dict(lr=4e-4)))
param_scheduler = dict(T_max=1000, end=1000)
default_hooks = dict(checkpoint=dict(interval=500))
# The people are sorted: images next to each other are one gesture in several skins.
custom_hooks = [dict(type='PictureHook', compare=list(range(0, 235, 30)))]
