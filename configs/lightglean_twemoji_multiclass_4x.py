_base_ = './glean_twemoji_multiclass_4x.py'

model = dict(
    generator=dict(bank=dict(start_res=16), decoder=dict(width_ratio=0.25, last_channels=None)))
# Learned codes are few numbers, not a layer's product: they need no lower rate.
optim_wrapper = dict(generator=dict(optimizer=dict(lr=1e-3), paramwise_cfg=dict(_delete_=True)))
