"""Learned perceptual distances: shift-tolerant LPIPS from weights that a package carries, and the original LPIPS."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glean_plus.weights import WeightsError, read_state_dict
from glean_plus.weights.cache import SharedNetwork, Weights
from glean_plus.weights.strict import load_strict


class _Blur(nn.Module):
    """Reflect by two, filter with (1, 2, 1), keep every other sample."""

    filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer('filt', torch.zeros(channels, 1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        # Stride by slicing: the gradient of a strided depthwise convolution is slow in bfloat16 on CPUs.
        return F.conv2d(F.pad(x, (2, 2, 2, 2), mode='reflect'), self.filt, groups=x.shape[1])[:, :, ::2, ::2]


def _conv(in_channels: int, out_channels: int, kernel: int = 3, padding: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(in_channels, out_channels, kernel, padding=padding), nn.ReLU()]


def _pool(channels: int, kernel: int) -> list[nn.Module]:
    return [nn.MaxPool2d(kernel, stride=1), _Blur(channels)]


# The trunks, slice by slice; a feature is taken behind each slice.
def _alex() -> list[list[nn.Module]]:
    return [
        [nn.Conv2d(3, 64, 11, padding=2), _Blur(64), nn.ReLU()],
        [*_pool(64, 3), *_conv(64, 192, 5, 2)],
        [*_pool(192, 3), *_conv(192, 384)],
        _conv(384, 256),
        _conv(256, 256),
    ]


def _vgg() -> list[list[nn.Module]]:
    return [
        [*_conv(3, 64), *_conv(64, 64)],
        [*_pool(64, 2), *_conv(64, 128), *_conv(128, 128)],
        [*_pool(128, 2), *_conv(128, 256), *_conv(256, 256), *_conv(256, 256)],
        [*_pool(256, 2), *_conv(256, 512), *_conv(512, 512), *_conv(512, 512)],
        [*_pool(512, 2), *_conv(512, 512), *_conv(512, 512), *_conv(512, 512)],
    ]


_TRUNKS = {'alex': _alex, 'vgg': _vgg}
# Pixels that a side must have for the filters of each.
STLPIPS_SIDES = {'alex': 21, 'vgg': 18}
# Pixels of images whose features are kept, at most about 120 MB.
KEPT_PIXELS = 512**2


class _Trunk(nn.Module):
    """Slices named and numbered as in the published state dict: slice1 ... slice5, modules counted through."""

    def __init__(self, slices: list[list[nn.Module]]) -> None:
        super().__init__()
        index = 0
        for number, modules in enumerate(slices, start=1):
            part = nn.Sequential()
            for module in modules:
                part.add_module(str(index), module)
                index += 1
            self.add_module(f'slice{number}', part)
        self.num_slices = len(slices)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for number in range(1, self.num_slices + 1):
            x = getattr(self, f'slice{number}')(x)
            features.append(x)
        return features


class _Head(nn.Module):
    """Weights of a slice's channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # Number 0 is a dropout in training.
        self.model = nn.Sequential(nn.Identity(), nn.Conv2d(channels, 1, 1, bias=False))


class _Scaling(nn.Module):
    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('shift', torch.zeros(1, 3, 1, 1))
        self.register_buffer('scale', torch.ones(1, 3, 1, 1))


def stlpips_file(net: str) -> Path:
    """The weights inside the package ``stlpips-pytorch``, which is found but not imported.

    Raises:
        WeightsError: If the package is not installed.
    """
    spec = importlib.util.find_spec('stlpips_pytorch')
    if spec is None or spec.origin is None:
        raise WeightsError(
            'ST-LPIPS takes its weights from the package stlpips-pytorch, which is not installed: '
            'pip install --no-deps stlpips-pytorch==0.0.2'
        )
    return Path(spec.origin).parent / 'weights' / 'vST0.0' / f'{net}_shift_tolerant.pth'


