"""Values of options that Python and the command line share; cheap to import, as the help lists them."""

from __future__ import annotations

DEFAULT_MODEL = 'lightglean_photo_blind_4x'  # restores where nobody names a model
PRECISIONS = ('fp32', 'bf16', 'fp16')
SPEEDS = ('exact', 'folded', 'compiled', 'openvino', 'auto')
DRAWS = 8  # of the noise maps, by which a report judges a result
EXPORTS = ('.onnx', '.pt2', '.ts')
OPSET = 17  # of ONNX
OPSETS = range(13, 18)  # from the first that has all operations to the last that PyTorch 2.1 writes
