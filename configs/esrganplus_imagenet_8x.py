# The baseline of glean_imagenet_8x.py: the ESRGAN+ of faces, with GLEAN's losses, discriminator and data.
_base_ = './glean_imagenet_8x.py'

model = dict(
    generator=dict(
        _delete_=True,
        type='ESRGANPlus',
        in_size=_base_.model.generator.in_size,
        out_size=_base_.model.generator.bank.out_size))
