"""Folders and object stores on a cluster of Ray's: the results of a plain run, whatever dies meanwhile."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from documents import DOCS, block_with
from PIL import Image
from test_shards import bytes_of, folder_of, left_over

from glean_plus import Restorer
from glean_plus.cli.main import main
from glean_plus.inference import RestoreError
from glean_plus.inference.base import Described
from glean_plus.inference.batches import Setup, Work, Worker, begin_in_folder, sweep
from glean_plus.inference.folder import Record
from glean_plus.inference.jobs import find_jobs
from glean_plus.inference.stores import Listing, Store, begin_in_store
from glean_plus.utils.files import whole_or_not_at_all

from conftest import free_port
from small_restorers import photo

pytestmark = pytest.mark.usefixtures('exact_speed')


# ---- what needs no Ray


@pytest.mark.parametrize('given, words', [
    (['in', 'out', '--engine', 'ray', '--shard', '1/2'], 'leave --shard out'),
    (['in', 'out', '--engine', 'ray', '--device', 'cpu,cpu'], 'not --device cpu,cpu'),
    (['in', 'out', '--engine', 'ray', '--device', 'all'], 'not --device all'),
    (['in', 'out', '--engine', 'ray', '--device', 'cuda:1'], 'not --device cuda:1'),
    (['s3://b/in', 's3://b/out'], '--engine ray reads and writes'),
    (['in', 's3://b/out', '--engine', 'ray'], 'both of IN and OUT'),
    (['s3://b/in', 's3://b/out', '--engine', 'ray', '--compare', '--crf', '9'], 'leave --compare, --crf out'),
])  # fmt: skip
def test_what_the_engine_cannot_keep_is_refused(given: list[str], words: str, tmp_path: Path, capsys: Any,
                                                monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(['restore', *given]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count('\n') == 1 and not [*tmp_path.iterdir()]


def test_an_address_without_an_engine_is_a_wrong_call(tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        main(['restore', str(tmp_path), str(tmp_path / 'out'), '--address', 'host:6379'])
    assert ended.value.code == 2 and 'give --engine ray' in capsys.readouterr().err


def test_a_missing_ray_is_named(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'ray', None)
    monkeypatch.delitem(sys.modules, 'glean_plus.inference.ray', raising=False)
    folder_of(tmp_path / 'in', 1, 0)
    assert main(['restore', str(tmp_path / 'in'), str(tmp_path / 'out'), '--engine', 'ray']) == 2
    assert "pip install 'glean_plus[ray]'" in capsys.readouterr().err and not (tmp_path / 'out').exists()


def test_a_cluster_that_is_not_there_is_named(tmp_path: Path, capsys: Any) -> None:
    folder_of(tmp_path / 'in', 1, 0)
    address = f'127.0.0.1:{free_port()}'
    given = ['restore', str(tmp_path / 'in'), str(tmp_path / 'out'), '--engine', 'ray', '--address', address]
    assert main(given) == 2 and not (tmp_path / 'out').exists()
    assert f'No cluster can be reached at {address}: ' in capsys.readouterr().err


class Batch(list):
    """Rows as a table of Arrow's has them."""

    def to_pylist(self) -> list[dict[str, Any]]:
        return self


