"""Trained models for whatever images there are: any size, any kind, from Python or the command line.

A name, config or checkpoint (`source`) becomes a network on a device (`network`), through which an image goes in one
go, in tiles or fitted (`engine`, `axis`), each channel in its way (`layers`), rows of the result coming as they are
done. `read`, `arrays` and `write` are the ways in and out, `consistency` holds a result to its input, `fidelity` sets
how much; `base` is what all restorers share, `folder` does whole folders, with a `manifest`. `failure` judges results,
by `bounds` that `calibration` makes.
"""

from glean_plus.inference.errors import RestoreError
from glean_plus.inference.ood import assess
from glean_plus.inference.restorer import Restorer
from glean_plus.inference.source import available

__all__ = ['RestoreError', 'Restorer', 'assess', 'available']
