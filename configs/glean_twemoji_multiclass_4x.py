# Multi-class super-resolution of Twemoji, every group, 4x: 16 -> 64, on the small BigGAN bank and with the BigGAN
# discriminator that was trained with it, which is told the group. The generator predicts the whole code, group
# included, so that a test needs no classes.
_base_ = './glean_twemoji_4x.py'

num_classes = 9
checkpoint = '{{ fileDirname }}/weights/biggan_twemoji_64px.safetensors'

model = dict(
    generator=dict(
        bank=dict(
            _delete_=True,
            type='BigGANBank',
            out_size=64,
            noise_size=100,
            num_classes=num_classes,
            shared_dim=32,
            channels={4: 128, 8: 128, 16: 96, 32: 48, 64: 32},
            attention=[32],
            embedding=False,
            rgb=False,
            pretrained=dict(checkpoint=checkpoint, prefix='generator_ema'))),
    discriminator=dict(
        _delete_=True,
        type='BigGANBankDiscriminator',
        in_size=64,
        num_classes=num_classes,
        widths=[16, 32, 64, 128, 256],
        pretrained=dict(checkpoint=checkpoint, prefix='discriminator')))

train_dataloader = dict(
    dataset=dict(
        type='LabeledImageDataset',
        num_classes=num_classes,
        ann_file='labels_Twemoji_all_train.txt'))
val_dataloader = dict(dataset=dict(ann_file='meta_info_Twemoji_all_test.txt'))
test_dataloader = val_dataloader

# A BigGAN's layers multiply by what a code asks for and nothing normalises it, as StyleGAN2's demodulation does: at the
# other parts' rate, the codes ran away after 200 iterations.
slow_codes = dict(custom_keys={'codes': dict(lr_mult=0.1)})
optim_wrapper = dict(generator=dict(optimizer=dict(lr=5e-4), paramwise_cfg=slow_codes))
# Pictures next to each other are one emoji's variants.
custom_hooks = [dict(type='PictureHook', compare=list(range(0, 369, 45)))]