class Bucket:
    """An object store, as pyarrow's file systems read and write it."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def open_input_stream(self, path: str, compression: None) -> Any:
        if path not in self.files:
            raise FileNotFoundError(path)
        return io.BytesIO(self.files[path])

    def open_output_stream(self, path: str, compression: None) -> Any:
        bucket = self

        class Stream(io.BytesIO):
            def close(self) -> None:
                bucket.files[path] = self.getvalue()
                super().close()

        return Stream()


def made(worker: Worker, rows: list[dict[str, Any]]) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """State and error of each row, and what is said."""
    found = worker(Batch(rows))
    records = [json.loads(each) for each in found['record']]
    assert len(found['said']) == len(records) == len(rows)
    said = [line for lines in found['said'] for line in json.loads(lines)]
    return {each['input']: (each['state'], each['error']) for each in records}, said


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return folder_of(tmp_path / 'in', 4, 1)


def test_a_batch_that_is_done_again(restore: Callable[..., int], light_checkpoint: Path, source: Path) -> None:
    """As after the death of a process: what had been written since the run began stays, the rest is done."""
    assert restore(source, 'plain', '--speed', 'exact') == 1
    rows = [dict(path=os.fsencode(f'in/{path.name}'), target=os.fsencode(f'out/{path.name}'))
            for path in sorted(source.iterdir())]  # fmt: skip
    worker = Worker(Setup(lambda: Restorer(light_checkpoint, device='cpu'), Path.cwd(), since=time.time_ns()))
    first, said = made(worker, rows)
    assert {name: state for name, (state, _) in first.items()} == {
        f'in/{i:03d}.png': 'failed' if i == 3 else 'restored' for i in range(4)
    }
    assert said == [f'in/003.png: {first["in/003.png"][1]}'] and bytes_of(Path('out')) == bytes_of(Path('plain'))
    Path('out/001.png').unlink()
    times = {path.name: path.stat().st_mtime_ns for path in Path('out').iterdir()}
    again, _ = made(worker, rows)
    assert {name: state for name, (state, _) in again.items()} == {
        'in/000.png': 'there', 'in/001.png': 'restored', 'in/002.png': 'there', 'in/003.png': 'failed',
    }  # fmt: skip
    assert bytes_of(Path('out')) == bytes_of(Path('plain'))
    assert times.items() <= {path.name: path.stat().st_mtime_ns for path in Path('out').iterdir()}.items()


def test_a_batch_of_bytes_and_one_of_a_bucket(
    restore: Callable[..., int], light_checkpoint: Path, source: Path
) -> None:
    assert restore(source, 'plain', '--speed', 'exact') == 1
    plain, files = bytes_of(Path('plain')), {f'b/{path.name}': path.read_bytes() for path in source.iterdir()}
    names = [f'{i:03d}.png' for i in range(4)]

    def make() -> Restorer:
        return Restorer(light_checkpoint, device='cpu')

    rows = [dict(path=f'x/{name}', target=f'out/{name}', bytes=files[f'b/{name}']) for name in names]
    states, _ = made(Worker(Setup(make, Path.cwd())), rows)
    assert [state for state, _ in states.values()].count('restored') == 3 and bytes_of(Path('out')) == plain

    bucket = Bucket(files)
    worker = Worker(Setup(make, Path.cwd(), reads=bucket, writes=bucket))
    states, said = made(worker, [dict(path=f's3://b/{name}', target=f's3://c/{name}') for name in [*names, 'no.png']])
    assert {name: data for name, data in bucket.files.items() if name[0] == 'c'} == {
        f'c/{name}': data for name, data in plain.items()
    }
    assert states['s3://b/no.png'] == ('failed', 'it cannot be read: b/no.png')
    assert len(said) == 2 and all(line.startswith('s3://b/') for line in said)


def test_partial_files_of_processes_that_died_are_swept(tmp_path: Path) -> None:
    """Those in all folders that are asked for; one that is being written stays."""
    places = [tmp_path / name for name in ('out/a.png', 'out/compare/a.png', 'out/report/a.json', 'out/faces/a/0.png')]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.with_name(f'{place.name}.0123abcd.part').touch()
    names = ('target', 'compare', 'report')
    row = {name: os.fsencode(place) for name, place in zip(names, places)} | dict(faces=os.fsencode(places[3].parent))
    with whole_or_not_at_all(places[0]) as file:
        sweep([row], Work([], Listing(1, []), {}, writes=Bucket({})))
        assert len([*tmp_path.rglob('*.part')]) == 5
        sweep([row], Work([], Listing(1, []), {}))
        assert [*map(str, tmp_path.rglob('*.part'))] == [file.name]


def test_what_a_process_refuses(light_checkpoint: Path, tmp_path: Path) -> None:
    def make() -> Restorer:
        return Restorer(light_checkpoint, device='cpu')

    with pytest.raises(RestoreError, match='A machine has glean_plus .*, not 9.9'):
        Worker(Setup(make, tmp_path, version='9.9'))
    with pytest.raises(RestoreError, match='to folders alone'):
        Worker(Setup(make, tmp_path, writes=Bucket({}), compare=True))


# ---- with Ray


@pytest.fixture(scope='module')
def cluster() -> Iterator[Any]:
    """A cluster of one machine with one CPU, to which this process is connected."""
    ray = pytest.importorskip('ray', reason='Ray is not installed')
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('RAY_USAGE_STATS_ENABLED', '0')
        nodes = Cluster(initialize_head=True, head_node_args=dict(num_cpus=1, include_dashboard=False))
        ray.init(nodes.address, log_to_driver=False, logging_level='ERROR')
        yield nodes
        ray.shutdown()
        nodes.shutdown()


def states(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What does not depend on who restores, and when."""
    return sorted(({name: value for name, value in each.items() if name not in ('output', 'seconds')}
                   for each in records), key=lambda each: each['input'])  # fmt: skip


