"""Perceptual losses (paper Eq. 6)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torchvision
from mmagic.registry import MODELS
from torch import Tensor, nn

from glean_plus.perceptual import STLPIPS
from glean_plus.weights import read_state_dict
from glean_plus.weights.strict import load_strict

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@MODELS.register_module()
class VGGFeatureLoss(nn.Module):
    """Distance of VGG features, V of Eq. 6: the numbers of MMagic's ``PerceptualLoss``, with weights one can choose.

    Args:
        layer_weights: Weight of each layer of ``vgg.features``, by index; the paper's GLEAN has ``{'21': 1.0}``.
        vgg_type: ``vgg11`` ... ``vgg19`` of torchvision.
        weights: Path or URL of a torchvision state dict; None takes torchvision's published one, a download of 528 MB
            for VGG16.
        norm_img: Bring pictures from [-1, 1] to [0, 1] first. MMagic's GLEAN configs do not, though the normalisation
            that follows means [0, 1]; False is its number, and so ours.
        use_input_norm: Normalise with ImageNet's mean and deviation.
        criterion: ``mse`` (the paper's) or ``l1``.
        loss_weight: alpha_percep of Eq. 8.
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
        super().__init__()
        criteria = {'mse': nn.functional.mse_loss, 'l1': nn.functional.l1_loss}
        if criterion not in criteria:
            raise ValueError(f'criterion must be one of {sorted(criteria)}, but is {criterion!r}.')
        self.layer_weights = {int(layer): weight for layer, weight in layer_weights.items()}
        self.norm_img, self.use_input_norm = norm_img, use_input_norm
        self.criterion = criteria[criterion]
        self.loss_weight = loss_weight
        trunk = self._trunk(vgg_type, weights)
        if missing := [layer for layer in self.layer_weights if not 0 <= layer < len(trunk)]:
            raise ValueError(f'layer_weights names the layers {missing}; {vgg_type} has 0 to {len(trunk) - 1}.')
        self.layers = trunk[: max(self.layer_weights) + 1].requires_grad_(False).eval()
        self.register_buffer('mean', torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    @staticmethod
    def _trunk(vgg_type: str, weights: str | None) -> nn.Sequential:
        network = torchvision.models.get_model(vgg_type, weights=None)
        if weights is None:
            weights = torchvision.models.get_model_weights(vgg_type).IMAGENET1K_V1.url
        state = read_state_dict(weights)
        load_strict(network, state, str(weights), vgg_type)
        return network.features

    def features(self, x: Tensor) -> dict[int, Tensor]:
        """Features of the chosen layers, before the in-place activation behind them changes them."""
        if self.norm_img:
            x = (x + 1) * 0.5
        if self.use_input_norm:
            x = (x - self.mean) / self.std
        chosen = {}
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in self.layer_weights:
                chosen[index] = x.clone()
        return chosen

    def forward(self, pred: Tensor, gt: Tensor) -> Tensor:
        """Two batches (N, 3, H, W), -1 to 1 -> scalar."""
        with torch.no_grad():
            truth = self.features(gt)
        made = self.features(pred)
        losses = [weight * self.criterion(made[layer], truth[layer]) for layer, weight in self.layer_weights.items()]
        return self.loss_weight * torch.stack(losses).sum()


@MODELS.register_module()
class STLPIPSLoss(nn.Module):
    """Shift-tolerant LPIPS as a loss, whose weights come with a package and need no download.

    Args:
        net: ``vgg`` or ``alex``. Train on one and report the other.
        loss_weight: Factor of the mean distance.
    """

    def __init__(self, net: str = 'vgg', loss_weight: float = 1.0) -> None:
        super().__init__()
        self.network = STLPIPS(net)
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, gt: Tensor) -> Tensor:
        """Two batches (N, 3, H, W), RGB, -1 to 1 -> scalar."""
        return self.loss_weight * self.network(pred, gt).mean()
