"""The contract that every latent bank keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from glean_plus.weights import read_pretrained


class LatentBank(nn.Module, ABC):
    """A generator whose blocks can be run one resolution at a time, on codes and features from elsewhere.

    GLEAN (paper section 3.2) walks through the blocks with :meth:`step`, fusing encoder features in between; LightGLEAN
    (section 4, Eq. 10) starts the walk at a higher resolution. The same module is a GAN's generator through
    :meth:`forward`, so that it can be pre-trained and sampled.

    Attributes:
        channels: Width of the features at each resolution, keyed by resolution.
        resolutions: The resolutions of the blocks that this instance holds, ascending.
        start_res: The first of them; blocks below it do not exist in this instance.
        out_size: The last of them, the side of the picture.
        code_dims: Length of the latent code of each style layer of the whole bank, first layer first.
        layers: Indices of the style layers that this instance holds.
        pretrained: Where its weights come from, ``dict(checkpoint=path or URL, prefix=...)``, or None.
    """

    channels: Mapping[int, int]
    resolutions: Sequence[int]
    start_res: int
    out_size: int
    code_dims: Sequence[int]
    layers: Sequence[int]
    pretrained: Mapping[str, Any] | None = None
    frozen: bool = False

    @abstractmethod
    def step(self, resolution: int, codes: Sequence[Tensor], feature: Tensor | None = None) -> Tensor:
        """Run the block that ends at ``resolution``: S_i of Eq. 3 and 10.

        Args:
            resolution: One of :attr:`resolutions`.
            codes: One code (N, code_dims[k]) per style layer of the whole bank, in order; the block picks its own.
            feature: (N, channels[resolution / 2], H / 2, W / 2), already fused with the encoder's feature; None at the
                very first resolution of a whole bank, which starts from its constant.

        Returns:
            g_i, (N, channels[resolution], H, W).
        """

    @abstractmethod
    def mean_code(self, num_samples: int = 4096, seed: int = 0) -> Tensor:
        """The average latent code, (code dim,): the bank's most typical picture. Same seed, same result."""

    @abstractmethod
    def load(self, state: Mapping[str, Tensor], source: str) -> None:
        """Load a whole bank's weights, strictly, into what this instance keeps of it.

        Raises:
            WeightsError: If a key of the whole bank is missing, unexpected or of another shape.
        """

    def init_weights(self) -> None:
        """Load :attr:`pretrained`, if there is any. MMEngine's runner calls this before training."""
        if self.pretrained is not None:
            self.load(*read_pretrained(self.pretrained))

    def freeze(self) -> LatentBank:
        """Fix the weights (section 3.4): no gradients, and evaluation mode even while the rest trains."""
        self.frozen = True
        self.requires_grad_(False)
        return self.eval()

    def train(self, mode: bool = True) -> LatentBank:
        super().train(mode and not self.frozen)
        return self
