from glean_plus.weights.cards import Card, read_card
from glean_plus.weights.catalogue import CATALOGUE, draws_bgr
from glean_plus.weights.errors import WeightsError
from glean_plus.weights.files import (
    local_copy,
    read_state_dict,
    select_prefix,
    write_safetensors,
    write_with_card,
)
from glean_plus.weights.formats import Imported, import_weights, read_pretrained
from glean_plus.weights.strict import load_strict

__all__ = [
    'CATALOGUE', 'Card', 'Imported', 'WeightsError', 'draws_bgr', 'import_weights', 'load_strict', 'local_copy',
    'read_card', 'read_pretrained', 'read_state_dict', 'select_prefix', 'write_safetensors', 'write_with_card',
]  # fmt: skip
