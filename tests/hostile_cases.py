"""What :mod:`fuzzing` opens: mutations of valid files of every kind, and every way by which one is opened."""

from __future__ import annotations

import argparse
import copy
import functools
import io
import json
import os
import pickle
import pickletools
import random
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner.checkpoint import CheckpointLoader
from PIL import Image, ImageCms
from safetensors.torch import save

from glean_plus.cli import add_common_arguments, apply_overrides
from glean_plus.data.decode import PictureError, decode
from glean_plus.data.items import DataError
from glean_plus.data.prepare import listing_of
from glean_plus.data.settings import Settings
from glean_plus.engine.checkpoints import newest_whole
from glean_plus.metrics import FIDMetric
from glean_plus.restore import RestoreError, manifest
from glean_plus.restore.bounds import bounds_path, read_bounds
from glean_plus.restore.jobs import find_jobs
from glean_plus.restore.read import read
from glean_plus.restore.source import find, literal
from glean_plus.restore.write import write
from glean_plus.weights import WeightsError, import_weights, read_card, read_state_dict
from glean_plus.weights.fetch import cached_path
from glean_plus.weights.whole import write_whole

from conftest import ROOT
from fuzzing import Finding, Kind

DATA = ROOT / 'tests' / 'data' / 'formats'
OWN = (WeightsError, RestoreError, PictureError, DataError)
CANARY = 'canary_module'
EXTREMES = [
    0,
    1,
    2,
    255,
    256,
    2**15,
    2**16 - 1,
    50_000,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**62,
    2**63 - 1,
    2**63,
    2**64 - 1,
]
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


# Mutations of any bytes.


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


# Weights.


@functools.lru_cache
def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {f'generator.{name}': torch.randn(2, 3, generator=generator) for name in ('a.weight', 'a.bias', 'b')}


CARD = dict(name='x', kind='restorer', data='x', licence='x', colour_order='rgb', value_range=[-1, 1], config='x')


def make_safetensors(rng: Rng, folder: Path) -> Path:
    path = folder / 'x.safetensors'
    data = save(tensors(), metadata=dict(card=json.dumps(CARD)))
    length = struct.unpack('<Q', data[:8])[0]
    how = rng.randrange(4)
    if how == 0:
        data = mutated(rng, data)
    elif how == 1:  # the header alone, its length as it should be, or not
        header = mutated(rng, data[8 : 8 + length])
        data = struct.pack('<Q', rng.choice((len(header),) * 3 + (2**63, 2**64 - 1, 0))) + header + data[8 + length :]
    else:
        header = json.loads(data[8 : 8 + length])
        for _ in range(rng.choice((1, 2))):
            name = rng.choice([name for name in header if name != '__metadata__'] or ['x'])
            entry = dict(header[name]) if isinstance(header.get(name), dict) else {}
            key = rng.choice(('dtype', 'shape', 'data_offsets', 'name', 'card', 'more'))
            if key == 'dtype':
                entry[key] = rng.choice(('F64', 'BOOL', 'BF16', 'F8_E4M3', 'U64', 'F4', '', any_json(rng)))
            elif key == 'shape':
                entry[key] = rng.choice(([2**32, 2**32], [2**62, 0], [], [1] * 5000, [-1], any_json(rng)))
            elif key == 'data_offsets':
                entry[key] = rng.choice(([0, 24], [24, 0], [0, 2**63], [2**64, 2**65], [8, 40], any_json(rng)))
            elif key == 'name':
                header[rng.choice(('', '../x', '/x', 'x' * 100_000, '\0', '__metadata__'))] = entry
            elif key == 'card':
                header['__metadata__'] = rng.choice(
                    ({'card': json.dumps(any_json(rng))}, {'card': nested(rng)}, any_json(rng))
                )
            else:
                header[name + '.more'] = any_json(rng)
            header[name] = entry
        text = json.dumps(header)
        if rng.random() < 0.2:
            text = text[:-1] + ',' + text[1:]  # each key twice
        if rng.random() < 0.1:
            text = nested(rng)
        header = text.encode()
        data = struct.pack('<Q', len(header)) + header + data[8 + length :]
    path.write_bytes(data)
    return path


def use_weights(path: Path, folder: Path) -> list[str]:
    ways: list[Callable[[Path], object]] = [read_state_dict, import_weights, find]
    if path.suffix == '.pth':
        ways += [
            lambda path: CheckpointLoader.load_checkpoint(str(path), map_location='cpu'),
            lambda path: newest_whole(path.parent),
        ]
    return [outcome(lambda way=way: way(path), path.name) for way in ways]


