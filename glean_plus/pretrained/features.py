"""Inner features of pre-trained classifiers, for perceptual losses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from glean_plus.registry import MODELS
from glean_plus.weights import WeightsError, read_state_dict, select_prefix
from glean_plus.weights.cache import SharedNetwork, Weights
from glean_plus.weights.strict import load_strict, with_batch_counts

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class _Enough(Exception):
    """Every wanted feature is there."""


class Features(nn.Module):
    """What the named modules of a network give, (N, 3, H, W) -> {name: (N, C, h, w)}, in the order of ``names``.

    Args:
        network: It runs until the last of the features is there.
        names: As in ``network.named_modules()``; each must give one tensor.
        what: The network's name, for errors.

    Raises:
        ValueError: If there is no module of such a name.
    """

    def __init__(self, network: nn.Module, names: Sequence[str], what: str) -> None:
        super().__init__()
        modules = dict(network.named_modules())
        if missing := [name for name in names if not name or name not in modules]:
            known = [name for name in modules if name]
            raise ValueError(
                f'layer_weights names the layers {missing}; {what} has {len(known)}, from {known[0]} to {known[-1]}.'
            )
        self.network, self.names = network, tuple(names)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        seen: dict[str, Tensor] = {}

        def keep(name: str) -> Any:
            def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
                seen[name] = output.clone()  # an activation that follows may work in place
                if len(seen) == len(self.names):
                    raise _Enough

            return hook

        modules = dict(self.network.named_modules())
        # Hooks of this call only: a network with hooks that refer to it cannot be copied to another device.
        hooks = [modules[name].register_forward_hook(keep(name)) for name in self.names]
        try:
            self.network(x)
        except _Enough:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return {name: seen[name] for name in self.names}


def _vgg(vgg_type: str, layers: tuple[str, ...], weights: Weights) -> Features:
    import torchvision

    with torch.device('meta'):  # the classifier, most of it, is never needed
        trunk = torchvision.models.get_model(vgg_type, weights=None).features
    if missing := [layer for layer in layers if not (layer.isdecimal() and int(layer) < len(trunk))]:
        names = [int(layer) if layer.lstrip('-').isdecimal() else layer for layer in missing]
        raise ValueError(f'layer_weights names the layers {names}; {vgg_type} has 0 to {len(trunk) - 1}.')
    trunk = trunk.to_empty(device='cpu')
    state = with_batch_counts(trunk, read_state_dict(weights, 'features'))
    load_strict(trunk, state, str(weights), f'{vgg_type}.features')
    return Features(trunk[: max(map(int, layers)) + 1], layers, vgg_type)


def vgg_features(vgg_type: str, layers: Sequence[str], weights: Weights | None = None) -> SharedNetwork:
    """Layers of torchvision's ``vgg.features`` by index; nothing behind the last one is computed.

    Args:
        vgg_type: ``vgg11`` ... ``vgg19``, also with ``_bn``.
        layers: Indices as text, such as ``'21'``.
        weights: A torchvision state dict, whose classifier may be missing; None takes the published one.
    """
    if weights is None:
        import torchvision

        weights = torchvision.models.get_model_weights(vgg_type).IMAGENET1K_V1.url
    return SharedNetwork(_vgg, vgg_type, tuple(layers), weights=weights)


def _backbone(config: str, layers: tuple[str, ...], weights: Weights) -> Features:
    content = json.loads(config)
    network = MODELS.build(content)
    state = read_state_dict(weights)
    if any(key.startswith('backbone.') for key in state):  # a whole classifier, as mmpretrain publishes it
        state = select_prefix(state, 'backbone', str(weights))
    load_strict(network, with_batch_counts(network, state), str(weights), str(content['type']))
    return Features(network, layers, str(content['type']))


def backbone_features(config: Mapping[str, Any], layers: Sequence[str], weights: Weights) -> SharedNetwork:
    """Modules of a registered backbone by name.

    Args:
        config: Such as ``dict(type='mmpretrain.VGG', depth=16)``; mmpretrain is imported only if it is named.
        layers: Names of the backbone's modules, such as ``features.9`` or ``layer3``.
        weights: Its published checkpoint, or a state dict of the backbone alone.

    Raises:
        WeightsError: If the config brings weights of its own, or is no plain data.
    """
    if 'init_cfg' in config:
        raise WeightsError('The weights of a backbone are given as `weights`, not as its init_cfg.')
    try:
        text = json.dumps(config, sort_keys=True)
    except TypeError as error:
        raise WeightsError(f'The config of a backbone must be plain data: {error}.') from error
    return SharedNetwork(_backbone, text, tuple(layers), weights=weights)
