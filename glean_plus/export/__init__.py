"""Trained models as files that restore images without this package: ONNX, PyTorch programs, TorchScript.

`graph` is what is written: the network without checks, its constants resolved, with normalisation
and colour around it. `formats` write and open files, `check` holds them to the model, `export` does it all.
"""

from glean_plus.export.check import BOUND, Measured
from glean_plus.export.errors import ExportError
from glean_plus.export.export import Exported, export
from glean_plus.export.formats import FORMATS
from glean_plus.utils.choices import OPSET, OPSETS

__all__ = ['BOUND', 'FORMATS', 'OPSET', 'OPSETS', 'ExportError', 'Exported', 'Measured', 'export']