def saved(content: Any, old: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not old)
    return file.getvalue()


@functools.lru_cache
def checkpoint(old: bool) -> bytes:
    config = "model = dict(type='GLEANRestorer', generator=dict(type='GLEAN', in_size=16))\n"
    return saved(dict(state_dict=tensors(), meta=dict(cfg=config, iter=3), optimizer=dict(state={}, lr=0.1)), old)


def random_opcodes(rng: Rng) -> bytes:
    """Opcodes one after another, with operands that are right mostly; the stack seldom is."""
    names = [
        ('os', 'system'),
        ('builtins', 'eval'),
        (CANARY, 'run'),
        ('torch', 'FloatStorage'),
        ('numpy', 'dtype'),
        ('torch._utils', '_rebuild_tensor_v2'),
        ('collections', 'OrderedDict'),
        ('numpy', 'ndarray'),
        ('numpy.core.multiarray', '_reconstruct'),
        ('numpy.core.multiarray', 'scalar'),
        ('_codecs', 'encode'),
        ('torch.storage', '_load_from_bytes'),
        ('torch_utils.persistence', '_reconstruct_persistent_obj'),
        ('dnnlib.tflib.network', 'Network'),
        ('argparse', 'Namespace'),
        ('torch', 'Size'),
        ('a' * 999, 'b.c'),
    ]
    result = bytearray(b'\x80' + bytes([rng.choice((2, 2, 3, 4, 5, 99))]))
    for _ in range(rng.choice((5, 20, 100))):
        opcode = rng.choice(pickletools.opcodes)
        if rng.random() < 0.3:
            result += 'c{}\n{}\n'.format(*rng.choice(names)).encode()
            result += rng.choice(
                (b')R', b'(K\x01tR', b'}b', b')\x81', b'X\x01\x00\x00\x00f\x85R', b'q\x00h\x00\x85R', b'')
            )
            continue
        result += opcode.code.encode('latin1')
        if opcode.arg is not None:
            size = opcode.arg.n
            if size > 0:
                result += rng.choice((rng.randbytes(size), bytes(size), b'\x01' + bytes(size - 1), b'\xff' * size))
            elif size == pickletools.UP_TO_NEWLINE:
                result += rng.choice((b'1\n', b'x\n', b'0\n', b"'a'\n", b'a\nb\n', b'9' * 9999 + b'\n', b'\n'))
            else:
                width = {
                    pickletools.TAKEN_FROM_ARGUMENT1: 1,
                    pickletools.TAKEN_FROM_ARGUMENT4: 4,
                    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
                    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
                }[size]
                text = rng.choice((b'', b'abc', b'f4', b'latin1', b'\xff' * 9))
                length = rng.choice((len(text),) * 4 + (2 ** (8 * width) - 1, 2 ** (8 * width - 1) - 1))
                result += length.to_bytes(width, 'little') + text
    return bytes(result) + b'.'


def bomb(rng: Rng) -> Any:
    """An object that refers to itself many times, or is nested deep."""
    thing: Any = rng.choice((1, 'x', ()))
    wrap: Callable[[Any], Any] = rng.choice(
        (
            lambda each: (each, each),
            lambda each: [each, each],
            lambda each: {'a': each, 'b': each},
            lambda each: (each,),
            lambda each: {'a': [each, each]},
        )
    )
    for _ in range(rng.choice((10, 25, 60, 90))):
        thing = wrap(thing)
    return {thing: 1} if isinstance(thing, tuple) and rng.random() < 0 else thing


def hash_bomb(depth: int) -> bytes:
    """A dict whose key is a tuple of tuples, each twice the one before it: hashing it takes 2^depth steps."""
    return b'\x80\x02}(' + b')' + b'2\x86' * depth + b'K\x01u.'


