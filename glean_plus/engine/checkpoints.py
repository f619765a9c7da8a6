"""safetensors files wherever MMEngine takes a checkpoint."""

from __future__ import annotations

from typing import Any

from mmengine.runner.checkpoint import CheckpointLoader

from glean_plus.weights import read_state_dict


@CheckpointLoader.register_scheme(prefixes=r'.*\.safetensors$')
def load_safetensors(filename: str, map_location: Any = None) -> dict[str, Any]:
    """A checkpoint dict with the file's tensors, on the CPU: MMEngine copies them to the model's device."""
    return dict(state_dict=read_state_dict(filename), meta={})
