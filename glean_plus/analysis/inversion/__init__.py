"""GAN inversion: a bank is searched for the image that would give the input (paper section 2; PULSE in its tables).

`tasks` has what makes an input of an image, `search` the optimisation, `restorer` both for the bank of a config,
`folder` images in, images and a report out, `scores` the config's metrics.
"""

from glean_plus.utils.lazy import exports

__getattr__, __all__ = exports(__name__, {
    'folder': 'Report invert_folder',
    'restorer': 'Inverter space_of',
    'search': 'Found',
    'settings': 'InversionError Settings',
    'tasks': 'Colorization SuperResolution Task',
})  # fmt: skip
