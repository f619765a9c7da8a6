# The baseline of glean_twemoji_4x.py: ESRGAN+ with as many blocks as make 1.09 G multiply-adds, where GLEAN computes
# 1.09 G. The rest is GLEAN's: losses, discriminator and its weights, data, schedule.
_base_ = './glean_twemoji_4x.py'

model = dict(
    generator=dict(
        _delete_=True,
        type='ESRGANPlus',
        in_size=_base_.model.generator.in_size,
        out_size=_base_.out_size,
        num_blocks=4))
