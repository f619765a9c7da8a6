"""What is exported: the network of a model as a graph, and around it images in, images out."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glean_plus.inference.network import Network
from glean_plus.models.codes import LearnedCodes
from glean_plus.models.glean import GLEAN, with_class
from glean_plus.models.spectral_norm import resolve_spectral_norm


@dataclass(frozen=True)
class Shape:
    """What inputs an exported file takes.

    Attributes:
        batch: Images at a time, None for any number.
        size: Height and width of the input, None for any multiples of the network's ``multiple``.
    """

    batch: int | None
    size: tuple[int, int] | None

    @property
    def dynamic(self) -> bool:
        """Any height and width."""
        return self.size is None


class PlainGLEAN(nn.Module):
    """A GLEAN without what a graph has no use for: checks, and a bank that is not folded.

    Called as the model, and on any size as its ``forward_any``; the model stays as it is.

    Args:
        model: In evaluation mode.
        shape: Of the inputs.
        label: Class of all images; None if each has its own, or there are none.
    """

    classes: Tensor  # the embedding of each, where each image has its own
    embedding: Tensor | None  # that of the class of all images

    def __init__(self, model: GLEAN, shape: Shape, label: int | None) -> None:
        super().__init__()
        model = copy.deepcopy(model).requires_grad_(False).eval()
        resolve_spectral_norm(model)
        bank = model.bank
        self.scale, self.dynamic = model.out_size // model.in_size, shape.dynamic
        self.class_dims = tuple(bank.class_dims)
        each_label = model.given_class and label is None
        if each_label:
            self.register_buffer('classes', bank.class_table().detach().clone())
        self.register_buffer('embedding', None if label is None else bank.class_embedding(torch.tensor([label])))
        constant: list[Tensor | None] = [None] * len(bank.code_dims)
        if isinstance(model.codes, LearnedCodes) and not each_label:
            constant = self._codes(model, torch.empty(0), None)
        if shape.size is not None and shape.size != (model.in_size, model.in_size):
            height, width = shape.size
            bank.set_noises(bank.tiled_noises((self.scale * height, self.scale * width)))
        model.add_module('bank', bank.fold(constant, torch.float32))
        self.model = model

    def _codes(self, model: GLEAN, coarsest: Tensor, label: Tensor | None) -> list[Tensor | None]:
        codes: list[Tensor | None] = model.codes(coarsest)
        if label is not None:
            return with_class(codes, F.embedding(label, self.classes), self.class_dims)
        if self.embedding is None:
            return codes
        images = 1 if isinstance(model.codes, LearnedCodes) else coarsest.shape[0]
        return with_class(codes, self.embedding.expand(images, -1), self.class_dims)

    def forward(self, lq: Tensor, label: Tensor | None = None) -> Tensor:
        """(N, C, H, W), and where each has its own class, these, (N,) -> (N, C', s H, s W)."""
        model = self.model
        features = model.encoder(lq)
        codes = self._codes(model, features[model.encoder.resolutions[-1]], label)
        noises = None
        if self.dynamic:
            noises = model.bank.tiled_noises((self.scale * lq.shape[2], self.scale * lq.shape[3]))
        return model.decode(lq, features, model.retrieve(features, codes, noises=noises))


class Served(nn.Module):
    """Images (N, 3, H, W), RGB, 0 to 1 -> results (N, 3, s H, s W), RGB, 0 to 1, clamped.

    A colorizing network takes the lightness of its input, so that may be gray or in colour, and keeps it.

    Args:
        network: The model, on a CPU, in float32 and not folded.
        shape: Of the images.
        label: Class of all images; None if it is given with each, or there are none.
    """

    def __init__(self, network: Network, shape: Shape, label: int | None) -> None:
        super().__init__()
        plain = network.network
        self.network = PlainGLEAN(plain, shape, label) if isinstance(plain, GLEAN) else copy.deepcopy(plain)
        for tensor in (*self.parameters(), *self.buffers()):  # some may be channels_last
            tensor.data = tensor.data.contiguous()
        self.spec = network.spec

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """See the class; ``label``: class of each image, (N,), int64."""
        inputs = self.spec.normalize(image)
        if self.spec.gray and label is not None:
            label = label.repeat_interleave(3)
        result = self.network(inputs) if label is None else self.network(inputs, label)
        return self.spec.denormalize(result).clamp(0, 1)