def own_pickle(rng: Rng, seeds: Sequence[bytes]) -> bytes:
    how = rng.randrange(5)
    if how == 0:
        return random_opcodes(rng)
    if how == 1:
        return rng.choice(
            (
                hash_bomb(rng.choice((5, 24, 60, 900))),
                b'\x80\x02' + b')' + b'\x85' * 20_000 + b'.',
                b'\x80\x02(' + b']' * 5000 + b't.',
                b'\x80\x02]q\x00h\x00ah\x00a.',
            )
        )
    if how == 2:
        state = {
            rng.choice(('_parameters', '_buffers', '_modules', 'variables', 'static_kwargs', 'components')): rng.choice(
                (any_json(rng), bomb(rng))
            )
        }
        record = dict(type='class', state=state)
        inner = pickle.dumps(record, 2)[2:-1]
        head = b'ctorch_utils.persistence\n_reconstruct_persistent_obj\n'
        one = rng.choice(
            (head + inner + b'\x85R', b'cdnnlib.tflib.network\nNetwork\n)\x81' + pickle.dumps(state, 2)[2:-1] + b'b')
        )
        return b'\x80\x02' + rng.choice(
            (b'}(X\x04\x00\x00\x00G_ema' + one + b'u.', b'(' + one * 3 + b't.', one + b'.')
        ).replace(b'\x04\x00\x00\x00G_ema', b'\x05\x00\x00\x00G_ema')
    if how == 3:
        try:
            return pickle.dumps(rng.choice((any_json(rng), bomb(rng), dict(G_ema=bomb(rng)))), rng.choice((0, 2, 4)))
        except (ValueError, RecursionError):  # more digits than Python writes, or too deep for it
            return b'\x80\x02.'
    return mutated(rng, rng.choice(seeds), seeds)


@functools.lru_cache
def nvlabs() -> tuple[bytes, ...]:
    return tuple(
        (DATA / f'nvlabs_{name}.pkl').read_bytes()
        for name in ('stylegan2_torch', 'stylegan2_tensorflow', 'stylegan_tensorflow')
    )


def make_pkl(rng: Rng, folder: Path) -> Path:
    path = folder / 'x.pkl'
    path.write_bytes(own_pickle(rng, nvlabs()))
    return path


def rezipped(rng: Rng, data: bytes) -> bytes:
    """A zip whose entries are others: names, doubles, sizes, compression; its pickle is another."""
    given = zipfile.ZipFile(io.BytesIO(data))
    file = io.BytesIO()
    packed = rng.choice(
        (zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)
    )
    how = rng.randrange(7)
    with zipfile.ZipFile(file, 'w', packed) as made:
        for entry in given.namelist():
            content, name = given.read(entry), entry
            if how == 0 and rng.random() < 0.3:
                name = rng.choice(('../../../tmp/x', '/tmp/canary', 'a\\..\\b', 'x' * 60_000, entry + '/', 'data.pkl'))
            if how in (1, 2) and entry.endswith('data.pkl'):
                content = own_pickle(rng, [content])
            if how == 3 and '/data/' in entry:
                content = bytes(rng.choice((0, 1, 1 << 24))) if packed else content[:5]
            if how == 4 and entry.endswith('data.pkl'):  # sizes, strides and storages of tensors
                content = content.replace(
                    b'K\x02K\x03\x86',
                    rng.choice(
                        (
                            b'J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86',
                            b'K\x02J\xff\xff\xff\xff\x86',
                            b'K\x02K\x63\x86',
                            b'K\x02\x85',
                        )
                    ),
                )
                content = content.replace(
                    b'K\x03K\x01\x86',
                    rng.choice(
                        (
                            b'K\x00K\x00\x86',
                            b'J\xff\xff\xff\xffK\x01\x86',
                            b'K\x03K\x01\x86',
                            b'J\x00\x00\x00\x40K\x01\x86',
                        )
                    ),
                )
                content = content.replace(b'cpuq', rng.choice((b'cpuq', b'xpuq', b'../q')))
            made.writestr(name, content)
            if how == 5 and rng.random() < 0.5:
                made.writestr(name, own_pickle(rng, [content]))
    result = bytearray(file.getvalue())
    if how == 6:  # the central directory lies
        at = result.find(b'PK\x01\x02')
        for _ in range(rng.choice((1, 3))):
            position = at + rng.choice((10, 12, 16, 20, 24, 28, 30, 32, 36, 38, 42, 46))
            result[position : position + 4] = struct.pack('<I', rng.choice(EXTREMES) & 0xFFFFFFFF)
            at = result.find(b'PK\x01\x02', at + 4) if rng.random() < 0.5 else at
    return bytes(result)


def make_pth(rng: Rng, folder: Path) -> Path:
    path = folder / rng.choice(('x_1.pth', 'x_1.pth', 'x.pt'))
    how = rng.randrange(5)
    if how == 0:
        data = rezipped(rng, checkpoint(False))
    elif how == 1:
        published = [(DATA / name).read_bytes() for name in ('rosinality_stylegan2.pt', 'ajbrock_biggan.pth')]
        data = mutated(rng, rng.choice(published), published)
    elif how == 2:
        data = saved(strange_state(rng))
    elif how == 3:
        (folder / 'last_checkpoint').write_bytes(mutated(rng, b'/nowhere/work/iter_3.pth'))
        data = mutated(rng, checkpoint(False))
    else:
        data = rezipped(rng, checkpoint(False))
    path.write_bytes(data)
    return path


