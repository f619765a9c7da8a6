"""GAN inversion: a bank is searched for the picture that would give the input (paper section 2; PULSE in its tables).

`spaces` has where codes of a bank are searched, `tasks` what makes an input of a picture, `search` the optimisation,
`restorer` all three of a config, `folder` pictures in, pictures and a report out, `scores` the config's metrics.
"""

from glean_plus.analysis.inversion.errors import InversionError
from glean_plus.analysis.inversion.folder import Report, invert_folder
from glean_plus.analysis.inversion.restorer import Inverter
from glean_plus.analysis.inversion.search import Found, Settings, search
from glean_plus.analysis.inversion.spaces import ClassSpace, Space, StyleSpace, space_of
from glean_plus.analysis.inversion.tasks import Colorization, SuperResolution, Task

__all__ = [
    'ClassSpace', 'Colorization', 'Found', 'InversionError', 'Inverter', 'Report', 'Settings', 'Space', 'StyleSpace',
    'SuperResolution', 'Task', 'invert_folder', 'search', 'space_of',
]  # fmt: skip
