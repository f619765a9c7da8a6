"""Bank and decoder above the input's resolution by the compiled kernel, in bands of rows that stay in cache."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glean_plus.accel.compiled import CompiledConv, CompiledThinConv, CompiledUpConv, Epilogue, has_code, pays
from glean_plus.accel.folded import FoldedGLEAN, Noises
from glean_plus.accel.maps import Workspace, inside, nhwc, padded, with_border
from glean_plus.models.decoder import GLEANDecoder, enlarged
from glean_plus.models.folding import ConvolvingLayer, FoldedConv, FoldedLayer, needed
from glean_plus.models.glean import GLEAN
from glean_plus.models.ops import LRELU_SLOPE, fir_kernel

# The last resolution is computed in bands, and with it those below whose maps are larger than so many bytes: bytes of
# the last map in one go, and how many rows more are computed on each side. Three convolutions need three, and half of
# the number must be a multiple of Winograd's 4.
WHOLE_BYTES, BAND_BYTES, MARGIN = 80_000_000, 25_000_000, 8
# Of the map between the decoder's last two convolutions.
HIDDEN_ROWS = 64


def has_usual_filter(conv: FoldedConv) -> bool:
    """Whether a folded convolution doubles the size with StyleGAN2's own filter, which the kernel has."""
    return conv.fir is not None and torch.allclose(conv.fir.weight[0, 0].cpu(), fir_kernel(gain=4.0))


def convolving(layers: Iterable[FoldedLayer]) -> list[ConvolvingLayer]:
    """Those of a folded bank's layers that :class:`Block` can be made of."""
    return [layer for layer in layers if isinstance(layer, ConvolvingLayer)]


def output_convs(decoder: GLEANDecoder) -> list[nn.Conv2d]:
    """The convolution that makes the image, and before it that of the hidden layer, if there is one."""
    return [part for part in decoder.last.modules() if isinstance(part, nn.Conv2d)]


class Steering(NamedTuple):
    """What differs between images in the two layers of a block.

    Attributes:
        scales: For each layer the scales of its inputs and of its results; None where all images have the same codes.
        noises: For each layer the noise map (H, W, 1), float32.
    """

    scales: list[tuple[Tensor, Tensor]] | None
    noises: list[Tensor]


class Block:
    """The two style layers of a resolution above the input's: g of half the size -> g_i (S_i of Eq. 3 and 10).

    Args:
        layers: Folded in float32.
        dtype: Of the maps.
    """

    def __init__(self, layers: Sequence[ConvolvingLayer], dtype: torch.dtype) -> None:
        self.layers = [*layers]
        up, conv = (layer.conv for layer in layers)
        self.convs = (
            CompiledUpConv(up.weight.transpose(0, 1), layers[0].bias, dtype),
            CompiledConv(conv.weight, layers[1].bias, dtype),
        )
        for layer in layers:
            layer.release()
        self.noises = [layer.noise[0, 0].unsqueeze(-1) for layer in layers]
        self.channels = self.convs[1].out_channels

    def steering(
        self, codes: Sequence[Tensor | None], noises: Sequence[Tensor] | None, size: tuple[int, int]
    ) -> Steering:
        """What codes, and noise maps in place of the own, make of a map of a size."""
        maps = self.noises
        if noises is not None:
            beyond = [(0, size[1] - each.shape[3], 0, size[0] - each.shape[2]) for each in noises]
            maps = [F.pad(each[0, 0].float(), sides).unsqueeze(-1) for each, sides in zip(noises, beyond)]
        if self.layers[0].constant:
            return Steering(None, maps)
        pairs = [layer.scales(needed(codes[layer.index])) for layer in self.layers]
        return Steering([(scale[:, None, None], out_scale[:, None, None]) for scale, out_scale in pairs], maps)

    def __call__(
        self,
        g: Tensor,
        out: Tensor,
        steering: Steering,
        workspace: Workspace,
        clear: Callable[[Tensor], None],
        top: int = 0,
        name: str = 'between',
    ) -> None:
        """g (N, h + 2, w + 2, C) -> ``out`` (N, 2 h, 2 w, channels).

        Args:
            g: The map with its border, or some of its rows with a neighbor above and below. The first and the last row
                of the result are then not right, as their own neighbors are missing.
            out: Where to write.
            steering: Of :meth:`steering`.
            workspace: For what is computed on the way.
            clear: Sets what lies beyond the image to zero.
            top: Row of the whole result that ``out`` begins with.
            name: Of the memory between the two layers.
        """
        images, height, width = g.shape[0], g.shape[1] - 2, g.shape[2] - 2
        between = padded(workspace, name, images, 2 * height, 2 * width, self.channels, like=g)
        noises = [noise[top:top + 2 * height] for noise in steering.noises]
        none: list[tuple[Tensor | None, Tensor | None]] = [(None, None)] * 2
        (in_1, out_1), (in_2, out_2) = steering.scales or none
        first, second = self.convs
        first(g, inside(between), workspace, Epilogue(out_1, noises[0], LRELU_SLOPE, in_2), in_1)
        clear(between)
        second(between, out, workspace, Epilogue(out_2, noises[1], LRELU_SLOPE))


