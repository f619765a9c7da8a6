"""The compiled kernel against PyTorch's convolutions, and networks that are folded to it against themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from test_folded import build, largest_share, needs_compiler
from torch import Tensor

from glean_plus.accel import compiler
from glean_plus.accel.compiled import NOTHING, CompiledConv, CompiledThinConv, CompiledUpConv, Epilogue
from glean_plus.accel.compiler import CompilerError
from glean_plus.accel.kernel import CompiledTrunk
from glean_plus.accel.maps import Workspace, inside, nchw, nhwc, padded
from glean_plus.accel.speed import at_speed
from glean_plus.models.ops import fir_kernel, modulated_conv2d

FLOAT, HALF = torch.float32, torch.bfloat16


def with_border(x: Tensor) -> Tensor:
    out = padded(Workspace(), 'x', *x.shape, like=x)
    inside(out).copy_(x)
    return out


def decibels(error: Tensor, signal: Tensor) -> float:
    return float(20 * (error.std() / signal.std()).log10())


# Channels for vectors of 16, 8 and 4, one to four vectors in a product; more and fewer tiles than in one go.
@needs_compiler
@pytest.mark.parametrize(('dtype', 'limit'), [(FLOAT, -100), (HALF, -40)])
@pytest.mark.parametrize(
    ('channels', 'shape'),
    [
        ((64, 64), (2, 16, 24)), ((16, 96), (1, 20, 8)), ((24, 48), (3, 32, 16)), ((80, 16), (1, 12, 12)),
        ((12, 20), (1, 4, 4)),
    ],
)
@pytest.mark.parametrize('shuffle', [False, True])
def test_convolution_and_what_follows(
    channels: tuple[int, int], shape: tuple[int, int, int], shuffle: bool, dtype: torch.dtype, limit: float
) -> None:
    (wide, out_channels), (images, height, width), step = channels, shape, 2 if shuffle else 1
    x = torch.randn(images, wide + 4, height, width).to(dtype)  # more channels than are read
    bias = torch.randn(out_channels * step**2)
    weight = torch.randn(len(bias), wide, 3, 3) / (9 * wide) ** 0.5
    in_scale, out_scale = torch.rand(images, 1, 1, wide) + 0.5, torch.rand(images, 1, 1, out_channels) + 0.5
    then = torch.rand(1, 1, 1, out_channels) + 0.5
    noise = torch.randn(height * step, width * step, 1)
    more = torch.randn(images, height * step, width * step, out_channels).to(dtype)

    padded = with_border(x.permute(0, 2, 3, 1))[..., 4:]
    room = torch.full((*more.shape[:3], out_channels + 3), 7.0, dtype=dtype)  # a part of a concatenation
    conv = CompiledConv(weight, bias, dtype, shuffle)
    work = Workspace()
    for scales, epilogue in (
        ((in_scale, out_scale), Epilogue(out_scale, noise, 0.2, then, [(more, 0.3), (more.flip(0), 1.0)])),
        ((None, None), NOTHING),
        ((None, None), NOTHING),  # the task that is kept
    ):
        plain = x[:, 4:].double() * (1 if scales[0] is None else scales[0].permute(0, 3, 1, 2))
        wanted = F.conv2d(plain, weight.double(), padding=1)
        offset = bias.double()[:, None, None].expand(-1, height, width)
        if shuffle:
            wanted, offset = F.pixel_shuffle(wanted, 2), F.pixel_shuffle(offset, 2)
        wanted = nhwc(wanted) * (1 if scales[1] is None else scales[1]) + offset.permute(1, 2, 0)
        if scales[0] is not None:
            wanted = F.leaky_relu(wanted + noise, 0.2) * then + 0.3 * more.double() + more.double().flip(0)
        conv(padded, room[..., 3:], work, epilogue, scales[0])
        assert decibels(room[..., 3:] - wanted, wanted) < limit
        assert (room[..., :3] == 7).all()


@needs_compiler
@pytest.mark.parametrize('threads', [1, 2, 3])
def test_threads_and_strides(threads: int) -> None:
    x, weight = torch.randn(2, 40, 24, 32), torch.randn(48, 32, 3, 3)
    part = x[:, 2:-4, :-2]  # rows and columns of a larger map, as the result's
    out = torch.zeros(2, 40, 28, 48)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        CompiledConv(weight)(part, out[:, 4:-4, 4:-4], Workspace())
    finally:
        torch.set_num_threads(before)
    wanted = nhwc(F.conv2d(nchw(part), weight))
    assert (out[:, 4:-4, 4:-4] - wanted).abs().max() < 1e-4 * wanted.std()
    out[:, 4:-4, 4:-4] = 0
    assert not out.any()


@needs_compiler
def test_up_sampling_and_thin_convolution() -> None:
    x, weight, bias = torch.randn(2, 32, 8, 24), torch.randn(16, 32, 3, 3), torch.randn(16)
    kernel = fir_kernel(gain=4.0)
    wanted = modulated_conv2d(x, weight, torch.ones(1, 32), bias, demodulate=False, upsample_kernel=kernel)
    out = torch.empty(2, 16, 48, 16)
    CompiledUpConv(weight, bias)(with_border(nhwc(x)), out, Workspace())
    assert (nchw(out) - wanted).abs().max() < 1e-4 * wanted.std()
    for channels, planes in ((40, 3), (16, 1), (12, 4), (4, 2)):
        for dtype in (FLOAT, HALF):
            x, bias = torch.randn(1, channels, 6, 9).to(dtype), torch.randn(planes)
            weight = torch.randn(planes, channels, 3, 3)
            out = torch.empty(planes, 6, 9)
            CompiledThinConv(weight, bias, dtype)(with_border(nhwc(x))[0], out, Workspace())
            assert (out - F.conv2d(x.float(), weight, bias, padding=1)[0]).abs().max() < 1e-4


@needs_compiler
def test_rounding_to_bfloat16_is_pytorchs() -> None:
    """To the nearest, halves to even, and NaN and Inf stay what they are."""
    x = torch.randn(1, 6, 6, 4)
    x[0, 3, 3] = torch.tensor([1e30, -1e30, 1.00390625, 1.01171875])
    weight = torch.zeros(4, 4, 3, 3)
    out = torch.empty(1, 4, 4, 4, dtype=HALF)
    for values in ([1.00390625, 1.01171875, -3.0, 1e-3], [float('inf'), float('nan'), 0.0, 1.0]):
        bias = torch.tensor(values)
        CompiledConv(weight, bias, HALF)(x.to(HALF), out, Workspace())
        assert torch.equal(out[0, 1, 1].nan_to_num(7), bias.to(HALF).nan_to_num(7))


@needs_compiler
@pytest.mark.parametrize('light', [False, True])
@torch.no_grad()
def test_pictures_are_the_models(light: bool) -> None:
    model = build(light, 32, 128)
    lq = torch.rand(2, 3, 32, 32) * 2 - 1
    wanted = model(lq)
    folded = at_speed(model, 'compiled')
    assert largest_share(folded(lq), wanted) < 1e-5
    assert torch.equal(folded(lq), folded(lq))
    assert largest_share(folded(lq)[1:], folded(lq[1:])) < 1e-5
    assert folded.finish is not None and isinstance(folded.encoder.stages[0][0], CompiledTrunk)
    folded.release()
    assert not folded.workspace._flat and largest_share(folded(lq), wanted) < 1e-5
    half = at_speed(model, 'compiled', 'bf16')(lq)
    error = (half - wanted).square().mean() / (wanted.max() - wanted.min()) ** 2
    assert half.dtype == torch.float32 and -10 * error.log10() > 35
    # Three dense blocks of an RRDB and its residual, and more than the buffers hold.
    features, ours = model.encoder(lq), folded.encoder(lq)
    assert features.keys() == ours.keys()
    for res, feature in features.items():
        assert largest_share(ours[res], feature) < 1e-5


@needs_compiler
@torch.no_grad()
def test_encoder_of_several_blocks() -> None:
    encoder = dict(type='GLEANEncoder', num_rrdbs=3, rrdb_channels=16, growth_channels=8)
    model = build(True, encoder=encoder)
    lq = torch.rand(1, 3, 32, 32)
    assert largest_share(model.fold(compiled=True)(lq), model(lq)) < 1e-5


@needs_compiler
def test_wrong_maps_are_refused() -> None:
    conv = CompiledConv(torch.randn(4, 4, 3, 3))
    with pytest.raises(ValueError, match=r'takes torch.float32 of multiples of \(4, 4\), but got torch.float32 of 4x6'):
        conv(torch.zeros(1, 6, 8, 4), torch.empty(1, 4, 6, 4), Workspace())
    with pytest.raises(ValueError, match='but got torch.bfloat16'):
        conv(torch.zeros(1, 6, 6, 4, dtype=HALF), torch.empty(1, 4, 4, 4), Workspace())
    with pytest.raises(ValueError, match='channels must be next to each other'):
        conv(torch.zeros(1, 4, 6, 6).permute(0, 2, 3, 1), torch.empty(1, 4, 4, 4), Workspace())


@pytest.fixture
def unbuilt() -> Iterator[None]:
    """The kernel is asked for again, and what a test made of it is forgotten."""
    compiler.library.cache_clear()
    yield
    compiler.library.cache_clear()


def test_without_a_compiler(unbuilt: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setenv('CXX', 'no-such-compiler -O1')
    with pytest.raises(CompilerError, match="no-such-compiler was not found. Install g.*'compiled'"):
        build(True).fold(compiled=True)
    monkeypatch.setenv('CXX', '')
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(CompilerError, match=r'neither g\+\+ nor clang\+\+ was not found'):
        build(True).fold(compiled=True)
    script = tmp_path / 'broken'
    script.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\necho no space >&2\nexit 3\n')
    script.chmod(0o755)
    monkeypatch.setenv('CXX', str(script))
    monkeypatch.setenv('PATH', '/usr/bin:/bin')
    with pytest.raises(CompilerError, match=r"broken .* ended with 3:\nno space\n.* in CXX, or .* 'compiled'"):
        build(True).fold(compiled=True)
    assert not list((tmp_path / 'glean_plus').iterdir())  # nothing is half-written
    script.write_bytes(b'no program')
    with pytest.raises(CompilerError, match=r"broken .* cannot be run .* in CXX, or .* 'compiled'"):
        build(True).fold(compiled=True)


@needs_compiler
def test_without_a_folder_for_the_kernel(unbuilt: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    with pytest.raises(CompilerError, match="cannot be kept in .*file/glean_plus .* XDG_CACHE_HOME, or .*'compil"):
        build(True).fold(compiled=True)
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setattr(Path, 'home', Mock(side_effect=RuntimeError('no home')))
    with pytest.raises(CompilerError, match=r"no folder to be kept in \(no home\). .* XDG_CACHE_HOME, or "):
        build(True).fold(compiled=True)


@needs_compiler
def test_a_kernel_is_built_once(unbuilt: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    built = []
    monkeypatch.setattr(compiler, '_build', lambda command, path: (built.append(path), path.parent.mkdir(exist_ok=True),
                                                                    path.write_bytes(b'no library')))  # fmt: skip
    for _ in range(2):
        compiler.library.cache_clear()
        with pytest.raises(CompilerError, match='cannot be loaded .* Delete it'):
            compiler.library()
    assert len(built) == 1 and built[0].parent == tmp_path / 'glean_plus'
    monkeypatch.setattr(compiler, 'FLAGS', (*compiler.FLAGS, '-DOTHER'))
    with pytest.raises(CompilerError):
        compiler.library()
    assert len({*built}) == 2
