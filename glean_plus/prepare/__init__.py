"""Data sets as they are downloaded -> folders that the configs read.

A reader (`readers/`) lists the images of one set in its own layout; each image is decoded and checked (`decode`),
cut to the bank's aspect and resized (`fit`), shrunk and saved (`images`). `run` does so for a whole set, in
several processes (`pool`), and writes the lists of what there is. `sets` has what each set of the paper's
Table 2 becomes, `settings` what may be asked otherwise.
"""

from glean_plus.utils.lazy import exports

__getattr__, __all__ = exports(__name__, {
    'items': 'DataError Item Listing Problem',
    'run': 'Report check prepare',
    'sets': 'SETS DataSet',
    'settings': 'Settings SettingsError',
})  # fmt: skip
