# The baseline of glean_bedroom_16x.py; see esrganplus_cat_16x.py.
_base_ = './glean_bedroom_16x.py'

model = dict(
    generator=dict(_delete_=True, type='ESRGANPlus', in_size=_base_.in_size, out_size=_base_.out_size))
