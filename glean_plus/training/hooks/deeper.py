"""Starting from a model whose encoder has fewer blocks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import CheckpointLoader
from torch import Tensor

from glean_plus.models.blocks import RESIDUAL_SCALE
from glean_plus.registry import HOOKS
from glean_plus.training.errors import TrainingError

# The first stage of the encoder: a convolution, RRDBs, and a convolution of their result.
TRUNK = re.compile(r'(?P<trunk>.*encoder\.stages\.0\.0\.)body\.(?P<block>\d+)\.(?P<rest>.*)')


def deepened(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a model with fewer RRDBs as those of a deeper one that computes the same.

    Each block that is added starts as a multiple of the identity, its last convolutions being zero, and the convolution
    after all of them undoes the factor (after Net2DeeperNet: Chen et al., ICLR 2016, section 2.2).

    Args:
        state: Of the model with fewer blocks.
        wanted: Of the deeper model as it was built: the other weights of the added blocks are taken from it.

    Returns:
        State dict of the deeper model. Keys that differ for another reason stay as they are in ``state``.
    """
    result = dict(state)
    added: dict[str, set[int]] = {}
    for key, value in wanted.items():
        if (match := TRUNK.fullmatch(key)) and key not in state:
            added.setdefault(match['trunk'], set()).add(int(match['block']))
            ends_block = match['rest'].split('.')[1] == 'conv5'
            result[key] = value.new_zeros(value.shape) if ends_block else value.detach().clone()
    for trunk, blocks in added.items():
        key = f'{trunk}conv_body.weight'
        if key in result:
            result[key] = result[key] / (1 + RESIDUAL_SCALE) ** len(blocks)
    return result


@HOOKS.register_module()
class DeeperEncoderHook(Hook):
    """Starts a training from a checkpoint of the same model with fewer RRDBs; see :func:`deepened`.

    A training that is resumed continues from its own checkpoint.

    Args:
        checkpoint: Of a training, as for ``load_from``; None, and the training starts as it would without this hook.
    """

    def __init__(self, checkpoint: str | None = None) -> None:
        self.checkpoint = checkpoint

    def before_train(self, runner: Any) -> None:
        """Load the weights.

        Raises:
            TrainingError: If the checkpoint is not of this model with fewer blocks.
        """
        if self.checkpoint is None or runner.iter:
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        loaded = CheckpointLoader.load_checkpoint(self.checkpoint, map_location='cpu')
        wanted = model.state_dict()
        state = deepened(loaded.get('state_dict', loaded), wanted)
        wrong = [key for key in {**wanted, **state}
                 if key not in wanted or key not in state or wanted[key].shape != state[key].shape]  # fmt: skip
        if wrong:
            raise TrainingError(
                f'{self.checkpoint} is not this model with fewer RRDBs: {len(wrong)} weights differ in name or shape, '
                f'the first is {wrong[0]}. Give the checkpoint of a training whose config differs in '
                'model.generator.encoder.num_rrdbs alone.'
            )
        model.load_state_dict(state)
        runner.logger.info(f'All weights of {self.checkpoint}; the RRDBs that it lacks start as the identity.')
