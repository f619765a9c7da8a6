_base_ = './glean_face_blind.py'

model = dict(
    generator=dict(bank=dict(start_res=128), decoder=dict(width_ratio=0.25, last_channels=None)))