def strange_state(rng: Rng) -> Any:
    """Valid files of PyTorch's whose content is no network's, or one's whose parts are of another kind."""
    known = rng.choice(
        (
            {
                'constant_input.input': 4,
                'conv1.conv.style_modulation.bias': 1,
                'to_rgbs.0.x': 1,
                'style_mapping.1.linear.weight_orig': 2,
            },
            {
                'noise2feat.bias': 1,
                'conv_blocks.0.shortcut.conv.bias': 1,
                'shared_embedding.weight': 2,
                'noise2feat.weight': 2,
            },
            {
                'synthesis.b4.const': 3,
                'synthesis.b4.conv1.affine.bias': 1,
                'mapping.fc0.weight': 2,
                'synthesis.b999999.conv1.bias': 1,
            },
            {'convs.0.0.conv.weight_orig': 4, 'final_linear.1.linear.weight_orig': 2, 'convs.0.1.bias': 1},
            {
                'synthesis.early_layer.const': 4,
                'synthesis.layer0.style.bias': 1,
                'synthesis.layer' + '9' * 5000 + '.bias': 1,
            },
        )
    )
    state: dict[str, Any] = {}
    for name, dimensions in known.items():
        state[name] = torch.zeros([2] * rng.choice((dimensions, dimensions, 0, 1, 6)))
        if rng.random() < 0.2:
            state[name] = rng.choice(
                (
                    lambda: torch.zeros(1).expand(2**20, 2**20),
                    lambda: torch.zeros(2, 2).to_sparse(),
                    lambda: bomb(rng),
                    lambda: torch.zeros(2, device='meta'),
                    lambda: torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8),
                    lambda: any_json(rng, 1),
                    lambda: torch.zeros(2, dtype=torch.complex64),
                    lambda: np.zeros(3, '>f4'),
                )
            )()
    state = {name: value for name, value in state.items() if not isinstance(value, int) or abs(value) < 2**63}
    top = rng.choice(('', 'state_dict', 'g_ema', 'generator_ema'))
    return {top: state} if top else state


def make_old(rng: Rng, folder: Path) -> Path:
    path = folder / 'x.pth'
    data = checkpoint(True)
    if rng.random() < 0.4:  # its fourth pickle is the content
        head, tail = data[: data.index(b'}')], data[-200:]
        data = head + own_pickle(rng, [data]) + tail
    path.write_bytes(mutated(rng, data) if rng.random() < 0.8 else data)
    return path


# Cards, bounds, manifests and configs.


def make_card(rng: Rng, folder: Path) -> Path:
    path = folder / 'x.json'
    content: Any = dict(CARD, extra={}, sha256='0' * 64, size=3)
    for _ in range(rng.choice((1, 2, 4))):
        content[rng.choice((*content, 'more'))] = any_json(rng)
    how = rng.randrange(8)
    if how == 0:
        content = any_json(rng)
    for name in ('x.json', 'bounds.json', 'run.json'):
        given = (
            dict(weights='x', figures={'a': dict(side='low', bound=1, used=True)}, side=64)
            if name[0] == 'b'
            else content
        )
        if name[0] == 'b':
            given[rng.choice((*given, 'figures'))] = any_json(rng)
        if name[0] == 'r':
            given = {'run': any_json(rng)} if rng.random() < 0.8 else any_json(rng)
        text = digits(given)
        if how == 1:
            text = nested(rng)
        (folder / name).write_bytes(mutated(rng, text.encode()) if how < 4 and how != 1 else text.encode())
    return path