class STLPIPS(nn.Module):
    """Shift-tolerant LPIPS (Ghildyal and Liu, ECCV 2022), trunk and heads from ``stlpips-pytorch``; frozen.

    Not LPIPS: its numbers are comparable only with themselves.

    Args:
        net: ``alex`` or ``vgg``.
    """

    def __init__(self, net: str = 'alex') -> None:
        super().__init__()
        _check_net(net, _TRUNKS)
        self.scaling_layer = _Scaling()
        slices = _TRUNKS[net]()
        widths = [[module for module in part if isinstance(module, nn.Conv2d)][-1].out_channels for part in slices]
        self.net = _Trunk(slices)
        for index, width in enumerate(widths):
            self.add_module(f'lin{index}', _Head(width))
        path = stlpips_file(net)
        load_strict(self, read_state_dict(path), str(path.name), f'ST-LPIPS ({net})')
        self.requires_grad_(False).eval()
        self._last: tuple[Tensor, list[Tensor]] | None = None

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Two batches (N, 3, H, W), RGB, -1 to 1 -> distances (N,), 0 for equal images.

        In a test, several images are compared with one truth after the other: give it as ``y``, whose features are
        kept for the next call.
        """
        total = x.new_zeros(len(x))
        for index, (a, b) in enumerate(zip(self.features(x), self._features_of_truth(y))):
            difference = (_unit(a) - _unit(b)).square()
            weights = getattr(self, f'lin{index}').model[1]
            total = total + weights(difference).mean(dim=(1, 2, 3))
        return total

    def features(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W), RGB, -1 to 1 -> the trunk's, finest first."""
        return self.net((x - self.scaling_layer.shift) / self.scaling_layer.scale)

    def _features_of_truth(self, y: Tensor) -> list[Tensor]:
        if torch.is_grad_enabled() or y.shape[0] * y.shape[2] * y.shape[3] > KEPT_PIXELS:
            return self.features(y)
        if self._last is None or self._last[0].device != y.device or not torch.equal(self._last[0], y):
            self._last = y.clone(), self.features(y)
        return self._last[1]


def _unit(x: Tensor) -> Tensor:
    """Each pixel's features scaled to length 1."""
    return x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)


def stlpips(net: str = 'alex') -> SharedNetwork:
    """A shared :class:`STLPIPS`."""
    _check_net(net, _TRUNKS)
    return SharedNetwork(STLPIPS, net)


class STLPIPSFeatures(nn.Module):
    """The last features of ST-LPIPS' trunk, averaged over the image, to compare sets of images by.

    Each pixel's features are scaled to one length first, as in the distance that the trunk is of. The length is
    the root of their number: x.y / D in KID's kernel, (x.y / D + 1)^3, is then a mean cosine, of the size of the 1.
    Unscaled, it is about 120 with ``vgg`` and 6e-5 with ``alex``.

    Args:
        net: ``alex`` (256 features) or ``vgg`` (512).
    """

    def __init__(self, net: str) -> None:
        super().__init__()
        self.network = STLPIPS(net)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W), RGB, -1 to 1 -> (N, features), 0 or more; not resized."""
        features = _unit(self.network.features(x)[-1])
        return features.mean(dim=(2, 3)) * features.shape[1] ** 0.5


def stlpips_features(net: str) -> SharedNetwork:
    """A shared :class:`STLPIPSFeatures`."""
    _check_net(net, _TRUNKS)
    return SharedNetwork(STLPIPSFeatures, net)


# LPIPS' trunks, by the names that torchvision has for them.
LPIPS_TRUNKS = {'alex': 'alexnet', 'vgg': 'vgg16', 'squeeze': 'squeezenet1_1'}
LPIPS_SIDES = {'alex': 31, 'vgg': 16, 'squeeze': 17}


def _check_net(net: str, known: Collection[str]) -> None:
    if net not in known:
        raise ValueError(f'net must be one of {sorted(known)}, but is {net!r}.')


def _lpips(net: str, weights: Weights) -> nn.Module:
    import lpips

    # Its own way to the trunk is torchvision's download, which knows neither our cache nor our errors.
    trunk = read_state_dict(weights, 'features')
    network = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    # Its keys have the slice before torchvision's number: slice2.3.weight is features.3.weight.
    names = {key: key.split('.', 1)[1] for key in network.net.state_dict()}
    state = {key: trunk[name] for key, name in names.items() if name in trunk}
    load_strict(network.net, state, str(weights), f"LPIPS' trunk ({net})")
    return network


def lpips(net: str = 'alex', weights: Weights | None = None) -> SharedNetwork:
    """The original LPIPS (Zhang et al., CVPR 2018), version 0.1, of the package ``lpips``, which carries its heads.

    The network takes two batches (N, 3, H, W), RGB, -1 to 1, and gives distances (N, 1, 1, 1).

    Args:
        net: Trunk: ``alex`` (what is usually reported), ``vgg`` or ``squeeze``.
        weights: State dict of torchvision's ``alexnet``, ``vgg16`` or ``squeezenet1_1``; None takes the published one,
            a download of 233 MB, 528 MB or 5 MB.

    Raises:
        ValueError: On another trunk. Its weights are asked for when the network is.
    """
    _check_net(net, LPIPS_TRUNKS)
    if weights is None:
        from torchvision.models import get_model_weights

        weights = get_model_weights(LPIPS_TRUNKS[net]).IMAGENET1K_V1.url
    return SharedNetwork(_lpips, net, weights=weights)
