"""Restored images -> the video stream of a result."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from glean_plus.inference.errors import RestoreError
from glean_plus.inference.video.formats import CONTAINERS, Coding, usual_priority
from glean_plus.inference.video.frames import FrameReader, matrix_of, pixel_format
from glean_plus.inference.video.hdr import hdr_options

if TYPE_CHECKING:
    import av

# FFmpeg's number of the usual range of YUV.
LIMITED = 1
# FFmpeg's numbers of the transfer functions of HDR: PQ and HLG.
HDR = (16, 18)
# x265 takes its decoding times from the frame after so many; where there is none, they are what the memory held.
X265_DELAY = 2
# HEVC in Apple's players.
HEVC_TAG = {'mp4': 'hvc1', 'mov': 'hvc1'}


class FrameWriter:
    """The video stream of a result.

    Args:
        made: Its container.
        ending: That of its file.
        crf: Quality.
        rate: Frames a second.
        size: Height and width of the result's frames.
        stream: Video stream of the source.
        frame: Its first frame.
        reader: What reads the frames.

    Raises:
        RestoreError: If this FFmpeg has no encoder that takes the size.
    """

    def __init__(
        self, made: av.container.OutputContainer, ending: str, crf: int, rate: Fraction,
        size: tuple[int, int], stream: av.VideoStream, frame: av.VideoFrame, reader: FrameReader,
    ) -> None:  # fmt: skip
        self.made, self.reader, self.ending = made, reader, ending
        self.size = size
        source = stream.codec_context
        self.primaries, self.transfer = source.color_primaries, source.color_trc
        self.coding = self._coding(rate)
        self.frames = 0
        options = {**self.coding.options, **({'crf': str(crf)} if self.coding.crf else {})}
        described, self.left_out = hdr_options(frame, self.coding.encoder)
        for key, value in described.items():
            options[key] = f'{options[key]}:{value}' if key in options else value
        self.stream: Any = made.add_stream(self.coding.encoder, rate=rate, options=options)
        self.stream.height, self.stream.width = self.size
        self.stream.pix_fmt = self.coding.pixels_of(*self.size)
        self.matrix = matrix_of(frame)
        # ProRes has one range and no tag for it.
        self.range = (frame.color_range if self.coding.encoder != 'prores_ks' else 0) or LIMITED
        context = self.stream.codec_context
        context.colorspace, context.color_range = self.matrix, self.range
        context.color_primaries, context.color_trc = self.primaries, self.transfer
        context.time_base = stream.time_base
        if self.coding.encoder == 'libx265' and made.format.name in HEVC_TAG:
            context.codec_tag = HEVC_TAG[made.format.name]
        aspect = source.sample_aspect_ratio
        if aspect:
            context.sample_aspect_ratio = 1 / aspect if reader.transposed else aspect
        with usual_priority():  # else the first packet opens it, which may be one of the sound
            context.open()

    def _coding(self, rate: Fraction) -> Coding:
        os.environ.setdefault('SVT_LOG', '1')  # else SVT-AV1 writes what it does to the standard error
        container = CONTAINERS[self.ending]
        for coding in container.candidates(self.reader.bits, self.reader.alpha):
            if coding.opens(*self.size, rate):
                return coding
        names = ', '.join(sorted({each.encoder for each in container.codings}))
        height, width = self.size
        raise RestoreError(
            f'no encoder of {self.ending} ({names}) in this FFmpeg takes {width}x{height} pixels: choose another ending'
        )

    def write(self, image: np.ndarray, time: int, base: Fraction) -> None:
        """Encode (H, W, 3 or 4), uint8 or uint16, at ``time`` in units of ``base``."""
        import av

        alpha = image.shape[2] == 4
        if alpha and not self.coding.alpha:
            image, alpha = np.ascontiguousarray(image[..., :3]), False
        frame = av.VideoFrame.from_ndarray(image, pixel_format(image.dtype == np.uint16, alpha)).reformat(
            format=self.stream.pix_fmt, dst_colorspace=self.matrix, dst_color_range=self.range
        )
        if hasattr(frame, 'color_primaries'):  # PyAV 16 and later; ProRes takes them from here
            frame.color_primaries, frame.color_trc = self.primaries, self.transfer
        frame.pts, frame.time_base = time, base
        self.frames += 1
        self.made.mux(self.stream.encode(frame))

    def end(self) -> None:
        packets = self.stream.encode(None)
        if self.coding.encoder == 'libx265' and self.frames <= X265_DELAY:
            for packet in packets:  # in order, as so few have no B-frames
                packet.dts = packet.pts
        self.made.mux(packets)

    def notes(self) -> Iterator[str]:
        bits, coding = self.reader.bits, self.coding
        if bits > 8 and coding.bits < bits:
            hdr = ', and gradients of HDR may band' if self.transfer in HDR and coding.bits == 8 else ''
            yield f'its {bits} bits a channel become {coding.bits}{hdr}: {coding.encoder} writes no more'
        if self.left_out:
            lost = ', '.join(self.left_out)
            yield f'{coding.encoder} does not take this of its frames, which is left out: {lost}'
        if self.reader.alpha and not coding.alpha:
            others = ', '.join(
                ending for ending, container in CONTAINERS.items() if any(each.alpha for each in container.codings)
            )
            yield f'its alpha channel is left out, as {self.ending} does not hold it: take one of {others}'
