# Where input and output have one size, Eq. 10 would leave the bank's last block alone. The bank starts at an eighth of
# it, which leaves the blocks that the 8x LightGLEAN to 256 px has; the encoder goes down to 16 px, that block's input.
_base_ = './glean_imagenet_color.py'

model = dict(generator=dict(bank=dict(start_res=32)))
