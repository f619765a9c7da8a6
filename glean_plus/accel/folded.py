"""A GLEAN for inference: the same pictures in less time and memory."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from glean_plus.accel.conv import SMALLEST, nhwc
from glean_plus.accel.convolutions import Convolution, Convolutions
from glean_plus.accel.encoder import FoldedEncoder
from glean_plus.accel.epilogue import Epilogue
from glean_plus.accel.maps import inside, padded, with_border
from glean_plus.accel.style import Scales, StyleBlock, StyleLayer
from glean_plus.accel.winograd import TILE, Workspace
from glean_plus.models.banks.stylegan2 import StyleGAN2Bank
from glean_plus.models.codes import LearnedCodes, check_codes, codes_of
from glean_plus.models.decoder import GLEANDecoder, enlarged
from glean_plus.models.encoder import GLEANEncoder
from glean_plus.models.glean import GLEAN, check_any_size, check_label, check_size
from glean_plus.models.ops import LRELU_SLOPE

# The last resolution is computed in bands, and with it those below whose maps are larger than so many bytes: bytes of
# the last map in one go, and how many rows more are computed on each side. Three convolutions need three, and half of
# the number must be a multiple of Winograd's 4.
WHOLE_BYTES, BAND_BYTES, MARGIN = 80_000_000, 25_000_000, 8
# Of the map between the decoder's last two convolutions.
HIDDEN_ROWS = 64


class FoldedGLEAN(nn.Module):
    """What ``model.fold()`` makes: called as the model, with its weights as they were then.

    * Learned codes are the same for every picture, so LightGLEAN's modulated convolutions are plain ones here. Codes
      that depend on the picture scale the maps between the convolutions, not the weights of each picture.
    * Convolutions with stride 1 multiply half or a quarter as often, by Winograd's algorithm.
    * A map is worked on in strips that stay in cache, with noise, bias and activation of a strip at once; features are
      written to where their concatenation is read. Pictures of a batch are finished one after the other.

    It is no module for training, and not for two threads at a time. In float32 it shares the encoder and what makes
    codes and scales with the model; the rest are copies, and nothing else of the model is needed. It stays on the
    device that the model was on.

    Args:
        model: A GLEAN or LightGLEAN on a ``StyleGAN2Bank`` with a ``GLEANDecoder``. Its encoder's weights are laid out
            as channels_last; an encoder that is no ``GLEANEncoder`` stays as it is.
        dtype: float32, which gives the model's pictures up to rounding, or bfloat16.
        compiled: Take a kernel that this machine's C++ compiler builds, the first time; on a CPU only.

    Raises:
        CompilerError: If the kernel cannot be built.
        TypeError: If the bank or the decoder is another one.
        ValueError: On another type.
    """

    def __init__(self, model: GLEAN, dtype: torch.dtype = torch.float32, compiled: bool = False) -> None:
        super().__init__()
        for part, kind in ((model.bank, StyleGAN2Bank), (model.decoder, GLEANDecoder)):
            if type(part) is not kind:
                raise TypeError(f'Only a {kind.__name__} can be folded, but the model has a {type(part).__name__}.')
        convolutions = Convolutions(dtype, next(model.parameters()).device, compiled)
        self.dtype, self.in_size, self.out_size = dtype, model.in_size, model.out_size
        # Winograd's tiles, at each of the encoder's resolutions; or from the input's on and, where the bank starts
        # below that, from the first of its own that has them.
        self.any_size = model.any_size
        tiled = max(model.bank.start_res, SMALLEST)
        self.multiple = TILE * model.multiple if compiled else max(TILE, model.multiple, TILE * model.in_size // tiled)
        self.encoder, self.codes = model.encoder, model.codes
        if dtype != torch.float32:
            self.encoder, self.codes = (copy.deepcopy(part).to(dtype) for part in (self.encoder, self.codes))
        self.encoder.to(memory_format=torch.channels_last)
        self.workspace = Workspace()
        with torch.no_grad():
            self._prepare(model, convolutions)

    def _prepare(self, model: GLEAN, convolutions: Convolutions) -> None:
        bank, decoder, dtype = model.bank, model.decoder, self.dtype
        codes = list(model.codes(torch.empty(0))) if isinstance(model.codes, LearnedCodes) else None
        self.constant_codes = codes is not None
        self.start_res, self.resolutions, self.channels = bank.start_res, bank.resolutions, dict(bank.channels)
        self.joined = set(decoder.resolutions)
        self.residual = decoder.wants_input
        if convolutions.compiled and type(model.encoder) is GLEANEncoder:
            self.encoder = FoldedEncoder(self.encoder, convolutions, self.workspace)
        self.first: StyleLayer | None = None
        if bank.start_res == 4:
            code = None if codes is None else codes[0]
            self.first = StyleLayer(bank.conv1, bank.injected_noise_0, code, convolutions)
            self.constant = nhwc(bank.constant_input.input).to(dtype)
        self.blocks = {res: StyleBlock(bank, res, codes, convolutions) for res in bank.resolutions if res > 4}
        self.fusions = {
            int(res): convolutions.conv(conv.weight, conv.bias, int(res), int(res))
            for res, conv in model.fusions.items()
        }
        self.stages = {
            res: convolutions.conv(
                stage.upsample_conv.weight, stage.upsample_conv.bias, res // 2, res // 2, shuffle=True)
            for res, stage in zip(decoder.stage_resolutions, decoder.stages)
        }  # fmt: skip
        last = decoder.last
        self.hidden: Convolution | None = None
        if isinstance(last, nn.Sequential):
            self.hidden = convolutions.conv(last[0].weight, last[0].bias, self.out_size, self.out_size)
            last = last[-1]
        large = [res for res in self.stages if res**2 * self._width(res) * dtype.itemsize > WHOLE_BYTES]
        self.banded = {self.out_size, *(res for res in self.stages if large and res >= large[0])}
        # Of the memory of each map: what is read and what is written must not share it, but the last band may have that
        # of what the whole maps need on the way.
        free = itertools.cycle(['e', 'd'])
        self.names = {res: next(free) for res in self.stages if res not in self.banded}
        self.names |= dict(zip(sorted(self.banded), [next(free), *(f'band {res}' for res in sorted(self.banded)[1:])]))
        if len(self.banded) > 1:
            self.names[self.out_size] = 'band'
        self.last, self.out_channels = convolutions.thin(last.weight, last.bias), last.out_channels

    def forward(
        self, lq: Tensor, label: Tensor | None = None, codes: list[Tensor | None] | None = None
    ) -> Tensor:
        """(N, C, in_size, in_size) -> (N, C', out_size, out_size), float32.

        Args:
            lq: The input.
            label: None, as a ``StyleGAN2Bank`` has no classes.
            codes: As ``model.encode`` gives them, in place of this input's own, where the model predicts them.

        Raises:
            ValueError: On an input of another size, on a label, or on codes in place of learned ones.
        """
        check_label(label, False)
        check_codes(codes, self.constant_codes)
        check_size(lq, self.in_size, self.out_size)
        return self._restore(lq, codes, (0, 0))

    def forward_any(self, lq: Tensor, label: Tensor | None = None, origin: tuple[int, int] = (0, 0)) -> Tensor:
        """As :meth:`GLEAN.forward_any`; sides and origin are multiples of this object's own ``multiple``."""
        check_label(label, False)
        check_any_size(self, lq, origin)
        return self._restore(lq, None, origin)

    @torch.no_grad()
    def _restore(self, lq: Tensor, codes: list[Tensor | None] | None, origin: tuple[int, int]) -> Tensor:
        self._reserve(lq)
        features = self.encoder(lq.to(self.dtype, memory_format=torch.channels_last))
        codes = self.codes(features[min(features)]) if codes is None else codes
        codes = [None if code is None else code.float() for code in codes]
        maps = {res: nhwc(feature) for res, feature in features.items()}
        g = self._up_to_input(maps, codes, origin)
        height, width = (self._at(self.out_size, side) for side in lq.shape[-2:])
        out = lq.new_empty(len(lq), self.out_channels, height, width, dtype=torch.float32)
        for index, picture in enumerate(out):  # one at a time: the maps above the input's size are large
            only = slice(index, index + 1)
            self._above_input(maps[self.in_size][only], g[only], codes_of(codes, only), picture, origin)
            if self.residual:
                picture += enlarged(lq[only].float(), self.out_size // self.in_size)[0]
        return out

    def release(self) -> None:
        """Give back the memory of the maps, which is kept for the next picture: fresh memory takes time."""
        self.workspace.release()

    def _at(self, res: int, number: int) -> int:
        """A side or place in the input, in the map of a resolution."""
        return number * res // self.in_size

    def _place(self, res: int, origin: tuple[int, int], row: int = 0) -> tuple[int, int]:
        """Where in the endless map of a resolution the ``row``-th of this picture begins."""
        return self._at(res, origin[0]) + row, self._at(res, origin[1])

    def _reserve(self, lq: Tensor) -> None:
        """Take the memory of the large maps at once: what grows bit by bit leaves holes that nobody can use."""
        images, _, height, width = lq.shape
        sizes: Counter[str] = Counter()
        for res in (*self.resolutions, *self.stages):
            bordered = (self._at(res, height) + 2) * (self._at(res, width) + 2)
            if res <= self.in_size:
                sizes['e'] = max(sizes['e'], 2 * images * bordered * self.channels[res])
            elif res not in self.banded:
                sizes[self.names[res]] = max(sizes[self.names[res]], bordered * self._width(res))
                sizes['band'] = max(sizes['band'], bordered * self.channels[res])
        for name, size in sizes.items():
            self.workspace.take(name, size, like=lq.new_empty(0, dtype=self.dtype))

    def _up_to_input(
        self, maps: Mapping[int, Tensor], codes: Sequence[Tensor | None], origin: tuple[int, int]
    ) -> Tensor:
        """The bank up to the input's resolution, fused with the encoder's features: g with its border."""
        images, rows, columns, _ = maps[self.in_size].shape
        work = self.workspace
        if self.start_res > 4:
            g = with_border(maps[self.start_res // 2], work, 'g')
        for res in self.resolutions:
            if res > self.in_size:
                break
            width, fusion = self.channels[res], self.fusions.get(res)
            size = (images, self._at(res, rows), self._at(res, columns))
            both = padded(work, 'e', *size, width if fusion is None else 2 * width, maps[self.in_size])
            own = inside(both)[..., :width]
            if res == 4:
                self._start(own, codes[0])
            else:
                self.blocks[res](g, own, self.blocks[res].scales(codes), work, self._place(res, origin))
            g = padded(work, 'g', *size, width, both)
            if fusion is None:
                inside(g).copy_(own)
            else:
                inside(both)[..., width:].copy_(maps[res])
                fusion(both, inside(g), work)
        return g

    def _start(self, out: Tensor, code: Tensor | None) -> None:
        """The block at 4, from the constant."""
        if self.first is None or code is None:
            raise RuntimeError('A bank without a block at 4 has nothing to start from.')
        constant = with_border(self.constant.expand(len(out), -1, -1, -1), self.workspace, 'g')
        scales = () if self.first.constant else self.first.scales(code)
        self.first(constant, out, self.workspace, (0, 0), *scales)

    def _above_input(
        self,
        f_0: Tensor,
        g: Tensor,
        codes: Sequence[Tensor | None],
        picture: Tensor,
        origin: tuple[int, int],
    ) -> None:
        """f_0 and the bank's feature g, with its border, of one image -> ``picture`` (C', s H, s W)."""
        rows, columns = f_0.shape[1:3]
        d = with_border(f_0, self.workspace, 'd')
        scales = {res: self.blocks[res].scales(codes) for res in self.stages}
        feature: Tensor | None = g
        for res in self.stages:
            if res not in self.banded:
                size = (self._at(res, rows), self._at(res, columns))
                both = padded(self.workspace, self.names[res], 1, *size, self._width(res), d)
                feature = self._stage(res, d, feature, both, scales[res], self._place(res, origin))
                d = both
        height, band = picture.shape[1], self._band_rows(picture)
        for top in range(0, height, band):
            self._band(d, feature, scales, picture, top, min(top + band, height), origin)

    def _band_rows(self, picture: Tensor) -> int:
        """Rows of a band: as many as fit, the same for all but the last, a multiple of 16 for the resolution below."""
        height, columns = picture.shape[1:]
        width = max(self._width(self.out_size), 0 if self.hidden is None else self.hidden.out_channels)
        fitting = max(BAND_BYTES // (columns * width * self.dtype.itemsize), 2 * MARGIN)
        bands = -(-height // fitting)
        return -(-height // (bands * 16)) * 16

    def _width(self, res: int) -> int:
        """Channels of the decoder's map at a resolution, with the bank's feature if it joins."""
        return self.stages[res].out_channels // 4 + (self.channels[res] if res in self.joined else 0)

    def _stage(
        self, res: int, d: Tensor, g: Tensor | None, both: Tensor, scales: Scales, place: tuple[int, int]
    ) -> Tensor | None:
        """Rows of d and g, of half the resolution and with neighbours, -> ``both``; returns the bank's feature.

        ``place`` is where in the whole map ``both`` begins.
        """
        width = self.stages[res].out_channels // 4
        self.stages[res](d, inside(both)[..., :width], self.workspace)
        # The bank's feature is computed for itself or for a later one.
        if g is None or not any(above >= res for above in self.joined):
            return None
        feature = both[..., width:]
        if res not in self.joined:
            name = f'alone {res.bit_length() % 2}'  # what is read and what is written must not share memory
            images, height, columns = inside(both).shape[:3]
            feature = padded(self.workspace, name, images, height, columns, self.channels[res], both)
        between = 'between' if res in self.banded else 'band'
        self.blocks[res](g, inside(feature), scales, self.workspace, place, between)
        return feature

    def _rows(
        self,
        res: int,
        d: Tensor,
        g: Tensor | None,
        scales: Mapping[int, Scales],
        first: int,
        last: int,
        origin: tuple[int, int],
    ) -> tuple[Tensor, Tensor | None]:
        """Rows ``first`` to ``last`` of a resolution that is computed in bands, from the last whole maps d and g.

        Returns:
            The decoder's map and the bank's feature, with a border. A few rows at the edges are not right.
        """
        begin = 0
        if res // 2 in self.banded:
            begin = max(first // 2 - MARGIN // 2, 0)
            # The picture's last row is that of d, whose border is two rows.
            end = min(last // 2 + MARGIN // 2, self._last_row(res // 2, d))
            d, g = self._rows(res // 2, d, g, scales, begin, end, origin)
        rows = slice(first // 2 - begin, last // 2 - begin + 2)  # a neighbour on each side; the border shifts by one
        columns = 2 * (d.shape[2] - 2)
        both = padded(self.workspace, self.names[res], 1, last - first, columns, self._width(res), like=d)
        place = self._place(res, origin, first)
        return both, self._stage(res, d[:, rows], None if g is None else g[:, rows], both, scales[res], place)

    def _last_row(self, res: int, whole: Tensor) -> int:
        """Rows of a resolution in bands, from the last whole map with its border."""
        return (whole.shape[1] - 2) * res * 2 // min(self.banded)

    def _band(
        self,
        d: Tensor,
        g: Tensor | None,
        scales: Mapping[int, Scales],
        picture: Tensor,
        top: int,
        bottom: int,
        origin: tuple[int, int],
    ) -> None:
        """Rows ``top`` to ``bottom`` of the picture.

        Some rows more are computed on both sides, as each convolution needs a neighbour.
        """
        work, (height, width) = self.workspace, picture.shape[1:]
        first, last = max(top - MARGIN, 0), min(bottom + MARGIN, height)
        end, _ = self._rows(self.out_size, d, g, scales, first, last, origin)
        if self.hidden is None:
            self.last(end[0, top - first:bottom - first + 2], picture[:, top:bottom], work)
            return
        for start in range(top, bottom, HIDDEN_ROWS):  # rows and, as Winograd has it, four more above and below
            stop = min(start + HIDDEN_ROWS, bottom)
            above, below = max(start - 4, first), min(stop + 4, last)
            hidden = padded(work, 'hidden', 1, below - above, width, self.hidden.out_channels, like=d)
            self.hidden(end[:, above - first:below - first + 2], inside(hidden), work, Epilogue(slope=LRELU_SLOPE))
            self.last(hidden[0, start - above:stop - above + 2], picture[:, start:stop], work)
            del hidden  # may be given back before there is another
