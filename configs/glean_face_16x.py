# Faces: FFHQ -> CelebA-HQ, 16x: 64 -> 1024.
_base_ = './_base_/glean.py'

in_size, out_size = 64, 1024
checkpoint = (
    'https://download.openmmlab.com/mmediting/stylegan2/'
    'official_weights/stylegan2-ffhq-config-f-official_20210327_171224-bce9310c.pth')

model = dict(
    generator=dict(
        in_size=in_size,
        bank=dict(out_size=out_size, pretrained=dict(checkpoint=checkpoint, prefix='generator_ema'))),
    discriminator=dict(in_size=out_size, pretrained=dict(checkpoint=checkpoint, prefix='discriminator')))

train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        metainfo=dict(dataset_type='ffhq', task_name='sisr'),
        data_root='data/ffhq',
        data_prefix=dict(img='BIx16_down', gt='images'),
        ann_file='meta_info_FFHQ_GT.txt'))
val_dataloader = dict(
    dataset=dict(
        metainfo=dict(dataset_type='celeba-hq', task_name='sisr'),
        data_root='data/CelebA-HQ',
        data_prefix=dict(img='BIx16_down'),
        ann_file='meta_info_CelebAHQ_val100_GT.txt'))
test_dataloader = val_dataloader
