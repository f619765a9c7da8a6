# The baseline of glean_face_16x.py: ESRGAN+ of the paper's Table 5, 224.5 G multiply-adds where GLEAN computes 352.2 G
# (in the paper's accounting 225.0 G and 277.5 G). The rest is GLEAN's: losses, discriminator and its weights, data.
_base_ = './glean_face_16x.py'

model = dict(
    generator=dict(_delete_=True, type='ESRGANPlus', in_size=_base_.in_size, out_size=_base_.out_size))
