"""How much is worked on at a time when a network is folded: within the memory that is meant for it, and no less."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from test_folded import needs_compiler

from glean_plus.accel import compiled
from glean_plus.accel.compiled import CompiledConv
from glean_plus.accel.maps import Workspace
from glean_plus.models import folding


def bordered(x: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) -> (N, H + 2, W + 2, C), as folded convolutions take it."""
    return F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1).contiguous()


@pytest.mark.parametrize(
    ('shape', 'stride', 'channels', 'product'),
    [
        ((1, 8, 8), 1, 8, True),
        ((4, 4, 4), 1, 8, True),
        ((1, 8, 9), 1, 8, False),
        ((1, 16, 16), 2, 8, True),
        ((5, 4, 4), 1, 8, False),
        ((1, 8, 8), 1, 7, False),
    ],
)
def test_few_positions_are_a_matrix_product(
    shape: tuple[int, int, int], stride: int, channels: int, product: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to 64 positions of the result, from a number of channels on."""
    images, height, width = shape
    monkeypatch.setattr(folding, 'MANY', 8)
    x, weight = torch.randn(images, 8, height, width), torch.randn(channels, 8, 3, 3)
    wanted = F.conv2d(x, weight, None, stride, 1)
    seen: list[str] = []
    for name in ('conv2d', 'linear'):
        function = getattr(F, name)
        monkeypatch.setattr(folding.F, name, lambda *given, name=name, do=function: (seen.append(name), do(*given))[1])
    torch.testing.assert_close(folding.convolve(x, weight, None, stride), wanted, rtol=1e-4, atol=1e-5)
    assert seen == ['linear' if product else 'conv2d']


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
