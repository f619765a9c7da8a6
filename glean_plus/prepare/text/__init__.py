"""Text as a data set: crops to train on, and held-out pages with their ground truth.

`fonts` reads what fonts can draw and which are one design, `corpus` what documents say, `split` holds out both whole.
`plan` samples what an image shows, as plain data; `draw` renders it, and nothing there is random but the noise of
paper. `run` does so for a whole set.
"""

from glean_plus.utils.lazy import exports

__getattr__, __all__ = exports(__name__, {
    'run': 'TextReport TextSettings prepare_text',
})  # fmt: skip
