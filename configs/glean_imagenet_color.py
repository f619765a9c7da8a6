# Colorization of ImageNet, 256 px.
#
# The paper's bank is "BigGAN" by ajbrock's code, of which nothing at 256 px is published: here it is BigGAN-deep. Its
# whole code, class included, is predicted, so that photographs need no label. The discriminator starts from nothing.
_base_ = './_base_/glean_color.py'

size = 256
checkpoint = (
    'https://download.openmmlab.com/mmediting/biggan/'
    'biggan-deep_imagenet1k_256x256_cvt_hugging-face_rgb_20210728_111735-28651569.pth')

model = dict(
    generator=dict(
        in_size=size,
        bank=dict(type='BigGANDeepBank', out_size=size, pretrained=dict(checkpoint=checkpoint))),
    discriminator=dict(type='StyleGAN2BankDiscriminator', in_size=size))

# Nothing to do on what prepare_data has made; photographs of any size are cut to the middle square.
square = dict(type='SquareResize', key='gt', size=size)
train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        metainfo=dict(dataset_type='imagenet', task_name='colorization'),
        data_root='data/imagenet_train',
        ann_file='meta_info_ImageNet_GT.txt',
        pipeline=[_base_.load, square, _base_.flip, _base_.lightness, _base_.pack]))
held_out = dict(
    metainfo=dict(dataset_type='imagenet', task_name='colorization'),
    data_root='data/imagenet_val',
    ann_file='meta_info_ImageNet_val_GT.txt',
    pipeline=[_base_.load, square, _base_.lightness, _base_.pack])
test_dataloader = dict(dataset=held_out)
# 100 of the about 49,000 images, which are sorted by class.
val_dataloader = dict(dataset=dict(**held_out, indices=list(range(0, 48_000, 480))))
