"""Hostile files end in a sentence: nothing crashes, hangs, swallows the memory, runs, or is written elsewhere."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from safetensors.torch import save_file

from glean_plus.inference import RestoreError
from glean_plus.inference.jobs import find_jobs
from glean_plus.inference.read import read
from glean_plus.inference.source import find, literal
from glean_plus.inference.thresholds import bounds_path, read_bounds
from glean_plus.prepare.decode import PictureError, decode
from glean_plus.prepare.files import images_below
from glean_plus.prepare.items import DataError, Item, refuse_outside
from glean_plus.training import newest_whole
from glean_plus.utils.files import write_whole
from glean_plus.weights import WeightsError, import_weights, read_card, read_state_dict
from glean_plus.weights.fetch import cached_path
from glean_plus.weights.integrity import damage
from glean_plus.weights.limits import check_pickle
from glean_plus.weights.resources import ConfigError, apply_overrides

from fuzzing import Kind, run
from hostile_bytes import outcome
from hostile_cases import KINDS
from hostile_commands import parser
from hostile_weights import hash_bomb

# Another one in each run, unless it is given: of the cases below, half are new each time.
SEED = int(os.environ.get('GLEAN_PLUS_HOSTILE_SEED') or random.SystemRandom().randrange(10**9))

# Kind -> cases of every run of the tests, and of the soak.
CASES = {
    'safetensors': (60, 6500), 'pth': (30, 800), 'old pth': (30, 800), 'pkl': (30, 800), 'card': (60, 3500),
    'config': (60, 3000), 'network': (10, 200), 'picture': (60, 2000), 'array': (40, 1500), 'overrides': (60, 2000),
    'names': (20, 500),
}  # fmt: skip


def check(name: str, numbers: range) -> None:
    report = run(name, numbers, KINDS)
    print(f'{name}: {report}')
    again = f'GLEAN_PLUS_HOSTILE_SEED={SEED}, or: cd tests; python fuzzing.py {name!r} {numbers.start} {numbers.stop}'
    assert not report.findings, '\n'.join([*report.findings[:5], again])
    assert report.cases == len(numbers)


@pytest.mark.parametrize('name', CASES)
def test_hostile_files(name: str) -> None:
    check(name, range(CASES[name][0] // 2))


@pytest.mark.parametrize('name', CASES)
def test_new_hostile_files(name: str) -> None:
    """So that faults that nobody has thought of are found sooner or later, and the soak cannot rot."""
    print(f'GLEAN_PLUS_HOSTILE_SEED={SEED}')
    first = 10**6 + SEED * 1000
    check(name, range(first, first + CASES[name][0] // 2))


@pytest.mark.soak
@pytest.mark.parametrize('name', CASES)
def test_hostile_files_by_the_thousand(name: str) -> None:
    assert sum(many for _, many in CASES.values()) >= 20_000
    check(name, range(CASES[name][1]))


def escape(folder: Path) -> list[str]:
    (folder.parent.parent / 'escaped').write_text('x')
    return []


MISDEEDS: dict[str, tuple[Callable[[Path], Any], str]] = {
    'writes elsewhere': (escape, 'open .*escaped'),
    'begins a process': (lambda folder: subprocess.run(['true'], check=False), r'subprocess\.Popen'),
    'runs a command': (lambda folder: os.system('true'), r'os\.system'),
    'runs text': (lambda folder: exec(compile('x = 1', 'stranger', 'exec'), {}), 'exec .*stranger'),
    'reads a pickle': (lambda folder: pickle.loads(pickle.dumps(os.getcwd)), r'pickle\.find_class'),
    'is another error': (lambda folder: {}['x'], 'KeyError'),
    'takes memory': (lambda folder: bytearray(b'x') * (700 << 20) and [], 'MB of memory, where 512 are the bound'),
    'ends the process': (lambda folder: os.abort(), 'SIGABRT'),
}


@pytest.mark.parametrize('misdeed', MISDEEDS)
def test_the_watch_sees(misdeed: str) -> None:
    """Were it blind, the tests above would find nothing, either; the case behind the bad one is opened all the same."""
    do, seen = MISDEEDS[misdeed]
    kinds = {'x': Kind(lambda rng, folder: rng.random(), lambda thing, folder: (do(folder) and []) or ['done'])}
    report = run('x', range(2), kinds)
    assert report.cases == 2 and len(report.findings) == 2
    found = ' '.join(report.findings[0].split())
    assert re.search(seen, found), found


def test_a_case_is_made_again_by_its_number(tmp_path: Path) -> None:
    made = []
    for name in ('a', 'b'):
        (tmp_path / name).mkdir()
        path = KINDS['pth'].make(random.Random('pth 3'), tmp_path / name)
        made.append((path.name, path.stat().st_size))
    assert made[0] == made[1]


# What was found so, one by one.


def test_a_tuple_that_holds_itself_twice_over_is_not_hashed(tmp_path: Path) -> None:
    for name, write in (('x.pkl', lambda data: data), ('x.pth', in_zip)):
        (tmp_path / name).write_bytes(write(hash_bomb(60)))
        with pytest.raises(WeightsError, match=rf'{name}.* unfolds to more than'):
            read_state_dict(tmp_path / name)


def in_zip(content: bytes) -> bytes:
    """A file of PyTorch's with another pickle."""
    file = io.BytesIO()
    torch.save({'a': torch.zeros(1)}, file)
    given, made = zipfile.ZipFile(file), io.BytesIO()
    with zipfile.ZipFile(made, 'w') as archive:
        for entry in given.namelist():
            archive.writestr(entry, content if entry.endswith('data.pkl') else given.read(entry))
    return made.getvalue()


