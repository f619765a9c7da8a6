_base_ = './glean_photo_4x.py'

model = dict(
    generator=dict(bank=dict(start_res=16), decoder=dict(width_ratio=0.5)))
