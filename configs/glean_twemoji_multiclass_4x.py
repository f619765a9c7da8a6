# Multi-class super-resolution of Twemoji, every group, 4x: 16 -> 64, on the small BigGAN bank and with the BigGAN
# discriminator that was trained with it, conditional on the group. The generator predicts the whole code, group
# included, so that a test needs no classes.
_base_ = ['./glean_twemoji_4x.py', './_base_/biggan_twemoji.py']

num_classes = _base_.architecture.num_classes
checkpoint = '{{ fileDirname }}/weights/biggan_twemoji_64px.safetensors'

model = dict(
    generator=dict(
        bank=dict(
            _delete_=True,
            type='BigGANBank',
            **_base_.architecture,
            embedding=False,
            rgb=False,
            pretrained=dict(checkpoint=checkpoint, prefix='generator_ema'))),
    discriminator=dict(
        _delete_=True,
        type='BigGANBankDiscriminator',
        in_size=64,
        num_classes=num_classes,
        widths=_base_.critic_widths,
        pretrained=dict(checkpoint=checkpoint, prefix='discriminator')))

train_dataloader = dict(
    dataset=dict(
        type='LabeledImageDataset',
        num_classes=num_classes,
        ann_file='labels_Twemoji_all_train.txt'))
val_dataloader = dict(dataset=dict(ann_file='meta_info_Twemoji_all_test.txt'))
test_dataloader = val_dataloader

optim_wrapper = dict(generator=dict(optimizer=dict(lr=5e-4), paramwise_cfg=_base_.slow_codes))
# Images next to each other are one emoji's variants.
custom_hooks = [dict(type='PictureHook', compare=list(range(0, 369, 45)))]
