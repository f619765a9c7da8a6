# A StyleGAN2 bank on a folder of your own, 128 px: docs/training/own-images.md. Half as wide as the published ones.
_base_ = './stylegan2_twemoji_64px.py'

out_size = 128
channels = {4: 256, 8: 256, 16: 256, 32: 256, 64: 128, 128: 64}

model = dict(
    generator=dict(out_size=out_size, style_channels=256, num_mlps=8, channels=channels),
    discriminator=dict(in_size=out_size, channels=channels),
    # The larger the image, the stronger: gamma 0.1.
    loss_config=dict(r1_loss_weight=0.1 / 2 * 16))

train_dataloader = dict(
    num_workers=4,
    dataset=dict(metainfo=dict(dataset_type='mine'), data_root='data/mine_train', ann_file='meta_info_GT.txt'))

# 100,000 iterations of 32 images: 3,200,000 seen.
train_cfg = dict(max_iters=100_000)
# All are kept: which bank is the best is seen in its images.
default_hooks = dict(checkpoint=dict(interval=10_000, max_keep_ckpts=-1))
