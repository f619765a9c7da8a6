"""The faces in a photo: found (`find`, `detectors`), aligned (`align`), restored, and pasted back (`paste`).

What a model for aligned faces makes of them goes into the photo, enlarged by bicubic or by another model
(`background`). :class:`FaceRestorer` does it all, around a :class:`glean_plus.inference.Restorer`.
"""

from glean_plus.inference.faces.align import Alignment, alignment
from glean_plus.inference.faces.detectors import MTCNN, RetinaFace
from glean_plus.inference.faces.find import Detector, Face
from glean_plus.inference.faces.restorer import FaceRestorer

__all__ = ['MTCNN', 'Alignment', 'Detector', 'Face', 'FaceRestorer', 'RetinaFace', 'alignment']
