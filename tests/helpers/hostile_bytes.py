"""Mutations of any bytes and JSON, and what opening them may end in: what all hostile files share."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

from glean_plus.inference import RestoreError
from glean_plus.prepare.decode import PictureError
from glean_plus.prepare.items import DataError
from glean_plus.weights import WeightsError

from conftest import ROOT
from fuzzing import Finding

DATA = ROOT / 'tests' / 'data' / 'formats'
OWN = (WeightsError, RestoreError, PictureError, DataError)
CANARY = 'canary_module'
EXTREMES = [
    0, 1, 2, 255, 256, 2**15, 2**16 - 1, 50_000, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1,
]  # fmt: skip
Rng = random.Random


def outcome(open_it: Callable[[], object], named: str = '', errors: tuple[type[BaseException], ...] = OWN) -> str:
    """``read``, or the name of the package's error, whose one line names the file."""
    try:
        open_it()
    except MemoryError:
        return 'MemoryError'
    except errors as error:
        text = str(error)
        if named not in text or len(text) > 5000:
            raise Finding(f'The message does not name {named}, or is long: {text[:300]!r}') from error
        return type(error).__name__
    return 'read'




def mutated(rng: Rng, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """One to four changes: flips, a cut, lengths, parts that are doubled, removed, moved, or another file's."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(result) + 1)
        # The first bytes decide most.
        at = min(at, rng.choice((16, 64, 512, len(result), len(result), len(result))))
        size = rng.choice((1, 2, 4, 8, 16, 64, 512))
        how = rng.randrange(9)
        if how == 0:
            for _ in range(rng.choice((1, 1, 3, 30))):
                if result:
                    result[rng.randrange(len(result)) if rng.random() < 0.5 else min(at, len(result) - 1)] ^= (
                        1 << rng.randrange(8)
                    )
        elif how == 1:
            del result[at:]
        elif how == 2:
            form = rng.choice(('<Q', '>Q', '<I', '>I', '<H', '>H'))
            value = rng.choice(EXTREMES) & (2 ** (8 * struct.calcsize(form)) - 1)
            result[at : at + struct.calcsize(form)] = struct.pack(form, value)
        elif how == 3:
            result[at:at] = result[at : at + size] * rng.choice((1, 2, 50))
        elif how == 4:
            del result[at : at + size]
        elif how == 5:
            result[at : at + size] = rng.randbytes(size)
        elif how == 6:
            other = rng.choice([*others, data])
            start = rng.randrange(len(other))
            result[at : at + size] = other[start : start + rng.choice((size, len(other)))]
        elif how == 7:
            result[at : at + size] = bytes([rng.choice((0, 255))]) * size
        else:
            start = rng.randrange(len(result) + 1)
            result[at : at + size], result[start : start + size] = result[start : start + size], result[at : at + size]
    return bytes(result[: 4 << 20])


def any_json(rng: Rng, depth: int = 3) -> Any:
    """Any value of JSON, many of them where none is expected."""
    kind = rng.randrange(12 if depth else 9)
    if kind < 3:
        return rng.choice(
            (None, True, False, '', 'rgb', 'bank', 'restorer', '../../x', '/etc/passwd', '\0', '\ud800', 'x' * 3000)
        )
    if kind < 6:
        return rng.choice((*EXTREMES, -1, -(2**63), 0.5, 1e308, float('nan'), float('inf'), -float('inf'), 10**4000))
    if kind < 9:
        return f'__import__({CANARY!r})' if kind == 6 else rng.choice(('none_of_ours', '..', 'a.b.c', '-1'))
    if kind == 9:
        return [any_json(rng, depth - 1) for _ in range(rng.randrange(5))]
    return {str(any_json(rng, 0))[:50]: any_json(rng, depth - 1) for _ in range(rng.randrange(5))}


def nested(rng: Rng) -> str:
    """JSON that is nested too deep."""
    depth = rng.choice((50, 1000, 100_000))
    opened, closed = rng.choice((('[', ']'), ('{"a":', '}')))
    return opened * depth + '1' + closed * rng.choice((depth, 0))
