"""GAN inversion: a bank is searched for the image that would give the input (paper section 2; PULSE in its tables).

`spaces` has where codes of a bank are searched, `tasks` what makes an input of an image, `search` the optimisation,
`restorer` all three of a config, `folder` images in, images and a report out, `scores` the config's metrics.
"""

from glean_plus.utils.lazy import exports

__getattr__, __all__ = exports(__name__, {
    'errors': 'InversionError',
    'folder': 'Report invert_folder',
    'restorer': 'Inverter',
    'search': 'Found',
    'settings': 'Settings',
    'spaces': 'ClassSpace Space StyleSpace space_of',
    'tasks': 'Colorization SuperResolution Task',
})  # fmt: skip
