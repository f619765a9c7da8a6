_base_ = './glean_face_blind_1024.py'

model = dict(
    generator=dict(bank=dict(start_res=256), decoder=dict(width_ratio=0.25, last_channels=None)))