def digits(value: Any) -> str:
    """JSON with as many digits as the numbers have, which Python itself does not write."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return json.dumps(value)
    finally:
        sys.set_int_max_str_digits(before)


def use_card(path: Path, folder: Path) -> list[str]:
    weights = folder / 'w.safetensors'
    text = path.read_bytes().decode('utf-8', 'replace').encode('utf-8', 'replace').decode()
    weights.write_bytes(save({'a': torch.zeros(1)}, metadata=dict(card=text)))
    bounds = bounds_path(weights)
    bounds.parent.mkdir()
    (folder / 'bounds.json').rename(bounds)
    return [
        outcome(lambda: read_card(path), path.name),
        outcome(lambda: find(weights), weights.name),
        outcome(lambda: read_bounds(weights), bounds.name),
        outcome(lambda: manifest.goes_on(folder / 'run.json', dict(run=dict(model='x'))), 'run.json'),
    ]


def expression(rng: Rng, depth: int = 3) -> str:
    kind = rng.randrange(14 if depth else 8)
    if kind < 8:
        return rng.choice(
            (
                '1',
                '-1',
                '1e999',
                'None',
                "'x'",
                '2**99999999',
                '10**10**10',
                f"__import__('{CANARY}')",
                'x',
                'dict',
                '1+2j',
                "'a' * 10**10",
                '[0] * 10**10',
                "f'{1}'",
                '(lambda: 1)()',
                '...',
                '{1, 2}',
                '9' * 5000,
                "b'x'",
                "'\\N{DIGIT ONE}'",
            )
        )
    parts = [expression(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == 8:
        return f'[{", ".join(parts)}]'
    if kind == 9:
        return f'({", ".join(parts)})'
    if kind == 10:
        return f'dict({", ".join(parts)})'
    if kind == 11:
        return f'{{{", ".join(f"{part}: 1" for part in parts)}}}'
    if kind == 12:
        return f'dict(**{parts[0] if parts else {}}, _scope_={CANARY!r}, type={CANARY!r})'
    name = rng.choice(('subprocess.call', 'GLEAN', f'{CANARY}.run'))
    return f'dict(type={name!r}, generator={parts[0] if parts else 1}, in_size=1)'


def make_config(rng: Rng, folder: Path) -> Path:
    how = rng.randrange(6)
    if how == 0:
        text = f'model = {expression(rng)}\n'
    elif how == 1:
        depth = rng.choice((90, 500, 20_000))
        one, end = rng.choice([
            ('[', ']'), ('(', ')'), ('{1:', '}'), ('dict(a=', ')'), ('-', ''), ('not ', ''), ('1+', ''),
        ])  # fmt: skip
        text = f'model = {one * depth}1{end * depth}\n'
    elif how == 2:
        text = rng.randbytes(99).decode('latin1')
    else:
        part = rng.choice(('encoder', 'bank', 'decoder', '_scope_', 'in_size', 'type'))
        text = (
            f'model = dict(type="GLEANRestorer", generator=dict(type="GLEAN", in_size=16, {part}={expression(rng)}))\n'
        )
        if how == 3:
            text = mutated(rng, text.encode()).decode('utf-8', 'replace')
    path = folder / 'x.pth'
    path.write_bytes(saved(dict(state_dict=tensors(), meta=dict(cfg=text))))
    return path


def use_config(path: Path, folder: Path) -> list[str]:
    text = torch.load(path, weights_only=True)['meta']['cfg']
    return [outcome(lambda: find(path), path.name), outcome(lambda: literal(text, 'model', path.name), path.name)]


# Pictures.


@functools.lru_cache
def pictures() -> dict[str, bytes]:
    values = np.random.default_rng(0)
    colours = Image.fromarray(values.integers(0, 256, (20, 24, 3), dtype=np.uint8))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, 'x'
    found = {}

    def add(name: str, image: Image.Image, form: str, **options: Any) -> None:
        file = io.BytesIO()
        image.save(file, form, **options)
        found[name] = file.getvalue()

    add('png', colours, 'PNG', icc_profile=profile, exif=exif, dpi=(72, 72))
    add('palette.png', colours.convert('P'), 'PNG', transparency=3)
    add('deep.png', Image.fromarray(values.integers(0, 65536, (20, 24), dtype=np.uint16)), 'PNG')
    add('animated.png', colours, 'PNG', save_all=True, append_images=[colours.rotate(90)])
    add('jpg', colours, 'JPEG', icc_profile=profile, exif=exif, dpi=(72, 72))
    add('progressive.jpg', colours, 'JPEG', progressive=True)
    add('cmyk.jpg', colours.convert('CMYK'), 'JPEG', icc_profile=profile)
    add('webp', colours, 'WEBP', icc_profile=profile, exif=exif)
    add('lossless.webp', colours.convert('RGBA'), 'WEBP', lossless=True)
    add('tif', colours, 'TIFF', compression='tiff_lzw', icc_profile=profile)
    add('deflate.tif', colours, 'TIFF', compression='tiff_adobe_deflate')
    add('deep.tif', Image.fromarray(values.integers(0, 65536, (20, 24), dtype=np.uint16)), 'TIFF')
    add('bmp', colours, 'BMP')
    add('gif', colours.convert('P'), 'GIF')
    add('ppm', colours, 'PPM')
    add('tga', colours, 'TGA', compression='tga_rle')
    add('jp2', colours, 'JPEG2000')
    found['deep.ppm'] = b'P5 24 20 65535\n' + values.bytes(960)
    found['eps'] = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 24 20\n%%EndComments\nshowpage\n'
    return found


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(data):
        size = struct.unpack('>I', data[at : at + 4])[0]
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


def make_png(rng: Rng, data: bytes) -> bytes:
    """Chunks with right checksums, whose content, order and number are not."""
    chunks = png_chunks(data)
    for _ in range(rng.choice((1, 2, 3))):
        index = rng.randrange(len(chunks))
        name, content = chunks[index]
        how = rng.randrange(6)
        if how == 0:
            chunks[index] = (name, mutated(rng, content) if content else rng.randbytes(9))
        elif how == 1:
            chunks[index:index] = [chunks[index]] * rng.choice((1, 3, 300))
        elif how == 2:
            side = rng.choice((0, 1, 24, 3000, 50_000, 2**31 - 1, 2**32 - 1))
            head = struct.pack(
                '>IIBB', side, rng.choice((side, 1, 20)), rng.choice((1, 8, 16, 3)), rng.choice((0, 2, 3, 6))
            )
            chunks[0] = (b'IHDR', head + bytes(3))
        elif how == 3:
            text = rng.choice((zlib.compress(bytes(50 << 20)), zlib.compress(b'x'), b'\xff' * 99, b''))
            chunks.insert(
                1,
                rng.choice(
                    (
                        (b'zTXt', b'a\0\0' + text),
                        (b'iCCP', b'a\0\0' + text),
                        (b'tEXt', b'\xff\0' + text),
                        (b'iTXt', b'../k\0\1\0\0\0' + text),
                    )
                ),
            )
        elif how == 4:
            chunks.insert(
                1,
                rng.choice(
                    (
                        (b'pHYs', b'\xff' * 8 + b'\1'),
                        (b'acTL', struct.pack('>II', 2**31 - 1, 0)),
                        (b'eXIf', mutated(rng, b'Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0')),
                        (b'tRNS', rng.randbytes(7)),
                        (b'PLTE', rng.randbytes(8)),
                    )
                ),
            )
        else:
            del chunks[index]
            chunks = chunks or [(b'IEND', b'')]
    return data[:8] + b''.join(
        struct.pack('>I', len(each)) + name + each + struct.pack('>I', zlib.crc32(name + each)) for name, each in chunks
    )


def make_picture(rng: Rng, folder: Path) -> Path:
    name = rng.choice(sorted(pictures()))
    data = pictures()[name]
    path = folder / f'x.{rng.choice((name, "png"))}'
    if name.endswith('png') and rng.random() < 0.6:
        path.write_bytes(make_png(rng, data))
    elif name == 'eps' or rng.random() < 0.02:
        path.write_bytes(data)
    else:
        path.write_bytes(mutated(rng, data, list(pictures().values())))
    return path


def use_picture(path: Path, folder: Path) -> list[str]:
    found: list[Any] = []
    outcomes = [outcome(lambda: found.append(read(path))), outcome(lambda: decode(path.read_bytes()))]
    if found and found[0].image.size < 100_000:
        image, meta = found[0].image, found[0].meta
        for ending in ('.png', '.jpg', '.webp', '.tif'):
            target = folder / f'y{ending}'
            outcomes.append(outcome(lambda target=target: write(target, [image], image.shape, image.dtype.name, meta)))
    return [f'{each} (picture)' if each == 'read' else each for each in outcomes]


def pixels(path: Path) -> int:
    """That its header tells, up to PIL's limit."""
    try:
        with Image.open(path) as image:
            return min(image.width * image.height, 2 * (Image.MAX_IMAGE_PIXELS or 0))
    except Exception:  # what is no picture has none
        return 0


