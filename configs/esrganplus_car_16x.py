# The baseline of glean_car_16x.py: the same ESRGAN+ as for faces, losses, discriminator and data GLEAN's; 56.1 G
# multiply-adds where GLEAN computes 230.9 G.
_base_ = './glean_car_16x.py'

model = dict(
    generator=dict(_delete_=True, type='ESRGANPlus', in_size=_base_.in_size, out_size=_base_.out_size))