def test_a_cluster_makes_what_one_run_makes(
    cluster: Any, restore: Callable[..., int], source: Path, capfd: Any
) -> None:
    """A broken file, a name twice, a folder, and a name that is no text among them; then wrong calls."""
    (source / 'sub').mkdir()
    Image.fromarray(photo('coffee', 8, 8)).save(source / '000.jpg')
    Image.fromarray(photo('coffee', 9, 8)).save(os.fsencode(source) + b'/sub/\xff.png')
    (source / 'notes.txt').touch()
    options = ['--speed', 'exact', '--compare', '--json']
    assert restore('in', 'plain', *options, 'plain.json') == 1
    capfd.readouterr()
    engine = ['--engine', 'ray', '--address', cluster.address, '--records', 'out.jsonl']
    assert restore('in', 'out', *options, 'out.json', *engine) == 1
    said = capfd.readouterr().err
    assert '5 restored' in said and said.count('in/003.png: it is no image') == said.count('ending: 1 .txt') == 1
    plain, out = ({path.relative_to(name): path.read_bytes() for path in Path(name).rglob('*.png')}
                  for name in ('plain', 'out'))  # fmt: skip
    assert len(plain) == 10 and plain == out and not left_over(Path('out'))
    plain, report = (json.loads(Path(f'{name}.json').read_text()) for name in ('plain', 'out'))
    assert states(plain.pop('pictures')) == states(report.pop('pictures'))
    assert plain['run'] == report['run'] and plain.keys() == report.keys()
    assert plain['about'].keys() == report['about'].keys()
    *lines, end = [json.loads(line) for line in Path('out.jsonl').read_text().splitlines()]
    assert len(lines) == 6 and end == report

    assert restore('in', 'out', '--speed', 'exact', '--compare') == 1  # without Ray
    assert '5 there already, 1 failed' in capfd.readouterr().err
    assert restore('in', 'out', '--speed', 'exact', '--seed', 3, '--engine', 'ray') == 2
    assert 'seed None, now 3' in capfd.readouterr().err
    assert main(['restore', 'in', 'new', '--device', 'cpu', '--model', 'nosuch', '--engine', 'ray']) == 2
    assert "There is no model 'nosuch'" in capfd.readouterr().err and not Path('new').exists()


