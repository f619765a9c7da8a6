# The bank starts at an eighth of the size, as in lightglean_imagenet_color.py.
_base_ = './glean_twemoji_color.py'

model = dict(generator=dict(bank=dict(start_res=8)))
