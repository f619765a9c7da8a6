# The baseline of glean_cat_16x.py: the same ESRGAN+ as for faces, losses, discriminator and data GLEAN's. At this size
# its 683 convolutions, one after another, are 14.0 G multiply-adds where GLEAN computes 160.5 G: for a
# baseline of GLEAN's cost, see bankfree_cat_16x.py.
_base_ = './glean_cat_16x.py'

model = dict(
    generator=dict(_delete_=True, type='ESRGANPlus', in_size=_base_.in_size, out_size=_base_.out_size))
