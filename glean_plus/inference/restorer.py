"""Images in, images out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glean_plus.inference import manifest, tiling
from glean_plus.inference.base import PictureRestorer, Restored
from glean_plus.inference.channels import Layers
from glean_plus.inference.consistency import BLOCK, REACH, Consistency
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.fidelity import STEPS, bank_factor, check_fidelity, input_share
from glean_plus.inference.flat import FlatAreas, is_constant
from glean_plus.inference.image import Picture, levels
from glean_plus.inference.memory import parse_bytes
from glean_plus.inference.network import Network
from glean_plus.inference.source import PathLike, find
from glean_plus.utils.choices import DEFAULT_MODEL
from glean_plus.utils.color import recolor
from glean_plus.weights.fetch import sha256

# Kinds of devices on which images are restored one by one. A result must not depend on its neighbours in a folder, but
# libraries for the CPU choose their kernels by the size of the batch, and round differently.
ONE_BY_ONE = frozenset({'cpu'})


class Restorer(PictureRestorer):
    """A trained model for images of any size and kind.

    Example:
        >>> import numpy as np
        >>> restorer = Restorer('lightglean_twemoji_4x', device='cpu', speed='exact')
        >>> restorer(np.zeros((16, 24, 3), np.uint8)).shape
        (64, 96, 3)

    Args:
        model: Name of a model (``glean-plus models`` lists them), or a checkpoint, path or URL, that says which config
            it belongs to; with ``checkpoint``, a config: path, name of one of ours, or its content. The default is that
            of ``glean-plus restore``.
        checkpoint: Path or URL of the weights of a config.
        mode: How other sizes than the model's are restored. ``direct``: in one go, where a model is made of
            convolutions (LightGLEAN). ``tiles``: in tiles of the model's size that overlap and are blended; codes that
            depend on the image are those of the whole. ``fit``: the whole image is brought to the model's size, and
            the result back; in colorization, its colours alone. None takes what measures best: direct where it can be,
            else tiles; fit for colorization.
        device: ``auto``, or a device of PyTorch's, as ``cpu``, ``cuda:1`` or ``mps``.
        precision: ``fp32``, ``bf16`` or ``fp16`` (GPUs), of the arithmetic.
        speed: ``exact``: the network as it was trained; ``folded``, ``compiled`` or ``openvino``: the same up to
            rounding in less time; ``auto``: the fastest of them that works here. See
            :func:`glean_plus.accel.speed.at_speed`.
        batch: Tiles, or on a GPU images of one size, at a time.
        max_memory: About what an image may take beside itself and the model, as ``'4G'``: bounds the batch, and beyond
            it a direct pass is made in parts.
        seed: Of noise maps in place of the model's own; None keeps those.
        consistent: Steps of a projection that brings the result to what shrinks to its input by bicubic (5 do); 0 for
            none. For inputs that were made so: of others it brings back noise and blocks.
        label: Class of the images, for a model that is given one.
        fidelity: From 0, more of the bank than in training: sharper, and further from the input; through 0.5, the
            model's own result; to 1, what shrinks to its input, as ``consistent`` makes it. None is the model's own.

    Raises:
        RestoreError: If a model or option cannot be used.
        WeightsError: If weights cannot be had, read, or do not fit.
    """

    def __init__(
        self,
        model: PathLike | Mapping[str, Any] = DEFAULT_MODEL,
        checkpoint: PathLike | None = None,
        *,
        mode: str | None = None,
        device: str = 'auto',
        precision: str = 'fp32',
        speed: str = 'auto',
        batch: int = 8,
        max_memory: str | int = '4G',
        seed: int | None = None,
        consistent: int = 0,
        label: int | None = None,
        fidelity: float | None = None,
    ) -> None:
        for name, number, least in (('batch', batch, 1), ('consistent', consistent, 0)):
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise RestoreError(f'{name} is {least} or more, not {number!r}: give such a whole number.')
        for name, choice in (('seed', seed), ('label', label)):
            if choice is not None and (isinstance(choice, bool) or not isinstance(choice, int)):
                raise RestoreError(f'{name} is a whole number, not {choice!r}: give one, or leave it out.')
        if seed is not None and not -2**63 <= seed < 2**63:
            raise RestoreError(f'seed has 64 bits, -2**63 to 2**63 - 1, but is {seed}: give a smaller one.')
        if fidelity is not None and not isinstance(fidelity, (int, float)):
            raise RestoreError(f'fidelity is a number from 0 to 1, not {fidelity!r}: give one, or leave it out.')
        check_fidelity(fidelity, consistent)
        self.limits = tiling.Limits(batch, parse_bytes(max_memory))
        self.source = find(model, checkpoint)
        self.network = Network(self.source, device, precision, speed, seed, label, bank_factor(fidelity))
        self.mode = mode or tiling.default_mode(self.network)
        tiling.check_mode(self.network, self.mode)
        tiling.pixels_at_once(self.network, self.limits)
        if consistent and self.network.colorizes:
            raise RestoreError('Colorization keeps the lightness of its input as it is: leave `consistent` out.')
        if fidelity is not None and self.network.colorizes:
            raise RestoreError('Colorization keeps the lightness of its input as it is: leave `fidelity` out.')
        self.consistent, self.seed, self.label, self.fidelity = consistent, seed, label, fidelity
        self.speed = 'auto' if speed == 'auto' else self.network.speed

    @property
    def scale(self) -> int:
        """How many times larger results are; 1 in colorization."""
        scale: int = self.network.scale
        return scale

    @property
    def memory(self) -> int:
        return self.limits.memory

    def at_once(self, picture: Picture) -> int:
        return 1 if self.network.device.type in ONE_BY_ONE else self.batch_of(picture)

    def batch_of(self, picture: Picture) -> int:
        """As many as were asked for, or as the memory holds of the results."""
        height, width = picture.image.shape[:2]
        size = tiling.BYTES * self.scale**2 * height * width
        return max(1, min(self.limits.batch, self.limits.memory // 4 // size))

    def restoration(self, pictures: Sequence[Picture], assess: bool = False) -> Restoration:
        return Restoration(self, pictures, assess)

    def run_facts(self) -> dict[str, Any]:
        return dict(
            config=manifest.content_of(self.source.model), weights=sha256(self.source.checkpoint),
            bgr=self.network.bgr, mode=self.mode,
            precision=str(self.network.dtype).removeprefix('torch.'), speed=self.speed, seed=self.seed,
            consistent=self.consistent, label=self.label, fidelity=self.fidelity, max_memory=self.limits.memory,
        )  # fmt: skip

    def about_facts(self) -> dict[str, Any]:
        card = self.source.card
        return dict(
            model=self.source.name, config=self.source.config, checkpoint=str(self.source.checkpoint),
            device=str(self.network.device), speed=self.network.speed, batch=self.limits.batch,
            licence=card.licence if card else '',
        )  # fmt: skip


class Restoration(Restored):
    """Images of one size and kind being restored by a network.

    Args:
        restorer: What restores them.
        pictures: One or more.
        assess: Fill :attr:`own_scores`.
    """

    restorer: Restorer

    def __init__(self, restorer: Restorer, pictures: Sequence[Picture], assess: bool = False) -> None:
        layers = pictures[0].layers
        super().__init__(
            restorer, pictures, Layers(layers.gray and not restorer.network.colorizes, layers.alpha, layers.white)
        )
        self.assess = assess

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        restorer = self.restorer
        images, layers = [picture.opaque() for picture in self.pictures], self.pictures[0].layers
        rows = tiling.strips(restorer.network, images, layers, restorer.mode, restorer.limits)
        if restorer.network.colorizes:
            yield from self._coloured(rows, [picture.image for picture in self.pictures], layers)
            return
        share = input_share(restorer.fidelity)
        steps, share = (STEPS, share) if share else (restorer.consistent, 1.0)
        flats = [FlatAreas(image, layers) for image in images]
        if not (steps or self.assess or restorer.scored) and all(flat.nothing for flat in flats):
            for strip in rows:
                yield [levels(part, self.kind) for part in strip]
            return
        # One stream of rows becomes one for each image; they are read in step.
        queues: list[list[Tensor]] = [[] for _ in images]

        def of(index: int) -> Iterator[Tensor]:
            while True:
                if not queues[index]:
                    strip = next(rows, None)
                    if strip is None:
                        return
                    for queue, part in zip(queues, strip.cpu()):
                        queue.append(part)
                yield queues[index].pop(0)

        # A block of rows with those around it, of which eight copies live at a time at most: a quarter of the memory.
        halo, width = REACH * (steps + 1), restorer.scale * images[0].shape[1]
        held = restorer.limits.rows(3 * width, restorer.scale * (BLOCK + 2 * halo))
        block = max(1, held // restorer.scale - 2 * halo)
        checks = [
            Consistency(
                lambda begin, end, image=image: layers.tensor(image[begin:end]),  # type: ignore[misc]
                len(image), restorer.scale, steps, layers.colours, layers.white, share,
                self.assess, flat, block,
            )
            for image, flat in zip(images, flats)
        ]  # fmt: skip
        for parts in zip(*(check.through(of(index)) for index, check in enumerate(checks))):
            yield [levels(part, self.kind) for part in parts]
        self.scores = [check.lr_psnr for check in checks]
        if self.assess:
            self.own_scores = [(check.own_lr_psnr, check.lr_gain) for check in checks]

    def _coloured(
        self, rows: Iterator[Tensor], images: Sequence[np.ndarray], layers: Layers
    ) -> Iterator[list[np.ndarray]]:
        """a and b of Lab, and opacity, join the lightness of the input, which stays as it is.

        An image of one color throughout shows nothing to colorize, and keeps it.
        """
        constant = [is_constant(image[..., :layers.colours]) for image in images]
        top = 0
        for strip in rows:
            parts = []
            for image, part, is_flat in zip(images, strip.cpu(), constant):
                given = layers.tensor(image[top:top + part.shape[1]])
                colour = given[:layers.colours].expand(3, -1, -1)
                if not is_flat:
                    colour = recolor(colour, part[:2])
                parts.append(levels(torch.cat([colour, given[layers.colours:]]), self.kind))
            top += strip.shape[2]
            yield parts
