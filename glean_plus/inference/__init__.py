"""Trained models for any image: any size, any kind, from Python or the command line.

`source` finds the config and weights of a name, config or checkpoint, and `network` builds the network on its device.
`tiling` runs an image through it whole, in tiles or fitted, row by row; `channels` splits it into what the network
takes. `read`, `arrays` and `write` are the ways in and out. `consistency` is iterative back-projection; `fidelity`
scales the bank's features. `base` is what all restorers share. `folder` restores folders, with a `manifest`: `jobs` is
the stream of files, `begin` takes the place, `plan` is what is left to do, and the `pipeline` reads ahead and writes
behind. `ray` has folders, and object `stores`, restored on a cluster, in `batches`. `ood` scores results by the
`thresholds` that `analysis.calibration` finds.
"""

from glean_plus.inference.errors import RestoreError
from glean_plus.inference.ood import assess
from glean_plus.inference.restorer import Restorer
from glean_plus.inference.source import available

__all__ = ['RestoreError', 'Restorer', 'assess', 'available']
