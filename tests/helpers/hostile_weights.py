"""Hostile weight files: safetensors, pickles in each of their containers."""

from __future__ import annotations

import functools
import io
import json
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import save

from glean_plus.inference.source import find
from glean_plus.training.hooks.checkpoints import newest_whole
from glean_plus.weights import import_weights, read_state_dict

from hostile_bytes import CANARY, DATA, EXTREMES, Rng, any_json, mutated, nested, outcome


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
