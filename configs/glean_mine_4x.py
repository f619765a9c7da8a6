# Images of your own, 4x: 32 -> 128, on the bank of stylegan2_mine_128px.py: docs/training/own-images.md.
_base_ = './_base_/glean.py'

in_size, out_size = 32, 128
checkpoint = 'work_dirs/stylegan2_mine_128px/iter_100000.pth'
channels = {4: 256, 8: 256, 16: 256, 32: 256, 64: 128, 128: 64}

model = dict(
    generator=dict(
        in_size=in_size,
        bank=dict(
            out_size=out_size,
            style_channels=256,
            channels=channels,
            pretrained=dict(checkpoint=checkpoint, prefix='generator_ema.module')),
        encoder=dict(num_rrdbs=10)),
    discriminator=dict(
        in_size=out_size, channels=channels, pretrained=dict(checkpoint=checkpoint, prefix='discriminator')))

train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        metainfo=dict(dataset_type='mine', task_name='sisr'),
        data_root='data/mine_train',
        data_prefix=dict(img='BIx4_down'),
        ann_file='meta_info_GT.txt'))
val_dataloader = dict(
    dataset=dict(
        metainfo=dict(dataset_type='mine', task_name='sisr'),
        data_root='data/mine_test',
        data_prefix=dict(img='BIx4_down'),
        ann_file='meta_info_GT.txt'))
test_dataloader = val_dataloader

train_cfg = dict(max_iters=100_000)
param_scheduler = dict(T_max=100_000, end=100_000)
