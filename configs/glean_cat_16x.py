# Cats: LSUN -> CAT, 16x: 16 -> 256.
_base_ = './_base_/glean.py'

in_size, out_size = 16, 256
checkpoint = (
    'https://download.openmmlab.com/mmediting/stylegan2/'
    'official_weights/stylegan2-cat-config-f-official_20210327_172444-15bc485b.pth')

model = dict(
    generator=dict(
        in_size=in_size,
        bank=dict(out_size=out_size, pretrained=dict(checkpoint=checkpoint, prefix='generator_ema'))),
    discriminator=dict(in_size=out_size, pretrained=dict(checkpoint=checkpoint, prefix='discriminator')))

train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        metainfo=dict(dataset_type='cat', task_name='sisr'),
        data_root='data/cat_train',
        data_prefix=dict(img='BIx16_down'),
        ann_file='meta_info_LSUNcat_GT.txt'))
val_dataloader = dict(
    dataset=dict(
        metainfo=dict(dataset_type='cat', task_name='sisr'),
        data_root='data/cat_test',
        data_prefix=dict(img='BIx16_down'),
        ann_file='meta_info_Cat100_GT.txt'))
test_dataloader = val_dataloader
