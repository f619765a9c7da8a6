# Blind restoration of faces (section 5.5): FFHQ -> LFW "A" and CelebA, to 512 px.
#
# Ours, where the paper is silent: the degraded image, 64 to 512 px, is resized to 128 px. At the median r of 4.5 it
# has 114 px a side, and GLEAN's input must be smaller than its output. The bank is GFPGAN's StyleGAN2 of FFHQ, 512 px,
# in BasicSR's form (MMagic has published none of this size): put the file there, from
# https://github.com/TencentARC/GFPGAN/releases/tag/v0.1.0. The discriminator starts from nothing.
_base_ = ['./_base_/glean.py', './_base_/blind.py']

in_size, out_size = 128, 512
checkpoint = 'weights/StyleGAN2_512_Cmul1_FFHQ_B12G4_scratch_800k.pth'

model = dict(
    generator=dict(
        in_size=in_size,
        bank=dict(out_size=out_size, channel_multiplier=1, pretrained=dict(checkpoint=checkpoint))),
    discriminator=dict(in_size=out_size, channel_multiplier=1))

# Eq. 11, in its order. `eq11 + eq11` is a second-order degradation (narrow the limits then);
# `[dict(type='Shuffled', transforms=eq11[:3]), eq11[3]]` shuffles what comes before JPEG.
eq11 = [
    dict(type='BlindBlur', limits=(0.2, 10)),
    dict(type='BlindDownsample', limits=(1, 8)),
    dict(type='BlindNoise', limits=(0, 25)),
    dict(type='BlindJPEG', limits=(5, 50)),
]
# Sampled each time an image is seen, and the same for any number of workers.
degrade_anew = dict(type='SeededTransforms', seed=0, transforms=[_base_.flip, _base_.copy_gt] + eq11)
degrade_alike = dict(type='SeededTransforms', seed=0, fixed=True, transforms=[_base_.copy_gt] + eq11)
gt_size = dict(type='SquareResize', key='gt', size=out_size)
img_size = dict(type='SquareResize', key='img', size=in_size)

train_dataloader = dict(
    batch_size=8,
    sampler=dict(_delete_=True, type='NumberedSampler', shuffle=True),
    dataset=dict(
        metainfo=dict(dataset_type='ffhq', task_name='blind'),
        data_root='data/ffhq',
        data_prefix=dict(gt='images'),
        ann_file='meta_info_FFHQ_GT.txt',
        pipeline=[_base_.load_gt, gt_size, degrade_anew, img_size, _base_.pack]))
val_dataloader = dict(
    dataset=dict(
        metainfo=dict(dataset_type='celeba-hq', task_name='blind'),
        data_root='data/CelebA-HQ',
        ann_file='meta_info_CelebAHQ_val100_GT.txt',
        pipeline=[_base_.load_gt, gt_size, degrade_alike, img_size, _base_.pack]))

# Real photographs: no ground truth, any size, in folders of any depth.
real = dict(
    type='PictureDataset',
    data_prefix=dict(img=''),
    recursive=True,
    test_mode=True,
    pipeline=[_base_.load_img, img_size, _base_.pack])
loader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False))
test_dataloader = [
    dict(dataset=dict(data_root='data/LFW_a', **real), **loader),
    dict(dataset=dict(data_root='data/CelebA_500', **real), **loader),
]
# Table 7: naturalness, likeness to FFHQ (ours: the paper does not say to what), and whether it is the input's face.
# FID wants FFHQ's statistics at the size of the results, made once by the package pytorch-fid, of what
# `prepare_data ffhq` with `--size 512` writes: `python -m pytorch_fid --save-stats IMAGES data/ffhq_512px_fid.npz`.
naturalness = dict(type='NIQEMetric')
likeness = dict(type='FIDMetric', reference='data/ffhq_512px_fid.npz')
identity = dict(type='IdentitySimilarity', gt_key='input')
test_evaluator = [
    dict(type='Evaluator', metrics=[dict(metric, prefix=photos) for metric in (naturalness, likeness, identity)])
    for photos in ('LFW_a', 'CelebA')
]