@pytest.fixture
def bucket(source: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Parameters of the addresses of a local S3 server, which has the images of ``source`` in s3://bucket/photos."""
    server = pytest.importorskip('moto.server', reason='moto is not installed')
    fs = pytest.importorskip('pyarrow.fs', reason='pyarrow is not installed')
    for name in ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_EC2_METADATA_DISABLED'):
        monkeypatch.setenv(name, 'true')
    moto = server.ThreadedMotoServer('127.0.0.1', 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    urlopen(f'http://{host}:{port}/moto-api/reset', b'').close()  # it keeps its buckets for the next server
    options = f'?endpoint_override={host}:{port}&scheme=http&region=us-east-1'
    files, _ = fs.FileSystem.from_uri(f's3://bucket{options}&allow_bucket_creation=true')
    files.create_dir('bucket')
    for path in source.rglob('*.*'):
        with files.open_output_stream(f'bucket/photos/{path.relative_to(source)}') as stream:
            stream.write(path.read_bytes())
    yield options
    moto.stop()


def in_bucket(folder: str, options: str) -> dict[str, bytes]:
    from pyarrow.fs import FileSelector, FileSystem

    files, path = FileSystem.from_uri(f's3://bucket/{folder}{options}')
    found = files.get_file_info(FileSelector(path, recursive=True))
    return {each.path[len(path) + 1:]: files.open_input_stream(each.path).read() for each in found if each.is_file}


class Facts(Described):
    keep_crops = False

    def run_facts(self) -> dict[str, Any]:
        return dict(weights='0')

    def about_facts(self) -> dict[str, Any]:
        return {}


def test_what_is_left_to_do_of_a_bucket(bucket: str) -> None:
    """Results that are there, older than their input, of another run or of none; endings, and inputs in a folder."""
    def begin(seed: str = '0', **options: Any) -> tuple[dict[str, str], list[str]]:
        restorer, given = Facts(), dict(ending='.png', overwrite=False, quality=None, command=[]) | options
        restorer.run_facts = lambda: dict(weights=seed)
        with begin_in_store(restorer, photos, out, **given) as work:
            rows = {each.input if isinstance(each, Record) else os.fsdecode(each['path']): each for each in work.rows}
            assert work.jobs.found == len(rows)
            return {name.removeprefix('s3://bucket/photos/'): 'there' if isinstance(each, Record)
                    else os.fsdecode(each['target']) for name, each in rows.items()}, work.jobs.notes  # fmt: skip

    photos, out = (Store.at(f's3://bucket/{name}{bucket}') for name in ('photos', 'photos/out'))
    for name in ('a/000.jpg', 'a/000.PNG', 'notes.txt', '.hidden/1.png', 'out/7.png'):
        photos.write(name, b'')
    todo, notes = begin(overwrite=True)
    assert notes == ['Files passed over for their ending: 1 .txt'] and todo == {
        **{f'00{i}.png': f's3://bucket/photos/out/00{i}.png' for i in range(4)},
        'a/000.jpg': 's3://bucket/photos/out/a/000.jpg.png', 'a/000.PNG': 's3://bucket/photos/out/a/000.PNG.png',
    }  # fmt: skip
    time.sleep(1.1)  # a store has seconds
    out.write('001.png', b'')
    assert begin()[0] == todo | {'001.png': 'there'}
    time.sleep(1.1)
    photos.write('001.png', b'newer')
    assert begin()[0] == todo
    with pytest.raises(RestoreError, match="bucket/photos/out/glean-plus.run.json were made otherwise .*'0', now '1'"):
        begin('1')
    photos.files.delete_file('bucket/photos/out/glean-plus.run.json')
    with pytest.raises(RestoreError, match='s3://bucket/photos/out/001.png is there already, of no run'):
        begin()
    photos.write('a/000.png.jpg', b'')
    photos.write('a/000.png.jpg.tif', b'')
    photos.write('A/000.png.jpg', b'')
    with pytest.raises(RestoreError, match='would both have the result .*: rename one'):
        begin(overwrite=True)
    for address, words in (('nosuch://x/y', 'nosuch://x/y'), (f's3://other/x{bucket}', 'There are no images|listed')):
        with pytest.raises(RestoreError, match=words):
            photos = Store.at(address)
            begin()


@pytest.mark.soak
def test_the_recipes_of_a_store(
    cluster: Any, bucket: str, restore: Callable[..., int], source: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run, and one after a result has gone; then the program of the page, with another name in each result."""
    assert restore('in', 'plain', '--speed', 'exact') == 1
    plain, places = bytes_of(Path('plain')), [f's3://bucket/{name}{bucket}' for name in ('photos', 'restored')]
    options = ['--speed', 'exact', '--engine', 'ray', '--json']
    assert restore(*places, *options, 'first.json') == 1
    results = in_bucket('restored', bucket)
    run = json.loads(results.pop('glean-plus.run.json'))
    report = json.loads(Path('first.json').read_text())
    assert results == plain and run['run'] == json.loads(Path('plain/glean-plus.run.json').read_text())['run']
    assert {each['input']: each['state'] for each in report['pictures']} == {
        f's3://bucket/photos/{i:03d}.png': 'failed' if i == 3 else 'restored' for i in range(4)
    }
    from pyarrow.fs import FileSystem

    files, path = FileSystem.from_uri(places[1])
    files.delete_file(f'{path}/001.png')
    capfd.readouterr()
    assert restore(*places, *options, 'second.json') == 1
    assert '1 restored' in (said := capfd.readouterr().err) and '2 there already, 1 failed' in said
    assert plain.items() <= in_bucket('restored', bucket).items()

    node = cluster.add_node(num_cpus=1)  # to read, while the other restores
    program = block_with(DOCS / 'guides' / 'scale.md', 'read_binary_files')
    assert "'s3://bucket/photos'" in program
    exec(program.replace("'s3://bucket/photos'", repr(places[0])), dict(__name__='page'))
    said = capfd.readouterr().out
    assert said.count(' restored') == 3 and 'failed it is no image' in said
    assert {f'{name}.png' for name in plain} <= in_bucket('restored', bucket).keys()
    cluster.remove_node(node)


@pytest.mark.soak
def test_a_process_that_cannot_start_is_named(cluster: Any, light_checkpoint: Path, source: Path) -> None:
    """On a machine that lacks what the one has that was asked first."""
    from glean_plus.inference.ray import connected, restore_files

    folder = Path.cwd()

    def make() -> Restorer:
        if (folder / 'asked').exists():
            raise RestoreError('There is no model here.')
        (folder / 'asked').touch()
        return Restorer(light_checkpoint, device='cpu')

    begin = partial(begin_in_folder, jobs=find_jobs('in', Path('out')), compare=False, report=False, overwrite=False,
                    crf=None, quality=None, command=[])  # fmt: skip
    with pytest.raises(RestoreError, match='cannot start: .*There is no model here'), connected(None, 'cpu') as gpus:
        restore_files(Setup(make, folder), begin, gpus, print, print)
    with pytest.raises(RestoreError, match='The cluster has no GPU: take --device cpu'), connected(None, 'cuda'):
        pass


# ---- what dies


def children(node: Any) -> list[int]:
    """Processes of a node of the cluster that restore."""
    (raylet,) = node.all_processes['raylet']
    found = []
    for path in Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            parent = int((path / 'stat').read_text().rpartition(')')[2].split()[1])
            if parent == raylet.process.pid and b'MapWorker' in (path / 'cmdline').read_bytes():
                found.append(int(path.name))
    return found


@pytest.mark.soak
def test_a_process_and_a_node_that_die(cluster: Any, restore: Callable[..., int], tmp_path: Path, capfd: Any) -> None:
    """200 images of which five are broken, on two nodes; a process of one is killed, then the other is removed."""
    source, out = folder_of(tmp_path / 'in', 200, 5), tmp_path / 'out'
    for path in source.iterdir():
        if path.stat().st_size > 100:
            Image.open(path).resize((90, 80)).save(path)
    assert restore(source, tmp_path / 'plain', '--speed', 'exact') == 1
    whole = bytes_of(tmp_path / 'plain')
    assert len(whole) == 195
    node = cluster.add_node(num_cpus=1)
    events = []

    def disturb() -> None:
        while not (children(node) and children(cluster.head_node)) or len(bytes_of(out)) < 20:
            time.sleep(0.2)
        events.append(('killed', len(bytes_of(out))))
        os.kill(children(cluster.head_node)[0], signal.SIGKILL)
        while len(bytes_of(out)) < events[0][1] + 40 or not children(node):
            time.sleep(0.2)
        events.append(('removed', len(bytes_of(out))))
        cluster.remove_node(node, allow_graceful=False)

    thread = threading.Thread(target=disturb, daemon=True)
    thread.start()
    options = ['--speed', 'exact', '--engine', 'ray', '--json', tmp_path / 'out.json']
    assert restore(source, out, *options) == 1
    thread.join(60)
    assert not thread.is_alive() and [what for what, _ in events] == ['killed', 'removed'] and events[1][1] < 195
    assert bytes_of(out) == whole and not left_over(out)
    records = json.loads((tmp_path / 'out.json').read_text())['pictures']
    assert len(records) == len({each['input'] for each in records}) == 200
    failed = {each['input']: each['error'] for each in records if each['state'] == 'failed'}
    assert {*failed} == {str(source / f'{7 * i + 3:03d}.png') for i in range(5)}
    assert all('no image' in why for why in failed.values())
    print(events, {state: sum(each['state'] == state for each in records) for state in ('restored', 'there')})
