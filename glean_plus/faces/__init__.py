"""The faces in a photo: found (`find`, `detectors`), aligned (`align`), restored, and pasted back (`paste`).

What a model for aligned faces makes of them goes into the photo, enlarged by bicubic or by another model
(`background`). :class:`FaceRestorer` does it all, around a :class:`glean_plus.restore.Restorer`.
"""

from glean_plus.faces.align import Alignment, alignment
from glean_plus.faces.detectors import MTCNN, RetinaFace
from glean_plus.faces.find import Detector, Face
from glean_plus.faces.restorer import FaceRestorer

__all__ = ['MTCNN', 'Alignment', 'Detector', 'Face', 'FaceRestorer', 'RetinaFace', 'alignment']
