"""Who a face is, to ArcFace (Deng et al., CVPR 2019): the network and crop of pixel2style2pixel and its followers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glean_plus.weights import Card, read_state_dict
from glean_plus.weights.cache import SharedNetwork, Weights
from glean_plus.weights.strict import load_strict, with_batch_counts

ARCFACE = Card(
    name='arcface_ir_se50',
    kind='network',
    data='MS1M, faces aligned to 112 x 112',
    licence='MIT (code); images: MS-Celeb-1M, research only',
    colour_order='rgb',
    sha256='a035c768259b98ab1ce0e646312f48b9e1e218197a0f80ac6765e88f8b6ddf28',
    url='https://github.com/xinntao/facexlib/releases/download/v0.1.0/recognition_arcface_ir_se50.pth',
    source='IR-SE50 of TreB1eN/InsightFace_Pytorch, which others publish as model_ir_se50.pth',
)
INPUT_SIZE = 112
ALIGNED_SIZE = 256
# (top, bottom, left, right) of the face in an image aligned as FFHQ and CelebA-HQ, at 256 x 256.
FACE = (35, 223, 32, 220)
CROPS = ('ffhq', 'none')


class FaceEmbedding(nn.Module):
    """IR-SE50 behind the crop of an aligned image.

    Args:
        crop: ``ffhq``: the image is aligned as FFHQ and CelebA-HQ are; it is brought to 256 x 256, and its rows
            35 to 223 and columns 32 to 220 are the face. ``none``: the whole image is, as in ArcFace's own data.
    """

    def __init__(self, crop: str = 'ffhq') -> None:
        super().__init__()
        from mmagic.models.editors.arcface.model_irse import Backbone

        self.crop = crop
        self.network = Backbone(input_size=INPUT_SIZE, num_layers=50, mode='ir_se', drop_ratio=0.6)

    def prepare(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> faces (N, 3, 112, 112), by mean over areas, as published."""
        if self.crop == 'ffhq':
            if x.shape[-2:] != (ALIGNED_SIZE, ALIGNED_SIZE):
                x = F.adaptive_avg_pool2d(x, ALIGNED_SIZE)
            top, bottom, left, right = FACE
            x = x[:, :, top:bottom, left:right]
        return F.adaptive_avg_pool2d(x, INPUT_SIZE)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W), RGB, -1 to 1 -> embeddings (N, 512) of length 1."""
        return self.network(self.prepare(x))


def _arcface(crop: str, weights: Weights) -> FaceEmbedding:
    with torch.device('meta'):  # its random start takes seconds
        embedding = FaceEmbedding(crop)
    embedding.to_empty(device='cpu')
    name = weights.name if isinstance(weights, Card) else str(weights)
    state = with_batch_counts(embedding.network, read_state_dict(weights))
    load_strict(embedding.network, state, name, 'ArcFace (IR-SE50)')
    return embedding


def arcface(crop: str = 'ffhq', weights: Weights | None = None) -> SharedNetwork:
    """A shared :class:`FaceEmbedding`.

    Args:
        crop: ``ffhq`` or ``none``.
        weights: State dict of IR-SE50; None takes the published one (175 MB).

    Raises:
        ValueError: On another crop.
    """
    if crop not in CROPS:
        raise ValueError(f'crop must be one of {CROPS}, but is {crop!r}.')
    return SharedNetwork(_arcface, crop, weights=ARCFACE if weights is None else weights)


def similarity(a: Tensor, b: Tensor) -> Tensor:
    """Cosine (N,) between embeddings (N, C); 1 for the same face, around 0 for strangers."""
    return F.cosine_similarity(a.float(), b.float(), dim=1)