class Bands:
    """What a folded model does above the input's resolution.

    Features are written to where their concatenation is read.

    Args:
        folded: The model, folded in float32; of its bank, the weights are no longer there afterwards.
        decoder: The model's decoder.
        dtype: Of the maps.
        workspace: Whose memory the maps are in.
    """

    @classmethod
    def of(cls, folded: FoldedGLEAN, model: GLEAN, dtype: torch.dtype, workspace: Workspace) -> Bands | None:
        """None if bank or decoder are not made of convolutions that the kernel has code for, or maps are too small."""
        decoder = model.decoder
        if type(decoder) is not GLEANDecoder or not pays(2 * folded.in_size, 2 * folded.in_size):
            return None
        names = [str(res) for res in decoder.stage_resolutions if str(res) in folded.bank.layers]
        held = [layer for name in names for layer in folded.bank.layers[name]]
        if folded.resolutions and folded.resolutions[-1] > folded.in_size and not held:
            return None
        layers = convolving(held)
        if len(layers) < len(held):
            return None
        if not all(layer.conv.up is None or has_usual_filter(layer.conv) for layer in layers):
            return None
        convs = [stage.upsample_conv for stage in decoder.stages]
        last = output_convs(decoder)
        channels = [(layer.conv.weight.shape[0], layer.conv.weight.shape[1]) for layer in layers]
        channels += [(conv.in_channels, conv.out_channels // 4) for conv in convs]
        channels += [(conv.in_channels, conv.out_channels) for conv in last[:-1]]
        if not all(has_code(*pair) for pair in channels) or last[-1].out_channels > 4 or last[-1].in_channels % 4:
            return None
        return cls(folded, decoder, dtype, workspace)

    def __init__(
        self, folded: FoldedGLEAN, decoder: GLEANDecoder, dtype: torch.dtype, workspace: Workspace
    ) -> None:
        self.dtype, self.workspace, self.in_size, self.out_size = dtype, workspace, folded.in_size, folded.out_size
        self.joined, self.residual = set(decoder.resolutions), decoder.wants_input
        self.blocks = {
            res: Block(convolving(folded.bank.layers[str(res)]), dtype)
            for res in folded.resolutions if res > folded.in_size
        }  # fmt: skip
        self.stages = {
            res: CompiledConv(stage.upsample_conv.weight, stage.upsample_conv.bias, dtype, shuffle=True)
            for res, stage in zip(decoder.stage_resolutions, decoder.stages)
        }
        *hidden, last = output_convs(decoder)
        self.hidden = CompiledConv(hidden[0].weight, hidden[0].bias, dtype) if hidden else None
        self.last = CompiledThinConv(last.weight, last.get_parameter('bias'), dtype)
        self.out_channels = last.out_channels
        large = [res for res in self.stages if res**2 * self._width(res) * dtype.itemsize > WHOLE_BYTES]
        self.banded = {self.out_size, *(res for res in self.stages if large and res >= large[0])}
        # Of the memory of each map: what is read and what is written must not share it, but the last band may have that
        # of what the whole maps need on the way.
        free = itertools.cycle(['e', 'd'])
        self.names = {res: next(free) for res in self.stages if res not in self.banded}
        self.names |= dict(zip(sorted(self.banded), [next(free), *(f'band {res}' for res in sorted(self.banded)[1:])]))
        if len(self.banded) > 1:
            self.names[self.out_size] = 'band'

    def __call__(
        self, f_0: Tensor, g: Tensor | None, codes: Sequence[Tensor | None], noises: Noises, lq: Tensor
    ) -> Tensor:
        """Of one image (1, C, H, W): f_0, the bank's feature, if the decoder takes any, codes, noise maps in place of
        the bank's own, and the input -> (1, C', s H, s W), float32."""
        self.true_size = height, width = f_0.shape[2:]
        rows, columns = height + -height % 4, width + -width % 4
        self._reserve(rows, columns, f_0)
        image = f_0.new_empty(1, self.out_channels, *self._size(self.out_size, rows, columns), dtype=torch.float32)
        d = with_border(nhwc(f_0), self.workspace, 'd')
        feature = None if g is None else with_border(nhwc(g), self.workspace, 'g')
        steering = {
            res: block.steering(codes, None if noises is None else noises[res], self._size(res, rows, columns))
            for res, block in self.blocks.items()
        }
        for res in self.stages:
            if res not in self.banded:
                size = self._size(res, rows, columns)
                both = padded(self.workspace, self.names[res], 1, *size, self._width(res), d)
                feature = self._stage(res, d, feature, both, steering)
                d = both
        end, band = image.shape[2], self._band_rows(image[0])
        for top in range(0, end, band):
            self._band(d, feature, steering, image[0], top, min(top + band, end))
        scale = self.out_size // self.in_size
        if self.residual:
            image[:, :, :scale * height, :scale * width] += enlarged(lq.float(), scale)
        return image[:, :, :scale * height, :scale * width]

    def _size(self, res: int, rows: int, columns: int) -> tuple[int, int]:
        """Sides of the map of a resolution."""
        return rows * res // self.in_size, columns * res // self.in_size

    def _clear(self, res: int, x: Tensor, top: int) -> None:
        """Set what of some rows of a map, with a border and from ``top`` on, lies beyond the image to zero.

        Maps are computed up to a multiple of 4.
        """
        height, width = self._size(res, *self.true_size)
        if width < x.shape[2] - 2:
            x[:, :, width + 1:] = 0
        if height < top + x.shape[1] - 2:
            x[:, max(height - top, 0) + 1:] = 0

    def _reserve(self, rows: int, columns: int, like: Tensor) -> None:
        """Take the memory of the large maps at once: what grows bit by bit leaves holes that nobody can use."""
        sizes: Counter[str] = Counter()
        for res in self.stages:
            if res not in self.banded:
                height, width = self._size(res, rows, columns)
                bordered = (height + 2) * (width + 2)
                sizes[self.names[res]] = max(sizes[self.names[res]], bordered * self._width(res))
                if res in self.blocks:
                    sizes['band'] = max(sizes['band'], bordered * self.blocks[res].channels)
        for name, size in sizes.items():
            self.workspace.take(name, size, like=like)

    def _band_rows(self, image: Tensor) -> int:
        """Rows of a band: as many as fit, the same for all but the last, a multiple of 16 for the resolution below."""
        height, columns = image.shape[1:]
        width = max(self._width(self.out_size), 0 if self.hidden is None else self.hidden.out_channels)
        fitting = max(BAND_BYTES // (columns * width * self.dtype.itemsize), 2 * MARGIN)
        bands = -(-height // fitting)
        return -(-height // (bands * 16)) * 16

    def _width(self, res: int) -> int:
        """Channels of the decoder's map at a resolution, with the bank's feature if it joins."""
        return self.stages[res].out_channels // 4 + (self.blocks[res].channels if res in self.joined else 0)

    def _stage(
        self, res: int, d: Tensor, g: Tensor | None, both: Tensor, steering: Mapping[int, Steering], top: int = 0
    ) -> Tensor | None:
        """Rows of d and g, of half the resolution and with neighbors, -> ``both``; returns the bank's feature.

        ``top`` is the row of the whole map that ``both`` begins with.
        """
        width = self.stages[res].out_channels // 4
        self.stages[res](d, inside(both)[..., :width], self.workspace)
        if g is None or res not in self.blocks:
            self._clear(res, both, top)
            return None
        feature = both[..., width:]
        if res not in self.joined:  # the bank's feature is computed for a later one
            name = f'alone {res.bit_length() % 2}'  # what is read and what is written must not share memory
            images, height, columns = inside(both).shape[:3]
            feature = padded(self.workspace, name, images, height, columns, self.blocks[res].channels, both)
        between = 'between' if res in self.banded else 'band'
        clear = functools.partial(self._clear, res, top=top)
        self.blocks[res](g, inside(feature), steering[res], self.workspace, clear, top, between)
        clear(both)
        if res not in self.joined:
            clear(feature)
        return feature

    def _rows(
        self, res: int, d: Tensor, g: Tensor | None, steering: Mapping[int, Steering], first: int, last: int
    ) -> tuple[Tensor, Tensor | None]:
        """Rows ``first`` to ``last`` of a resolution that is computed in bands, from the last whole maps d and g.

        Returns:
            The decoder's map and the bank's feature, with a border. A few rows at the edges are not right.
        """
        begin = 0
        if res // 2 in self.banded:
            begin = max(first // 2 - MARGIN // 2, 0)
            # The image's last row is that of d, whose border is two rows.
            end = min(last // 2 + MARGIN // 2, self._last_row(res // 2, d))
            d, g = self._rows(res // 2, d, g, steering, begin, end)
        rows = slice(first // 2 - begin, last // 2 - begin + 2)  # a neighbor on each side; the border shifts by one
        columns = 2 * (d.shape[2] - 2)
        both = padded(self.workspace, self.names[res], 1, last - first, columns, self._width(res), like=d)
        return both, self._stage(res, d[:, rows], None if g is None else g[:, rows], both, steering, first)

    def _last_row(self, res: int, whole: Tensor) -> int:
        """Rows of a resolution in bands, from the last whole map with its border."""
        return (whole.shape[1] - 2) * res * 2 // min(self.banded)

    def _band(
        self,
        d: Tensor,
        g: Tensor | None,
        steering: Mapping[int, Steering],
        image: Tensor,
        top: int,
        bottom: int,
    ) -> None:
        """Rows ``top`` to ``bottom`` of the image.

        Some rows more are computed on both sides, as each convolution needs a neighbor.
        """
        work, (height, width) = self.workspace, image.shape[1:]
        first, last = max(top - MARGIN, 0), min(bottom + MARGIN, height)
        end, _ = self._rows(self.out_size, d, g, steering, first, last)
        if self.hidden is None:
            self.last(end[0, top - first:bottom - first + 2], image[:, top:bottom], work)
            return
        for start in range(top, bottom, HIDDEN_ROWS):  # rows and, as Winograd has it, four more above and below
            stop = min(start + HIDDEN_ROWS, bottom)
            above, below = max(start - 4, first), min(stop + 4, last)
            hidden = padded(work, 'hidden', 1, below - above, width, self.hidden.out_channels, like=d)
            self.hidden(end[:, above - first:below - first + 2], inside(hidden), work, Epilogue(slope=LRELU_SLOPE))
            self._clear(self.out_size, hidden, above)
            self.last(hidden[0, start - above:stop - above + 2], image[:, start:stop], work)
            del hidden  # may be given back before there is another