def npy_header(rng: Rng) -> bytes:
    shape = rng.choice(
        (
            '(3, 8, 8)',
            '(1, 3, 8, 8)',
            '(3, 100000000, 1000000)',
            '(-1, 8, 3)',
            '(8, 8, 3)',
            '()',
            '(0, 3, 3)',
            '(3,)',
            '8',
            '(' * 300,
            '(9999999999999999999999, 1, 3)',
        )
    )
    kind = rng.choice(
        ("'|u1'", "'|O'", "'<f8'", "[('a', '|O')]", "'|V4000000000'", '1', "'|u1'", f'__import__("{CANARY}")')
    )
    text = (
        f"{{'descr': {kind}, 'fortran_order': {rng.choice(('False', 'True', '1'))}, 'shape': {shape}, }}".ljust(117)
        + '\n'
    )
    return (
        b'\x93NUMPY'
        + rng.choice((b'\1\0', b'\1\0', b'\2\0', b'\3\0', b'\x09\0'))
        + struct.pack('<H', len(text))
        + text.encode()
    )


def make_array(rng: Rng, folder: Path) -> Path:
    file = io.BytesIO()
    packed = rng.random() < 0.6
    if packed:
        np.savez_compressed(
            file,
            **(dict(mu=np.zeros(4), sigma=np.eye(4)) if rng.random() < 0.5 else dict(a=np.zeros((3, 8, 8), np.uint8))),
        )
        if rng.random() < 0.3:
            file = io.BytesIO()
            with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
                for name in rng.choice((('mu.npy', 'sigma.npy'), ('a.npy',), ('../../mu.npy', '/sigma.npy'))):
                    archive.writestr(name, npy_header(rng) + bytes(rng.choice((0, 192, 30 << 20))))
    else:
        np.save(file, rng.choice((np.zeros((3, 8, 8), np.uint8), np.array([{}], object))), allow_pickle=True)
    data = file.getvalue()
    how = rng.randrange(3)
    if how == 0 and not packed:
        data = npy_header(rng) + bytes(192)
    elif how == 1:
        data = mutated(rng, data)
    path = folder / ('x.npz' if packed else 'x.npy')
    path.write_bytes(data)
    return path


