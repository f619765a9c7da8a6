_base_ = './glean_twemoji_multiclass_4x.py'

model = dict(
    generator=dict(bank=dict(start_res=16), decoder=dict(width_ratio=0.25, last_channels=None)))
