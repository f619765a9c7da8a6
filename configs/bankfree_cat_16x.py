# glean_cat_16x.py without its bank, to see what the bank adds. The decoder is wider, so that it computes as much:
# 159.8 G multiply-adds, GLEAN 160.5 G. It trains 78.6 M parameters and GLEAN 141.8 M, 84.7 M of which (the encoder's
# further stages, codes and fusions) only steer the bank, at 16 px and below, where they cost little.
_base_ = './glean_cat_16x.py'

model = dict(
    generator=dict(
        _delete_=True,
        type='BankFreeGLEAN',
        in_size=_base_.in_size,
        out_size=_base_.out_size,
        decoder=dict(type='GLEANDecoder', width_ratio=1.72)))