def use_array(path: Path, folder: Path) -> list[str]:
    return [
        outcome(lambda: decode(path.read_bytes())),
        outcome(lambda: FIDMetric(reference=str(path), features='stlpips-alex'), path.name, (ValueError,)),
    ]


# What a command line says, and names.


@functools.lru_cache
def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    add_common_arguments(made)
    return made


def make_overrides(rng: Rng, folder: Path) -> list[str]:
    keys = [
        'model',
        'model.generator',
        'train_cfg.max_iters',
        'hooks.0.type',
        'hooks.9',
        'hooks.x',
        '_base_',
        'model._delete_',
        '_delete_',
        'a' * 9000,
        'a.' * 3000 + 'b',
        '',
        '.',
        '..',
        '__class__',
        '__init__.__globals__',
        'x y',
        'filename',
        'custom_imports.imports',
        'text',
        '\ud800',
        '_cfg_dict',
        'pop',
        'model.keys',
        'work_dir',
        '{{fileDirname}}',
    ]
    values = [
        '1',
        'None',
        '',
        'True',
        f"__import__('{CANARY}').run()",
        '[1,(2,3)]',
        '[' * 3000 + ']' * 3000,
        '[(])',
        '(',
        ')(',
        ',' * 3000,
        '1' * 9000,
        '1e999',
        'dict(a=1)',
        '{"a": 1}',
        f'[{CANARY}]',
        '$(touch x)',
        '../../x',
        '"',
        "'",
        '[' * 150 + '1' + ']' * 150,
        '(1,' * 90 + ')' * 90,
        '{{$HOME:1}}',
    ]
    given = [
        f'{rng.choice(keys)}{rng.choice(("=", "=", "=", "=", "", "=="))}{rng.choice(values)}'
        for _ in range(rng.choice((1, 2, 3)))
    ]
    if rng.random() < 0.3:
        given = [mutated(rng, each.encode('utf-8', 'replace')).decode('latin1') for each in given]
    return [each if not each.startswith('-') else f'a{each}' for each in given]


CONFIG = dict(
    model=dict(type='GLEAN', generator=dict(a=1)), train_cfg=dict(max_iters=3), hooks=[dict(type='A'), dict(type='B')]
)


def use_overrides(given: list[str], folder: Path) -> list[str]:
    def load() -> None:
        said = io.StringIO()
        try:
            with redirect_stderr(said):
                args = parser().parse_args(['config.py', '--cfg-options', *given])
                apply_overrides(Config(copy.deepcopy(CONFIG)), args.cfg_options)
        except SystemExit as ended:
            raise WeightsError(ended.code if isinstance(ended.code, str) else said.getvalue()) from ended

    return [outcome(load, '--cfg-options').replace('WeightsError', 'SystemExit')]


NAMES = [
    'a',
    '..a',
    'a..',
    '-rf',
    '$(touch x)',
    'a\nb',
    '\udcff',
    'x.png',
    '%2e%2e',
    'a\\b',
    '*',
    '[a]',
    '~',
    'CON',
    'a' * 200,
]