def test_a_tuple_that_is_nested_deep_does_not_end_the_interpreter() -> None:
    with pytest.raises(pickle.UnpicklingError, match='more than 500 deep'):
        check_pickle(io.BytesIO(b'\x80\x02})' + b'\x85' * 200_000 + b'K\x01s.'))


def test_an_object_with_a_large_number_takes_no_memory() -> None:
    with pytest.raises(pickle.UnpicklingError, match='numbers an object 2,147,483,647'):
        check_pickle(io.BytesIO(b'\x80\x02]r\xff\xff\xff\x7f.'))


def test_what_unfolds_little_is_read() -> None:
    shared = ('cpu', 1)
    for protocol in (0, 2, 5):
        file = io.BytesIO(pickle.dumps({i: [shared, {'a': shared}] for i in range(100)}, protocol) + b'rest')
        check_pickle(file)
        assert file.read() == b'rest'


def test_a_tensor_that_is_repeated_is_not_copied(tmp_path: Path) -> None:
    torch.save({'a': torch.zeros(1).expand(1 << 20, 1 << 20)}, tmp_path / 'x.pth')
    with pytest.raises(WeightsError, match=r'x\.pth has tensors of more than'):
        read_state_dict(tmp_path / 'x.pth')


@pytest.mark.parametrize('make', [
    lambda: torch.zeros(2, 2).to_sparse(), lambda: torch.zeros(2, device='meta'),
    lambda: torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8),
])  # fmt: skip
@pytest.mark.filterwarnings('ignore:.*quantized tensor creation')
def test_a_tensor_without_values_is_named(make: Callable[[], torch.Tensor], tmp_path: Path) -> None:
    torch.save({'part': {'a': make()}}, tmp_path / 'x.pth')
    with pytest.raises(WeightsError, match=r'x\.pth (has part\.a in a sparse|is no PyTorch file)'):
        read_state_dict(tmp_path / 'x.pth')


