"""How much is worked on at a time when a network is folded: within the memory that is meant for it, and no less."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from test_folded import needs_compiler

from glean_plus.accel import compiled, layers
from glean_plus.accel.compiled import CompiledConv, CompiledThinConv
from glean_plus.accel.conv import Conv3x3, ThinConv, choose_method
from glean_plus.accel.convolutions import Convolutions
from glean_plus.accel.epilogue import Epilogue
from glean_plus.accel.winograd import Workspace


def bordered(x: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) -> (N, H + 2, W + 2, C), as folded convolutions take it."""
    return F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1).contiguous()


@pytest.mark.parametrize(
    ('shape', 'stride', 'product'),
    [
        ((1, 16, 16), 1, True),
        ((4, 8, 8), 1, True),
        ((1, 16, 17), 1, False),
        ((1, 32, 32), 2, True),
        ((5, 8, 8), 1, False),
    ],
)
def test_few_positions_are_a_matrix_product(
    shape: tuple[int, int, int], stride: int, product: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to 256 positions of the result."""
    images, height, width = shape
    x, weight = torch.randn(images, 4, height, width), torch.randn(6, 4, 3, 3)
    wanted = F.conv2d(x, weight, None, stride, 1)
    seen: list[str] = []
    for name in ('conv2d', 'linear'):
        function = getattr(F, name)
        monkeypatch.setattr(layers.F, name, lambda *given, name=name, do=function: (seen.append(name), do(*given))[1])
    torch.testing.assert_close(layers.convolve(x, weight, None, stride), wanted, rtol=1e-4, atol=1e-5)
    assert seen == ['linear' if product else 'conv2d']


@pytest.mark.parametrize(
    ('method', 'channels', 'images', 'width', 'rows'),
    [
        ('rows', 32, 1, 64, 64),       # no more than 64 rows, which is 16 of the tiles' height
        ('rows', 32, 1, 1024, 16),     # else 4,096 positions of tiles
        ('rows', 32, 4, 1024, 4),      # and no less than a tile
        ('rows', 32, 8, 1024, 4),
        ('tiles', 96, 1, 64, 32),      # 128 tiles
        ('tiles', 96, 2, 64, 16),
        ('tiles', 96, 1, 1024, 4),
        ('tiles', 512, 1, 64, 128),    # 512
    ],
)  # fmt: skip
def test_strips(
    method: str, channels: int, images: int, width: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    conv = Conv3x3(torch.zeros(channels, channels, 3, 3), torch.zeros(channels), torch.float32, 128, method=method)
    heights = []
    monkeypatch.setattr(conv, '_convolve', lambda x, *rest: heights.append(x.shape[1] - 2))
    x = torch.empty(1).expand(images, 256 + 4 + 2, width + 2, channels)
    conv(x, torch.empty(1).expand(images, 260, width, channels), Workspace(), Epilogue())
    assert heights == [rows] * (260 // rows) + [260 % rows] * bool(260 % rows)


@pytest.mark.parametrize(('width', 'pixels'), [(64, 256 * 66), (600, 27 * 602), (20000, 20002)])
def test_strips_to_few_channels(width: int, pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some 16,384 pixels, at least a row."""
    conv = ThinConv(torch.randn(3, 4, 3, 3), torch.randn(3))
    seen = []
    mm = torch.mm
    monkeypatch.setattr(torch, 'mm', lambda a, b, out: (seen.append(b.shape[1]), mm(a, b, out=out))[1])
    height = 2 * pixels // (width + 2)
    x, out = torch.randn(1, 4, height, width), torch.empty(3, height, width)
    conv(bordered(x)[0], out, Workspace())
    total = (height + 2) * (width + 2)
    assert seen == [pixels] * (total // pixels) + [total % pixels] * bool(total % pixels)
    wanted = F.conv2d(x, conv.taps.view(3, 3, 3, 4).permute(2, 3, 0, 1), conv.bias, padding=1)[0]
    torch.testing.assert_close(out, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('in_channels', 'out_channels', 'size', 'dtype', 'method'),
    [
        (96, 96, 128, torch.float32, 'tiles'),
        (96, 96, 132, torch.float32, 'rows'),
        (95, 512, 128, torch.float32, 'rows'),
        (96, 96, 128, torch.bfloat16, 'rows'),
        (32, 32, 32, torch.float32, 'rows'),
        (31, 512, 32, torch.float32, 'direct'),
        (47, 47, 32, torch.bfloat16, 'direct'),
        (48, 48, 32, torch.bfloat16, 'rows'),
        (96, 96, 28, torch.float32, 'direct'),
        (96, 96, 66, torch.float32, 'direct'),
    ],
)
def test_methods(in_channels: int, out_channels: int, size: int, dtype: torch.dtype, method: str) -> None:
    cpu = torch.device('cpu')
    assert choose_method(in_channels, out_channels, size, dtype, cpu) == method
    assert choose_method(in_channels, out_channels, size, dtype, torch.device('cuda')) == 'direct'


@needs_compiler
@pytest.mark.parametrize(
    ('channels', 'tiles', 'threads', 'at_once'),
    [
        (16, 10_000, 2, 48),      # no more than 48
        (64, 10_000, 2, 24),      # 600,000 bytes hold 32 of 36 products each, in steps of 12
        (512, 10_000, 2, 12),     # no less than 12
        (16, 60, 2, 36),          # one round, half of them for each thread
        (64, 200, 4, 24),         # three rounds of four threads; 17 each
        (64, 96, 4, 24),
        (64, 97, 4, 24),
        (64, 5, 2, 12),
    ],
)  # fmt: skip
def test_tiles_at_once(channels: int, tiles: int, threads: int, at_once: int) -> None:
    conv = CompiledConv(torch.zeros(channels, channels, 3, 3))
    assert conv._tiles_at_once(tiles, 36, threads) == at_once


@needs_compiler
@pytest.mark.parametrize(('parts', 'group'), [(0.5, 128), (1, 128), (2, 256), (2.9, 256), (4, 512), (9, 512)])
def test_filters_at_once(parts: float, group: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many parts of 128 results as the memory holds, at least one."""
    one_part = 36 * 16 * 4 * 128  # bytes of the transformed filters of 16 channels
    monkeypatch.setattr(compiled, 'FILTERS', int(parts * one_part))
    conv, workspace = CompiledConv(torch.randn(512, 16, 3, 3)), Workspace()
    x = torch.randn(1, 16, 16, 16)
    out = torch.empty(1, 16, 16, 512)
    conv(bordered(x), out, workspace)
    assert workspace.extent('filters', out)[1] * 4 == group // 128 * one_part
    wanted = F.conv2d(x, conv.weight.permute(3, 2, 0, 1), padding=1).permute(0, 2, 3, 1)
    torch.testing.assert_close(out, wanted, rtol=1e-3, atol=1e-3)


@needs_compiler
@pytest.mark.parametrize(('out_channels', 'in_channels', 'kind'), [
    (3, 16, CompiledThinConv), (4, 16, CompiledThinConv), (5, 16, ThinConv), (3, 18, ThinConv),
])  # fmt: skip
def test_the_kernel_makes_the_picture_where_it_can(out_channels: int, in_channels: int, kind: type) -> None:
    given: tuple[Any, ...] = (torch.randn(out_channels, in_channels, 3, 3), torch.randn(out_channels))
    cpu = torch.device('cpu')
    assert type(Convolutions(torch.float32, cpu, compiled=True).thin(*given)) is kind
    assert type(Convolutions(torch.float32, cpu).thin(*given)) is ThinConv
