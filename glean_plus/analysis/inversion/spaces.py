"""Where the codes of a bank are searched.

PULSE (Menon et al., CVPR 2020) searches W+ of StyleGAN, one code for each layer, but not freely. Mapped codes, before
the last leaky ReLU of the mapping network, are about normally distributed; so each code is written as

    w = leaky_relu(std * v + mean)

with mean and std of that distribution, axis by axis, and v stays on the sphere of radius sqrt(dim), where almost all of
a normal distribution is. The prior pulls the v of the layers together, because the bank was trained on equal ones: the
squared geodesic distance of each pair ("geocross"). :class:`StyleSpace` is that, and the same with one code for all
layers (`w`), or one at the mapping network's other end (`z`).

What differs from the authors' code (github.com/adamian98/pulse): noise maps are sampled once and fixed, where theirs
has the first five optimised, each on its sphere; the geodesic distances are averaged over the pairs, and their weight,
which is about 0.03 there in these units, is lower, which suits the banks that could be tried; the error is not cut off
at 30 dB (``eps``), so that a result is as near to its input as the space allows; MATLAB's bicubic has its own borders.

PULSE has no BigGAN. :class:`ClassSpace` is the same idea for one: its noise on the sphere, and the embedding of the
class, which is given or, for images whose class is not known, searched, in units of the spread of the known classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from glean_plus.analysis.inversion.errors import InversionError
from glean_plus.models.banks import LatentBank
from glean_plus.models.banks.biggan import BigGANBase
from glean_plus.models.banks.style import StyleBank
from glean_plus.models.ops import LRELU_SLOPE

# How many codes tell the distribution of all.
SAMPLES = 10_000


class Space(ABC):
    """Images of a bank, as a function of a few tensors.

    The first of them, (N, K, D), consists of vectors on spheres of radius sqrt(D); the others are free. All are of unit
    scale, so that one learning rate suits them.
    """

    #: Of which kind of bank.
    bank_type: ClassVar[type[LatentBank]]
    #: Its names; the first is the default.
    names: ClassVar[tuple[str, ...]]
    #: What the prior counts beside the mean squared error, for values of 0 to 1.
    prior_weight: float

    bank: LatentBank

    @abstractmethod
    def start(self, count: int, generator: torch.Generator) -> list[Tensor]:
        """``count`` random starts, (count, ...) each, on the CPU."""

    @abstractmethod
    def draw(self, tensors: list[Tensor]) -> Tensor:
        """Images (N, 3, out_size, out_size), about -1 to 1, in the bank's order of colours."""

    @abstractmethod
    def prior(self, tensors: list[Tensor]) -> Tensor:
        """How far they are from what the bank was trained on, (N,); 0 is nearest."""

    @staticmethod
    @torch.no_grad()
    def to_sphere(tensors: list[Tensor]) -> None:
        """Bring the first tensor back to its spheres, in place."""
        vectors = tensors[0]
        vectors.mul_(vectors.shape[-1] ** 0.5 / vectors.norm(dim=-1, keepdim=True).clamp(min=1e-12))


def geodesic(vectors: Tensor) -> Tensor:
    """Mean squared angle between vectors (N, K, D), over the pairs: (N,), in squared radians; 0 where K is 1."""
    count = vectors.shape[1]
    first, second = torch.triu_indices(count, count, offset=1, device=vectors.device)
    if not len(first):
        return vectors.new_zeros(len(vectors))
    units = F.normalize(vectors, dim=-1)
    a, b = units[:, first], units[:, second]                                 # [N, pairs, D]
    # Exact for small and large angles alike; the small number keeps the gradient of equal vectors finite.
    apart, along = ((part.square().sum(dim=-1) + 1e-12).sqrt() for part in (a - b, a + b))
    return (2 * torch.atan2(apart, along)).square().mean(dim=1)


