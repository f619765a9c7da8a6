# Multi-class super-resolution of ImageNet (section 5.3), 4x: 64 -> 256.
#
# The paper's bank is "BigGAN" by ajbrock's code, of which nothing at 256 px is published: here it is BigGAN-deep. Its
# whole code, class included, is predicted, so that photographs need no label. (With generator=dict(given_class=True)
# and bank=dict(embedding=True) the class is given; then every loader needs LabeledImageDataset.) BigGAN's discriminator
# is class-conditional. It starts from nothing: of those at 256 px none is published.
_base_ = './_base_/glean.py'

in_size, out_size = 64, 256
num_classes = 1000
checkpoint = (
    'https://download.openmmlab.com/mmediting/biggan/'
    'biggan-deep_imagenet1k_256x256_cvt_hugging-face_rgb_20210728_111735-28651569.pth')

model = dict(
    generator=dict(
        in_size=in_size,
        bank=dict(
            _delete_=True,
            type='BigGANDeepBank',
            out_size=out_size,
            embedding=False,
            rgb=False,
            pretrained=dict(checkpoint=checkpoint))),
    discriminator=dict(type='BigGANBankDiscriminator', in_size=out_size, num_classes=num_classes))

train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        type='LabeledImageDataset',
        num_classes=num_classes,
        metainfo=dict(dataset_type='imagenet', task_name='sisr'),
        data_root='data/imagenet_train',
        data_prefix=dict(img='BIx4_down'),
        ann_file='labels_ImageNet_GT.txt'))
held_out = dict(
    metainfo=dict(dataset_type='imagenet', task_name='sisr'),
    data_root='data/imagenet_val',
    data_prefix=dict(img='BIx4_down'),
    ann_file='meta_info_ImageNet_val_GT.txt')
test_dataloader = dict(dataset=held_out)
# 100 of the about 49,000 images, which are sorted by class.
val_dataloader = dict(dataset=dict(**held_out, indices=list(range(0, 48_000, 480))))
