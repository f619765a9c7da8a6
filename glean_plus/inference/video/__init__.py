"""Videos: every frame restored, the sound kept, atomic writes. Needs PyAV (``pip install av``)."""

from glean_plus.inference.video.clip import Clip, check_crf, frame_count, restore_video
from glean_plus.inference.video.formats import CONTAINERS, CRF, ENDINGS, check_result, is_video, result_ending

__all__ = [
    'CONTAINERS', 'CRF', 'ENDINGS', 'Clip', 'check_crf', 'check_result', 'frame_count', 'is_video', 'restore_video',
    'result_ending',
]  # fmt: skip
