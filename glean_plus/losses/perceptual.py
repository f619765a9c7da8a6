"""Perceptual losses (paper Eq. 6): distances of inner features, and learned ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from glean_plus.pretrained.features import IMAGENET_MEAN, IMAGENET_STD, backbone_features, vgg_features
from glean_plus.pretrained.perceptual import lpips, stlpips
from glean_plus.registry import MODELS
from glean_plus.weights.cache import SharedNetwork

CRITERIA = {'mse': nn.functional.mse_loss, 'l1': nn.functional.l1_loss}


def check_criterion(criterion: str) -> None:
    if criterion not in CRITERIA:
        raise ValueError(f'criterion must be one of {sorted(CRITERIA)}, but is {criterion!r}.')


class FeatureLoss(nn.Module):
    """Weighted sum of the distances of a network's features.

    Args:
        network: :class:`glean_plus.pretrained.features.Features`, which is shared and frozen.
        layer_weights: Weight of each of its layers.
        norm_img: Bring images from [-1, 1] to [0, 1] first. MMagic's GLEAN configs do not, though the normalisation
            that follows means [0, 1]; False is its number, and so ours.
        use_input_norm: Normalise with ImageNet's mean and deviation.
        criterion: ``mse`` (the paper's) or ``l1``.
        loss_weight: alpha_percep of Eq. 8.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: SharedNetwork,
        layer_weights: Mapping[str, float],
        norm_img: bool,
        use_input_norm: bool,
        criterion: str,
        loss_weight: float,
    ) -> None:
        super().__init__()
        check_criterion(criterion)
        network.on('cpu')  # What is wrong with its weights shows now, not in the first step.
        self.network = network
        self.layer_weights = dict(layer_weights)
        self.norm_img, self.use_input_norm = norm_img, use_input_norm
        self.criterion = CRITERIA[criterion]
        self.loss_weight = loss_weight
        self.register_buffer('mean', torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """Features of the chosen layers, before the in-place activation behind them changes them."""
        x = x.float()
        if self.norm_img:
            x = (x + 1) * 0.5
        if self.use_input_norm:
            x = (x - self.mean.to(x.device, x.dtype)) / self.std.to(x.device, x.dtype)
        return self.network.on(x.device)(x)

    def forward(self, pred: Tensor, gt: Tensor) -> Tensor:
        """Two batches (N, 3, H, W), RGB, -1 to 1 -> scalar."""
        with torch.no_grad():
            truth = self.features(gt)
        made = self.features(pred)
        losses = [weight * self.criterion(made[layer], truth[layer]) for layer, weight in self.layer_weights.items()]
        return self.loss_weight * torch.stack(losses).sum()


def _layers(layer_weights: Mapping[str, float]) -> dict[str, float]:
    if not layer_weights:
        raise ValueError('layer_weights is empty: name at least one layer.')
    return {str(layer): weight for layer, weight in layer_weights.items()}


@MODELS.register_module()
class VGGFeatureLoss(FeatureLoss):
    """Distance of VGG features, V of Eq. 6: the numbers of MMagic's ``PerceptualLoss``, with weights one can choose.

    Args:
        layer_weights: Weight of each layer of ``vgg.features``, by index; the paper's GLEAN has ``{'21': 1.0}``.
        vgg_type: ``vgg11`` ... ``vgg19`` of torchvision.
        weights: Path or URL of a torchvision state dict; None takes torchvision's published one, a download of 528 MB
            for VGG16.
        norm_img: See :class:`FeatureLoss`, as for all that follow.
        use_input_norm: Normalise with ImageNet's mean and deviation.
        criterion: ``mse`` or ``l1``.
        loss_weight: alpha_percep of Eq. 8.

    Raises:
        ValueError: If there is no such layer or criterion.
        WeightsError: If the weights cannot be had or do not fit.
    """

    def __init__(
        self,
        layer_weights: Mapping[str, float],
        vgg_type: str = 'vgg16',
        weights: str | None = None,
        norm_img: bool = False,
        use_input_norm: bool = True,
        criterion: str = 'mse',
        loss_weight: float = 1.0,
    ) -> None:
        layer_weights = _layers(layer_weights)
        network = vgg_features(vgg_type, tuple(layer_weights), weights)
        super().__init__(network, layer_weights, norm_img, use_input_norm, criterion, loss_weight)


@MODELS.register_module()
class BackboneFeatureLoss(FeatureLoss):
    """The same on any backbone of a registry, mmpretrain's above all, with its published weights.

    mmpretrain's ImageNet classifiers want what :data:`IMAGENET_MEAN` and :data:`IMAGENET_STD` give, images 0 to 1:
    ``norm_img`` is True here.

    Args:
        backbone: Such as ``dict(type='mmpretrain.VGG', depth=16)``.
        weights: Path or URL of the checkpoint, as its model page gives it; a head in it is left out.
        layer_weights: Weight of each module of the backbone, by name, such as ``{'layer3': 1.0}``.
        norm_img: See :class:`FeatureLoss`, as for all that follow.
        use_input_norm: Normalise with ImageNet's mean and deviation.
        criterion: ``mse`` or ``l1``.
        loss_weight: alpha_percep of Eq. 8.

    Raises:
        ValueError: If there is no such layer or criterion.
        WeightsError: If the weights cannot be had or do not fit.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        weights: str,
        layer_weights: Mapping[str, float],
        norm_img: bool = True,
        use_input_norm: bool = True,
        criterion: str = 'mse',
        loss_weight: float = 1.0,
    ) -> None:
        layer_weights = _layers(layer_weights)
        network = backbone_features(backbone, tuple(layer_weights), weights)
        super().__init__(network, layer_weights, norm_img, use_input_norm, criterion, loss_weight)


class _LearnedDistance(nn.Module):
    """Mean of a network's distance between prediction and ground truth."""

    def __init__(self, network: SharedNetwork, loss_weight: float) -> None:
        super().__init__()
        network.on('cpu')
        self.network = network
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, gt: Tensor) -> Tensor:
        """Two batches (N, 3, H, W), RGB, -1 to 1 -> scalar."""
        return self.loss_weight * self.network.on(pred.device)(pred, gt).mean()


@MODELS.register_module()
class STLPIPSLoss(_LearnedDistance):
    """Shift-tolerant LPIPS as a loss, whose weights come with a package and need no download.

    Args:
        net: ``vgg`` or ``alex``. Train on one and report the other.
        loss_weight: Factor of the mean distance.
    """

    def __init__(self, net: str = 'vgg', loss_weight: float = 1.0) -> None:
        super().__init__(stlpips(net), loss_weight)


@MODELS.register_module()
class LPIPSLoss(_LearnedDistance):
    """LPIPS as a loss.

    Args:
        net: ``vgg`` (its authors' advice for training), ``alex`` or ``squeeze``. Train on one and report another.
        weights: Of the trunk, as in :func:`glean_plus.pretrained.perceptual.lpips`; None is a download.
        loss_weight: Factor of the mean distance.
    """

    def __init__(self, net: str = 'vgg', weights: str | None = None, loss_weight: float = 1.0) -> None:
        super().__init__(lpips(net, weights), loss_weight)
