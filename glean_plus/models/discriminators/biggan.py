"""BigGAN's discriminator with any widths (Brock et al., ICLR 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from glean_plus.models.banks.biggan_layers import Conv, SelfAttention
from glean_plus.models.spectral_norm import SpectralEmbedding, SpectralLinear, SpectralOptions, stored_style
from glean_plus.registry import MODELS
from glean_plus.utils.precision import full_precision
from glean_plus.weights import WeightsError, load_strict, read_pretrained
from glean_plus.weights.formats.layout import PublishedNetwork, count, side

# Size of the images -> width after each block, in units of base_channels.
WIDTHS: dict[int, tuple[int, ...]] = {
    64: (1, 2, 4, 8, 16),
    128: (1, 2, 4, 8, 16, 16),
    256: (1, 2, 4, 8, 8, 16, 16),
    512: (1, 1, 2, 4, 8, 8, 16, 16),
}


class DiscResBlock(nn.Module):
    """Residual block. ``down`` halves the size; ``first`` takes an image, which no ReLU comes before."""

    def __init__(
        self, in_channels: int, out_channels: int, sn: SpectralOptions, down: bool = True, first: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = Conv(in_channels, out_channels, 3, sn)
        self.conv2 = Conv(out_channels, out_channels, 3, sn)
        if down or in_channels != out_channels:
            self.shortcut = Conv(in_channels, out_channels, 1, sn)
        self.down, self.first = down, first

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x)), inplace=True))
        # A mean and a 1x1 convolution commute, and after the mean there is a quarter to compute.
        y, x = (F.avg_pool2d(each, 2) if self.down else each for each in (y, x))
        return y + (self.shortcut(x) if hasattr(self, 'shortcut') else x)


@MODELS.register_module()
class BigGANBankDiscriminator(PublishedNetwork):
    """Scores images, and how well they fit their class: (N, img_channels, in_size, in_size) -> (N, 1).

    MMagic's ``BigGANDiscriminator`` with any widths, with the same state-dict keys. Spectral normalisation keeps full
    precision under autocast, has its gradient, and takes any memory layout; MMagic's does neither.

    Args:
        in_size: Side of the images.
        num_classes: Number of classes; 0 for images without, which are scored alone.
        img_channels: Their channels.
        base_channels: Unit of the published widths. Not used with ``widths``.
        widths: Width after each block. Every block halves the size but the last, which works at 4 px. The published
            ones if None.
        attention: Resolutions whose block is followed by self-attention; others than the blocks' do not exist.
        sn_style: How a checkpoint stores spectral normalisation, ``ajbrock`` or ``torch``.
        sn_eps: Least norm of its vectors.
        pretrained: ``dict(checkpoint=path or URL, prefix='discriminator')``, of MMagic or ajbrock, loaded by
            :meth:`init_weights`.

    Raises:
        ValueError: If the blocks do not lead from ``in_size`` to 4.
    """

    architecture = 'BigGAN discriminator'
    origin = 'MMagic'
    anchors = ('decision.bias', 'conv_blocks.0.conv1.conv.bias')
    discriminator = True

    def __init__(
        self,
        in_size: int,
        num_classes: int = 0,
        img_channels: int = 3,
        base_channels: int = 96,
        widths: Sequence[int] | None = None,
        attention: Sequence[int] = (64,),
        sn_style: str = 'ajbrock',
        sn_eps: float = 1e-6,
        pretrained: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if widths is None:
            if in_size not in WIDTHS:
                raise ValueError(f'There are published widths for images of {sorted(WIDTHS)} px, not {in_size}; '
                                 'give `widths`.')
            widths = [base_channels * width for width in WIDTHS[in_size]]
        if in_size != 2 ** (len(widths) + 1):
            raise ValueError(f'{len(widths)} blocks, as `widths` has, lead from {2 ** (len(widths) + 1)} px to 4; '
                             f'in_size is {in_size}.')
        self.in_size, self.num_classes, self.pretrained = in_size, num_classes, pretrained
        attended = tuple(res for res in (in_size >> (i + 1) for i in range(len(widths) - 1)) if res in attention)
        self.config = dict(in_size=in_size, num_classes=num_classes, img_channels=img_channels, widths=[*widths],
                           attention=attended, sn_style=sn_style)  # fmt: skip
        sn = SpectralOptions(sn_style=sn_style, sn_eps=sn_eps)
        blocks: list[nn.Module] = []
        for index, (below, width) in enumerate(zip([img_channels, *widths], widths)):
            last = index == len(widths) - 1
            blocks.append(DiscResBlock(below, width, sn, down=not last, first=index == 0))
            if not last and in_size >> (index + 1) in attended:
                blocks.append(SelfAttention(width, sn))
        self.conv_blocks = nn.Sequential(*blocks)
        self.decision = SpectralLinear(widths[-1], 1, True, **sn)
        if num_classes:
            self.proj_y = SpectralEmbedding(num_classes, widths[-1], **sn)

    @classmethod
    def hyperparameters(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        weight, style = stored_style(state, 'decision')
        numbers = range(count(state, r'conv_blocks\.(\d+)\.'))
        blocks = [n for n in numbers if f'conv_blocks.{n}.gamma' not in state]
        for n in blocks[:-1]:
            if f'conv_blocks.{n}.shortcut.conv.{weight}' not in state:
                raise WeightsError(f'its block {n} does not halve the size, as every block but the last does here.')
        in_size = side(len(blocks) - 1)
        classes = state.get(f'proj_y.{weight}')
        return dict(
            in_size=in_size,
            num_classes=0 if classes is None else len(classes),
            img_channels=state[f'conv_blocks.0.conv1.conv.{weight}'].shape[1],
            widths=[state[f'conv_blocks.{n}.conv2.conv.{weight}'].shape[0] for n in blocks],
            attention=tuple(
                in_size >> (i + 1) for i, n in enumerate(blocks[:-1]) if f'conv_blocks.{n + 1}.gamma' in state
            ),
            sn_style=style,
        )

    def init_weights(self) -> None:
        """Load ``pretrained``, if there is any. MMEngine's runner calls this before training."""
        if self.pretrained is not None:
            state, source = read_pretrained(self.pretrained, type(self), self.config, self.state_dict().keys())
            load_strict(self, state, source, 'Discriminator')

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """See the class; ``label`` (N,) is the class of each image, where there are classes."""
        if (label is not None) != (self.num_classes > 0):
            raise ValueError(f'This discriminator was built with num_classes={self.num_classes} and is given '
                             f'{"no labels" if label is None else "labels"}.')
        x = F.relu(self.conv_blocks(x))
        with full_precision(x.device):
            feature = x.to(self.decision.bias.dtype).sum(dim=(2, 3))         # [NC]
            score = self.decision(feature)
            return score if label is None else score + (self.proj_y(label) * feature).sum(dim=1, keepdim=True)
