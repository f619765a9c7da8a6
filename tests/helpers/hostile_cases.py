"""What :mod:`fuzzing` opens: mutations of valid files of every kind, and every way by which one is opened."""

from __future__ import annotations

from fuzzing import Kind
from hostile_commands import make_names, make_overrides, use_names, use_overrides
from hostile_networks import make_network, use_network
from hostile_pictures import make_array, make_picture, pixels, use_array, use_picture
from hostile_texts import make_card, make_config, use_card, use_config
from hostile_weights import make_old, make_pkl, make_pth, make_safetensors, use_weights

KINDS = {
    'safetensors': Kind(make_safetensors, use_weights),
    'pth': Kind(make_pth, use_weights),
    'old pth': Kind(make_old, use_weights),
    'pkl': Kind(make_pkl, use_weights),
    'card': Kind(make_card, use_card),
    'config': Kind(make_config, use_config),
    'network': Kind(make_network, use_network),
    'picture': Kind(make_picture, use_picture, pixels),
    'array': Kind(make_array, use_array),
    'overrides': Kind(make_overrides, use_overrides),
    'names': Kind(make_names, use_names),
}
