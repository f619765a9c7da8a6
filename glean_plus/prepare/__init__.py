"""Data sets as they are downloaded -> folders that the configs read.

A reader (`readers/`) lists the pictures of one set in its own layout; each picture is decoded and checked (`decode`),
cut to the bank's aspect and resized (`fit`), shrunk and saved (`pictures`). `prepare` does so for a whole set, in
several processes (`pool`), and writes the lists of what there is (`meta`). `sets` has what each set of the paper's
Table 2 becomes, `settings` what may be asked otherwise.
"""

from glean_plus.prepare.items import DataError, Item, Listing, Problem
from glean_plus.prepare.run import Report, check, prepare
from glean_plus.prepare.sets import SETS, DataSet
from glean_plus.prepare.settings import Settings, SettingsError

__all__ = [
    'SETS',
    'DataError',
    'DataSet',
    'Item',
    'Listing',
    'Problem',
    'Report',
    'Settings',
    'SettingsError',
    'check',
    'prepare',
]
