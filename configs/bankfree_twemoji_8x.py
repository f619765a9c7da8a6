# glean_twemoji_8x.py without its bank, to see what the bank adds. The decoder is wider, so that it computes as much:
# 0.81 G multiply-adds, GLEAN 0.81 G. It trains 3.9 M parameters and GLEAN 6.6 M, most of which only steer the bank.
_base_ = './glean_twemoji_8x.py'

model = dict(
    generator=dict(
        _delete_=True,
        type='BankFreeGLEAN',
        in_size=_base_.model.generator.in_size,
        out_size=_base_.out_size,
        channels=_base_.channels,
        encoder=dict(type='GLEANEncoder', num_rrdbs=2),
        decoder=dict(type='GLEANDecoder', width_ratio=1.82)))
