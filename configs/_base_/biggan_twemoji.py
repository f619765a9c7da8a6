# The architecture of the small class-conditional bank, for the config that trains it and those that use it.
architecture = dict(
    out_size=64,
    num_classes=9,
    noise_size=100,
    shared_dim=32,
    channels={4: 128, 8: 128, 16: 96, 32: 48, 64: 32},
    attention=[32])
critic_widths = [16, 32, 64, 128, 256]

# A BigGAN's layers multiply by what a code asks for and nothing normalises it, as StyleGAN2's demodulation does: at the
# other parts' rate, a GLEAN's codes ran away after 200 iterations.
slow_codes = dict(custom_keys={'codes': dict(lr_mult=0.1)})
