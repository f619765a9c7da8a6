# Blind restoration of faces to 1024 px, on the published bank; inputs of 256 px, for the reason given at 512.
_base_ = './glean_face_blind.py'

in_size, out_size = 256, 1024
checkpoint = (
    'https://download.openmmlab.com/mmediting/stylegan2/'
    'official_weights/stylegan2-ffhq-config-f-official_20210327_171224-bce9310c.pth')

model = dict(
    generator=dict(
        in_size=in_size,
        bank=dict(
            out_size=out_size,
            channel_multiplier=2,
            pretrained=dict(checkpoint=checkpoint, prefix='generator_ema'))),
    discriminator=dict(
        in_size=out_size,
        channel_multiplier=2,
        pretrained=dict(checkpoint=checkpoint, prefix='discriminator')))

gt_size = dict(type='SquareResize', key='gt', size=out_size)
img_size = dict(type='SquareResize', key='img', size=in_size)
train_dataloader = dict(
    dataset=dict(pipeline=[_base_.load_gt, gt_size, _base_.degrade_anew, img_size, _base_.pack]))
val_dataloader = dict(
    dataset=dict(pipeline=[_base_.load_gt, gt_size, _base_.degrade_alike, img_size, _base_.pack]))

real = dict(
    type='PictureDataset',
    data_prefix=dict(img=''),
    recursive=True,
    test_mode=True,
    pipeline=[_base_.load_img, img_size, _base_.pack])
test_dataloader = [
    dict(dataset=dict(data_root='data/LFW_a', **real), **_base_.loader),
    dict(dataset=dict(data_root='data/CelebA_500', **real), **_base_.loader),
]
likeness = dict(type='FIDMetric', reference='data/ffhq_1024px_fid.npz')
test_evaluator = [
    dict(
        type='Evaluator',
        metrics=[dict(metric, prefix=photos) for metric in (_base_.naturalness, likeness, _base_.identity)])
    for photos in ('LFW_a', 'CelebA')
]
