"""A loss that holds the result to its input."""

from __future__ import annotations

from torch import Tensor, nn

from glean_plus.losses.perceptual import CRITERIA, check_criterion
from glean_plus.registry import MODELS
from glean_plus.utils.imresize import matlab_resize


@MODELS.register_module()
class LRConsistencyLoss(nn.Module):
    """Distance between the input and the prediction brought to its size by MATLAB's bicubic.

    For super-resolution from bicubic inputs alone: a blurred or noisy input is not what the result should return to.

    Args:
        criterion: ``l1`` or ``mse``.
        loss_weight: Factor.

    Raises:
        ValueError: On another criterion.
    """

    # The trainer hands the input over as third argument.
    wants_input = True

    def __init__(self, criterion: str = 'l1', loss_weight: float = 1.0) -> None:
        super().__init__()
        check_criterion(criterion)
        self.criterion = CRITERIA[criterion]
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, gt: Tensor, lq: Tensor) -> Tensor:
        """Batches (N, C, H, W), (N, C, H, W) and (N, C, h, w) of one value range -> scalar; ``gt`` is not used."""
        return self.loss_weight * self.criterion(matlab_resize(pred, (lq.shape[-2], lq.shape[-1])), lq.float())