def make_names(rng: Rng, folder: Path) -> tuple[str, str]:
    """A folder with names, links and pipes that would lead elsewhere, a folder of results, and a URL."""
    (folder / 'elsewhere').mkdir()
    put = folder / 'in'
    put.mkdir()
    out = folder / 'out'
    out.mkdir()
    for _ in range(rng.choice((1, 3, 6))):
        place = put / rng.choice(('', 'sub', 'sub/sub'))
        place.mkdir(parents=True, exist_ok=True)
        path = place / f'{rng.choice(NAMES)}{rng.choice((".png", ".PNG", ".jpg", ".mp4", ""))}'
        if path.exists() or path.is_symlink():
            continue
        how = rng.randrange(7)
        if how == 0:
            path.symlink_to(rng.choice(('/etc/passwd', '..', '../..', '/', '/dev/zero', path.name, '../elsewhere')))
        elif how == 1:
            os.mkfifo(path)
        else:
            path.write_bytes(pictures()['png'])
    if rng.random() < 0.4:
        (out / rng.choice(('sub', 'compare', 'report'))).symlink_to(
            rng.choice((folder / 'elsewhere', folder / 'nothing'))
        )
    if rng.random() < 0.4:
        (out / f'{rng.choice(NAMES)}.png').symlink_to(folder / 'elsewhere' / 'x')
    listed = put / 'val'
    listed.mkdir()
    for number in (1, 2):
        (listed / f'ILSVRC2012_val_{number:08d}.JPEG').write_bytes(pictures()['jpg'])
    wnids = [rng.choice(('n00000001', '../../x', '/etc', '..', 'n00000001/../..', '.', 'a/b')) for _ in range(2)]
    rows = ''.join(f'ILSVRC2012_val_{number:08d},{wnid} 1 2 3 4\n' for number, wnid in enumerate(wnids, 1))
    (put / 'LOC_val_solution.csv').write_text('ImageId,PredictionString\n' + rows)
    url = rng.choice(
        ('https://h', 'http://h', 'https://[::1', 'ftp://h', 'https://', 'HTTPS://h:x', 'file:///', '//h', '')
    )
    url += rng.choice(('/', '')) + rng.choice(
        (
            '..',
            '.',
            '',
            'a/..',
            '..%2f..%2fx',
            'a\\..\\b',
            'a\0b',
            'x.pth?y=/../z',
            'C:x',
            'x.pth',
            'a' * 300,
            '\ud800',
            '#/..',
            'a/../../x',
        )
    )
    pattern = rng.choice(('in', 'in/*', 'in/**/*', 'in/*/../*', 'in/*/../../in/*'))
    return f'{folder}/{pattern}', url


def use_names(given: tuple[str, str], folder: Path) -> list[str]:
    pattern, url = given
    out = folder / 'out'

    def targets() -> None:
        for job in find_jobs(pattern, out).jobs:
            if job.source.is_file():
                job.source.read_bytes()
            for path in (job.target, job.compare, job.report, job.faces / 'face.png'):
                if not path.resolve().parent.is_relative_to(out.resolve()) and not path.is_symlink():
                    raise Finding(f'{path} is outside of {out}')
                write_whole(path, b'x')
        if [*(folder / 'elsewhere').iterdir()]:
            raise Finding(f'{[*(folder / "elsewhere").iterdir()]} was written')

    def cached() -> None:
        path = cached_path(url, folder / 'cache')
        if path.parent != folder / 'cache' or path.name in ('', '.', '..'):
            raise Finding(f'{url!r} is cached at {path}')

    def listing() -> None:
        for item in listing_of(folder / 'in', Settings.of('imagenet-val')).items:
            if not (folder / 'GT' / item.name).resolve().is_relative_to(folder / 'GT'):
                raise Finding(f'{item} is outside of the set')

    os.environ['GLEAN_PLUS_OFFLINE'] = '1'
    return [outcome(targets, errors=(RestoreError, OSError)), outcome(cached), outcome(listing)]


KINDS = {
    'safetensors': Kind(make_safetensors, use_weights),
    'pth': Kind(make_pth, use_weights),
    'old pth': Kind(make_old, use_weights),
    'pkl': Kind(make_pkl, use_weights),
    'card': Kind(make_card, use_card),
    'config': Kind(make_config, use_config),
    'picture': Kind(make_picture, use_picture, pixels),
    'array': Kind(make_array, use_array),
    'overrides': Kind(make_overrides, use_overrides),
    'names': Kind(make_names, use_names),
}