class StyleSpace(Space):
    """W+, W or Z of a StyleGAN or StyleGAN2 bank.

    Args:
        bank: A whole bank.
        name: ``w+``: a code for each layer; ``w``: one for all; ``z``: the noise before the mapping network.
        seed: Of the noise maps, which stay as they are, and of the sample that tells mean and std.
    """

    bank_type = StyleBank
    names = ('w+', 'w', 'z')
    prior_weight = 0.001

    def __init__(self, bank: StyleBank, name: str = 'w+', seed: int = 0) -> None:
        self.bank, self.name = bank, name
        generator = torch.Generator().manual_seed(seed)
        maps = {layer: getattr(bank, f'injected_noise_{layer}') for layer in bank.layers}
        self.noises = [torch.randn(each.shape, generator=generator).to(each) for each in maps.values()]
        # Undo the last leaky ReLU; its gain is a factor, before it as well as behind it.
        sample = F.leaky_relu(bank.sample_codes(SAMPLES, seed), 1 / LRELU_SLOPE)
        self.mean, self.std = sample.mean(dim=0), sample.std(dim=0)

    def start(self, count: int, generator: torch.Generator) -> list[Tensor]:
        bank = self.bank
        vectors = bank.num_latents if self.name == 'w+' else 1
        dim = bank.noise_size if self.name == 'z' else bank.style_channels
        tensors = [torch.randn(count, vectors, dim, generator=generator)]
        self.to_sphere(tensors)
        return tensors

    def draw(self, tensors: list[Tensor]) -> Tensor:
        vectors = tensors[0]
        if self.name == 'z':
            codes = self.bank.style_mapping(vectors[:, 0])[:, None]
        else:
            codes = F.leaky_relu(vectors * self.std + self.mean, LRELU_SLOPE)
        latent = codes.expand(-1, self.bank.num_latents, -1)                 # [NLC]
        return self.bank(latent, input_is_latent=True, injected_noise=self.noises)

    def prior(self, tensors: list[Tensor]) -> Tensor:
        return geodesic(tensors[0])


class ClassSpace(Space):
    """Noise and class of a BigGAN or BigGAN-deep bank.

    Args:
        bank: A whole bank.
        name: ``z``; there is no other.
        label: The class; None searches its embedding, from the mean of all classes on.
    """

    bank_type = BigGANBase
    names = ('z',)
    prior_weight = 0.001

    def __init__(self, bank: BigGANBase, name: str = 'z', label: int | None = None) -> None:
        self.bank, self.name, self.searched = bank, name, label is None
        device = bank.shared_embedding.weight.device
        classes = torch.arange(bank.num_classes, device=device)
        known = bank.class_embedding(classes).detach()
        self.mean, self.std = known.mean(dim=0), known.std(dim=0, unbiased=False)
        if label is not None:
            if not 0 <= label < bank.num_classes:
                raise InversionError(f'The bank has the classes 0 to {bank.num_classes - 1}, but the label is {label}.')
            self.mean = known[label]

    def start(self, count: int, generator: torch.Generator) -> list[Tensor]:
        tensors = [torch.randn(count, 1, self.bank.noise_size, generator=generator)]
        self.to_sphere(tensors)
        return tensors + ([torch.zeros(count, self.bank.shared_dim)] if self.searched else [])

    def draw(self, tensors: list[Tensor]) -> Tensor:
        noise = tensors[0][:, 0]
        embedding = self.mean + self.std * tensors[1] if self.searched else self.mean.expand(len(noise), -1)
        return self.bank(noise, embedding, use_outside_embedding=True)

    def prior(self, tensors: list[Tensor]) -> Tensor:
        return tensors[1].square().mean(dim=1) if self.searched else tensors[0].new_zeros(len(tensors[0]))


def space_of(bank: LatentBank, name: str | None = None, seed: int = 0, label: int | None = None) -> Space:
    """The space of a whole bank by its name; None is the default of its kind.

    Raises:
        InversionError: If this kind of bank has no such space, or a label that it does not have.
    """
    kind = next((kind for kind in (StyleSpace, ClassSpace) if isinstance(bank, kind.bank_type)), None)
    if kind is None:
        raise InversionError(f'{type(bank).__name__} cannot be inverted; StyleGAN and BigGAN banks can.')
    name = name or kind.names[0]
    if name not in kind.names:
        raise InversionError(
            f"{type(bank).__name__} has no space {name!r} to search, but {', '.join(map(repr, kind.names))}."
        )
    if kind is ClassSpace:
        return ClassSpace(bank, name, label)
    if label is not None:
        raise InversionError(f'{type(bank).__name__} has no classes, but the label {label} is given.')
    return StyleSpace(bank, name, seed)
