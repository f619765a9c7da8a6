# The bank starts at an eighth of the size, as in lightglean_imagenet_color.py.
_base_ = './glean_twemoji_color.py'

model = dict(generator=dict(bank=dict(start_res=8)))
# Learned codes are few numbers, not a layer's product: they need no lower rate.
optim_wrapper = dict(generator=dict(optimizer=dict(lr=1e-3), paramwise_cfg=dict(_delete_=True)))
