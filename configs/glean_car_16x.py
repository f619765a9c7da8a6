# Cars: LSUN -> Stanford Cars, 16x: 32 -> 512.
_base_ = './_base_/glean.py'

in_size, out_size = 32, 512
checkpoint = (
    'https://download.openmmlab.com/mmediting/stylegan2/'
    'official_weights/stylegan2-car-config-f-official_20210327_172340-8cfe053c.pth')

model = dict(
    generator=dict(
        in_size=in_size,
        bank=dict(out_size=out_size, pretrained=dict(checkpoint=checkpoint, prefix='generator_ema'))),
    discriminator=dict(in_size=out_size, pretrained=dict(checkpoint=checkpoint, prefix='discriminator')))

train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        metainfo=dict(dataset_type='car', task_name='sisr'),
        data_root='data/car_train',
        data_prefix=dict(img='BIx16_down'),
        ann_file='meta_info_LSUNcar_GT.txt'))
val_dataloader = dict(
    dataset=dict(
        metainfo=dict(dataset_type='car', task_name='sisr'),
        data_root='data/car_test',
        data_prefix=dict(img='BIx16_down'),
        ann_file='meta_info_Cars100_GT.txt'))
test_dataloader = val_dataloader
