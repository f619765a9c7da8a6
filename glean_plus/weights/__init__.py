from glean_plus.weights.files import (
    WeightsError,
    local_copy,
    read_pretrained,
    read_state_dict,
    select_prefix,
    write_safetensors,
)
from glean_plus.weights.strict import load_strict

__all__ = [
    'WeightsError', 'load_strict', 'local_copy', 'read_pretrained', 'read_state_dict', 'select_prefix',
    'write_safetensors',
]  # fmt: skip
