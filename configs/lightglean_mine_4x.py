_base_ = './glean_mine_4x.py'

model = dict(
    generator=dict(bank=dict(start_res=32), decoder=dict(width_ratio=0.25, last_channels=None)))
