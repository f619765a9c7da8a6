# Bedrooms: LSUN train -> validate, 16x: 16 -> 256.
# No StyleGAN2 of bedrooms was published with MMagic: put your own here, in the form of its StyleGANv2Generator.
_base_ = './_base_/glean.py'

in_size, out_size = 16, 256
checkpoint = 'weights/stylegan2_bedroom_256px.pth'

model = dict(
    generator=dict(
        in_size=in_size,
        bank=dict(out_size=out_size, pretrained=dict(checkpoint=checkpoint, prefix='generator_ema'))),
    discriminator=dict(in_size=out_size, pretrained=dict(checkpoint=checkpoint, prefix='discriminator')))

train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        metainfo=dict(dataset_type='bedroom', task_name='sisr'),
        data_root='data/bedroom_train',
        data_prefix=dict(img='BIx16_down'),
        ann_file='meta_info_LSUNbedroom_GT.txt'))
val_dataloader = dict(
    dataset=dict(
        metainfo=dict(dataset_type='bedroom', task_name='sisr'),
        data_root='data/bedroom_test',
        data_prefix=dict(img='BIx16_down'),
        ann_file='meta_info_LSUNbedroom_val100_GT.txt'))
test_dataloader = val_dataloader