@pytest.mark.parametrize('kind', [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_packed_checkpoint_is_not_unpacked(kind: int, tmp_path: Path) -> None:
    path = tmp_path / 'iter_1.pth'
    with zipfile.ZipFile(path, 'w', kind) as archive:
        archive.writestr('x/data.pkl', bytes(200 << 20))
    for refuse in (
        read_state_dict,
        lambda path: pytest.fail(damage(path)) if not damage(path) else read_state_dict(path),
    ):
        with pytest.raises(WeightsError, match=r'bytes are to become 209,715,200'):
            refuse(path)
    assert newest_whole(tmp_path) is None


def test_numbers_in_another_order_of_bytes_are_read(tmp_path: Path) -> None:
    network = b'cdnnlib.tflib.network\nNetwork\n)\x81'
    state = dict(variables=[('a', np.arange(3, dtype='>f4'))])
    (tmp_path / 'x.pkl').write_bytes(b'\x80\x02' + network + pickle.dumps(state, 2)[2:-1] + b'b.')
    with pytest.raises(
        WeightsError, match=r'x\.pkl holds no tensors'
    ):  # of PyTorch's kind; and it does not fail before
        read_state_dict(tmp_path / 'x.pkl')
    three = b'\x80\x02(' + 3 * (network + pickle.dumps(state, 2)[2:-1] + b'b') + b't.'
    (tmp_path / 'x.pkl').write_bytes(three)
    assert read_state_dict(tmp_path / 'x.pkl')['Gs.a'].tolist() == [0, 1, 2]


@pytest.mark.parametrize('state', [
    {'_modules': 3}, {'_parameters': [1]}, {'_buffers': 'x'}, {1: 2}, {'components': 5},
    {'variables': [('a', [[], 1])]},
])  # fmt: skip
@pytest.mark.parametrize('networks', [1, 3])
def test_a_network_of_other_parts_is_named(state: dict, networks: int, tmp_path: Path) -> None:
    one = b'cdnnlib.tflib.network\nNetwork\n)\x81' + pickle.dumps(state, 2)[2:-1] + b'b'
    (tmp_path / 'x.pkl').write_bytes(b'\x80\x02' + (one if networks == 1 else b'(' + 3 * one + b't') + b'.')
    with pytest.raises(WeightsError, match=r'x\.pkl'):
        import_weights(tmp_path / 'x.pkl')


def test_keys_with_numbers_that_are_none_are_named(tmp_path: Path) -> None:
    for number in ('9' * 5000, '999999'):
        state = {name: torch.zeros(2) for name in ('synthesis.b4.const', 'synthesis.b4.conv1.affine.bias')}
        torch.save(state | {f'synthesis.b{number}.conv1.bias': torch.zeros(2)}, tmp_path / 'x.pth')
        with pytest.raises(WeightsError, match=r'x\.pth is NVlabs StyleGAN2 \(PyTorch\), but synthesis') as caught:
            import_weights(tmp_path / 'x.pth')
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize('text', ['[1]', '{', '[' * 100_000, '{"kind": "restorer", "colour_order": 7}', '"x"'])
def test_a_card_in_a_file_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / 'x.safetensors'
    save_file({'a': torch.zeros(1)}, path, metadata=dict(card=text))
    with pytest.raises(WeightsError, match=r'card in .*x\.safetensors'):
        find(path)


@pytest.mark.parametrize(
    'change', ['"name": 3', '"value_range": 3', '"value_range": [1, "x"]', '"sha256": {}', '"url": []']
)
def test_a_card_of_other_kinds_is_named(change: str, tmp_path: Path) -> None:
    card = f'{{"name": "x", "kind": "bank", "data": "x", "licence": "x", "colour_order": "rgb", {change}}}'
    (tmp_path / 'x.json').write_text(card)
    with pytest.raises(WeightsError, match=r'x\.json is no card: '):
        read_card(tmp_path / 'x.json')


@pytest.mark.parametrize('text', ['[' * 100_000, '{"weights": "", "figures": {}, "side": Infinity}'])
def test_bounds_of_a_stranger_are_named(text: str, tmp_path: Path) -> None:
    path = bounds_path(tmp_path / 'x.safetensors')
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(RestoreError, match=r'x\.json holds no bounds'):
        read_bounds(tmp_path / 'x.safetensors')


@pytest.mark.parametrize('value', ['{[1]: 2}', 'dict(1)', '[' * 250 + ']' * 250, '-' * 50_000 + '1', '\0'])
def test_a_config_that_is_no_value_is_named(value: str) -> None:
    with pytest.raises(RestoreError, match=r'The config in x\.pth'):
        literal(f'model = {value}', 'model', 'x.pth')


def test_a_generator_that_is_no_dict_is_named(tmp_path: Path) -> None:
    torch.save(dict(state_dict={}, meta=dict(cfg="model = dict(generator='in_size')")), tmp_path / 'x.pth')
    with pytest.raises(RestoreError, match=r'x\.pth is of no restorer'):
        find(tmp_path / 'x.pth')


EPS = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 24 20\n%%EndComments\nshowpage\n'


def test_a_picture_begins_no_program(tmp_path: Path) -> None:
    """PIL hands EPS, whatever its ending, to Ghostscript."""
    assert Image.open(io.BytesIO(EPS)).format == 'EPS'
    path = tmp_path / 'x.png'
    path.write_bytes(EPS)
    with pytest.raises(RestoreError, match='no image in a known format'):
        read(path)
    with pytest.raises(PictureError, match='no image in a known format'):
        decode(EPS)


def test_a_resolution_that_no_file_holds_is_left_out(tmp_path: Path) -> None:
    Image.new('RGB', (4, 4)).save(tmp_path / 'x.png', dpi=(1e8, 72))
    assert read(tmp_path / 'x.png').meta.dpi is None
    Image.new('RGB', (4, 4)).save(tmp_path / 'x.png', dpi=(72, 72))
    assert read(tmp_path / 'x.png').meta.dpi == pytest.approx((72, 72), abs=0.1)


@pytest.mark.parametrize('shape', ['(3, 100000000, 1000000)', '(99999999999999999999, 1, 3)', '(-1, 8, 3)', '()'])
def test_an_array_gets_no_memory_before_it_is_there(shape: str) -> None:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + '\n'
    data = b'\x93NUMPY\1\0' + struct.pack('<H', len(header)) + header.encode() + bytes(192)
    with pytest.raises(PictureError, match='no image'):
        decode(data)


def test_pipes_and_links_among_pictures_are_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe.png')
    (tmp_path / 'loop.png').symlink_to('loop.png')
    (tmp_path / 'nothing.png').symlink_to('gone.png')
    paths, listing = images_below(tmp_path)
    assert not paths and sorted(problem.source for problem in listing.problems) == [
        'loop.png',
        'nothing.png',
        'pipe.png',
    ]


def test_a_pattern_goes_into_no_link(tmp_path: Path) -> None:
    (tmp_path / 'in' / 'a').mkdir(parents=True)
    for name in ('1.png', 'a/2.png', 'a/.3.png'):
        Image.new('RGB', (4, 4)).save(tmp_path / 'in' / name)
    (tmp_path / 'in' / 'a' / 'up').symlink_to(tmp_path)
    for pattern in ('in/**/*.png', 'in/**'):
        jobs = find_jobs(str(tmp_path / pattern), tmp_path / 'out')
        assert sorted(job.source.name for job in jobs) == ['1.png', '2.png']


def test_a_pattern_that_goes_up_names_each_picture_once(tmp_path: Path) -> None:
    (tmp_path / 'in' / 'a').mkdir(parents=True)
    (tmp_path / 'in' / 'b').symlink_to('a')
    Image.new('RGB', (4, 4)).save(tmp_path / 'in' / '1.png')
    (job,) = find_jobs(f'{tmp_path}/in/*/../*.png', tmp_path / 'out')
    assert (job.source, job.target) == (tmp_path / 'in' / '1.png', tmp_path / 'out' / '1.png')


def test_a_card_with_a_long_name_belongs_to_no_config(tmp_path: Path) -> None:
    for name in ('x' * 300, '\u5199' * 90):
        card = dict(name=name, kind='restorer', data='x', licence='x', colour_order='rgb')
        save_file({'a': torch.zeros(1)}, tmp_path / 'x.safetensors', metadata=dict(card=json.dumps(card)))
        with pytest.raises(RestoreError, match='does not say which config'):
            find(tmp_path / 'x.safetensors')


def test_results_stay_in_their_folder(tmp_path: Path) -> None:
    for folder in ('in/sub', 'out', 'elsewhere'):
        (tmp_path / folder).mkdir(parents=True)
    Image.new('RGB', (4, 4)).save(tmp_path / 'in' / 'sub' / 'x.png')
    (tmp_path / 'out' / 'sub').symlink_to(tmp_path / 'elsewhere')
    with pytest.raises(RestoreError, match=r'outside of .*out'):
        find_jobs(str(tmp_path / 'in'), tmp_path / 'out')
    (tmp_path / 'out' / 'sub').unlink()
    (job,) = find_jobs(str(tmp_path / 'in'), tmp_path / 'out')
    target = job.target
    target.parent.mkdir()
    target.symlink_to(tmp_path / 'elsewhere' / 'y')
    write_whole(target, b'x')
    assert target.read_bytes() == b'x' and not any((tmp_path / 'elsewhere').iterdir())


@pytest.mark.parametrize('name', ['../x', '/etc/x', 'a/../../x', 'a//x', '.', 'a\0'])
def test_a_name_of_a_data_set_stays_in_it(name: str) -> None:
    with pytest.raises(DataError, match='is no name in the set'):
        refuse_outside([Item(name, 'source', 'path')])
    refuse_outside([Item('a/..b/c..', 'source', 'path')])


@pytest.mark.parametrize('url', ['https://h/..', 'https://h/a/..', 'https://h/', 'https://[::1', 'https://h/a\\..\\b',
                                 'https://h/C:x', 'https://h/a\0b', 'https:///x.pth', ''])  # fmt: skip
def test_a_download_stays_in_its_cache(url: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match='is no URL of a file'):
        cached_path(url, tmp_path)
    path = cached_path('https://h/%2e%2e/x.pth?y=/../z', tmp_path)
    assert path.parent == tmp_path and re.fullmatch(r'x\.[0-9a-f]{8}\.pth', path.name)


@pytest.mark.parametrize('given', ['a', '=1', 'a.=1', 'a=(', 'a=),(', 'a=' + '[' * 300 + ']' * 300,
                                   'a=' + ',' * 6000])  # fmt: skip
def test_an_override_that_is_none_is_a_sentence(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(['x.py', '--cfg-options', given])
    assert ended.value.code == 2 and ': --cfg-options ' in capsys.readouterr().err


@pytest.mark.parametrize('key', ['hooks.9.type', 'model.type.x', 'hooks.x.y'])
def test_an_override_that_does_not_fit_is_a_sentence(key: str) -> None:
    config = Config(dict(model=dict(type='A'), hooks=[dict(type='B')]))
    with pytest.raises(ConfigError, match=f'--cfg-options {key} does not fit the config'):
        apply_overrides(config, {key: 1})
    apply_overrides(config, {'hooks.0.type': 'C'})
    assert config.hooks[0].type == 'C'


@pytest.mark.parametrize('text', [b'\xff/x/iter_1.pth', b'a\0b'])
def test_a_note_that_is_no_path_is_passed_over(text: bytes, tmp_path: Path) -> None:
    (tmp_path / 'last_checkpoint').write_bytes(text)
    os.mkfifo(tmp_path / 'iter_9.pth')
    torch.save({}, tmp_path / 'iter_3.pth')
    assert newest_whole(tmp_path) == tmp_path / 'iter_3.pth'


def test_an_error_without_the_file_is_found() -> None:
    def fail() -> None:
        raise WeightsError('no name')

    with pytest.raises(Exception, match=r'does not name x\.pth'):
        outcome(fail, 'x.pth')
    assert sys.get_int_max_str_digits() > 0
