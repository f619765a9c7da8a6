"""Reading ahead and writing behind: order, bounds of memory, failures on either side."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glean_plus.inference import RestoreError, Restorer, folder
from glean_plus.inference.base import PictureRestorer
from glean_plus.inference.consistency import Consistency
from glean_plus.inference.folder import Record, restore_files
from glean_plus.inference.image import Picture
from glean_plus.inference.jobs import Job, Jobs, find_jobs
from glean_plus.inference.pipeline import Budget, Rows, Stopped, read_ahead

from small_restorers import photo

pytestmark = pytest.mark.usefixtures('exact_speed')

PART = [np.zeros((1, 10, 1), np.uint8)]  # 10 bytes


def eventually(what: Callable[[], bool]) -> bool:
    """Whether it is true within ten seconds."""
    end = time.monotonic() + 10
    while not what() and time.monotonic() < end:
        time.sleep(0.01)
    return what()


def recorded(restorer: PictureRestorer, jobs: Jobs) -> list[Record]:
    """Of each file, when all are restored."""
    records = list[Record]()
    restore_files(restorer, jobs, record=records.append)
    return records


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_a_budget_lets_wait_what_does_not_fit() -> None:
    budget, passed = Budget(10), list[int]()

    def take(size: int) -> None:
        budget.take(size)
        passed.append(size)

    take(25)  # alone, though it is larger
    waiting = in_thread(lambda: take(4))
    time.sleep(0.05)
    assert passed == [25]
    budget.give(25)
    waiting.join(10)
    take(6)
    assert passed == [25, 4, 6] and budget.used == 10
    stopped: list[bool] = []

    def stop() -> None:
        with pytest.raises(Stopped):
            budget.take(1)
        stopped.append(True)

    waiting = in_thread(stop)
    budget.close()
    waiting.join(10)
    assert stopped


def test_rows_wait_for_whoever_takes_them() -> None:
    rows, put = Rows(Budget(25)), list[int]()

    def produce() -> None:
        for i in range(6):
            rows.put(PART)
            put.append(i)
        rows.end()

    thread = in_thread(produce)
    assert eventually(lambda: len(put) == 2)
    time.sleep(0.05)
    assert len(put) == 2
    assert len(list(rows)) == 6
    thread.join(10)


def test_a_failure_of_the_network_reaches_the_writer() -> None:
    rows = Rows(Budget(100))
    rows.put(PART)
    rows.fail(ValueError('of the network'))
    taken = iter(rows)
    assert next(taken) is PART
    with pytest.raises(ValueError, match='of the network'):
        next(taken)


def test_nothing_is_put_for_a_writer_that_has_ended() -> None:
    budget = Budget(10)
    rows = Rows(budget)
    rows.put(PART)
    stopped: list[bool] = []

    def produce() -> None:
        with pytest.raises(Stopped):
            rows.put(PART)
        stopped.append(True)

    thread = in_thread(produce)
    time.sleep(0.05)
    rows.abandon()
    thread.join(10)
    assert stopped and budget.used == 0


def test_images_are_read_ahead_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(6):
        Image.fromarray(np.full((10, 10, 3), i, np.uint8)).save(tmp_path / f'{i}.png')
    (tmp_path / '4.png').write_bytes(b'no image')
    seen: list[str] = []

    def reading(path: Path) -> Picture:
        from glean_plus.inference.read import read

        seen.append(path.name)
        return read(path)

    monkeypatch.setattr('glean_plus.inference.pipeline.read', reading)
    jobs = [job for job in find_jobs(str(tmp_path), tmp_path / 'out') if isinstance(job, Job)]
    images = read_ahead(jobs, 2 * 10 * 10 * 8)
    _, first = next(images)
    assert isinstance(first, Picture) and (first.image == 0).all()
    assert eventually(lambda: seen == ['0.png', '1.png', '2.png'])
    time.sleep(0.05)
    assert seen == ['0.png', '1.png', '2.png']
    rest = [picture for _, picture in images]
    assert [picture.image[0, 0, 0] for picture in rest if isinstance(picture, Picture)] == [1, 2, 3, 5]
    assert isinstance(rest[3], RestoreError)

    images = read_ahead(jobs, 2 * 10 * 10 * 8)
    next(images)
    images.close()  # type: ignore[attr-defined]
    assert not any(thread.name == 'read ahead' for thread in threading.enumerate())


def test_the_next_image_is_restored_while_one_is_written(
    light_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first result's writer ends once the second image goes through the network."""
    (tmp_path / 'in').mkdir()
    for i, side in enumerate((20, 24)):
        Image.fromarray(photo('chelsea', side, 20)).save(tmp_path / 'in' / f'{i}.png')
    restorer, write, restoration = Restorer(light_checkpoint, device='cpu'), folder.write, Restorer.restoration
    begun, waited = [threading.Event(), threading.Event()], list[bool]()

    def beginning(self: Restorer, pictures: list[Picture], assess: bool = False) -> object:
        begun[len(pictures[0].image) == 24].set()
        return restoration(self, pictures, assess)

    def slow(path: Path, *arguments: object) -> list[str]:
        notes = write(path, *arguments)
        if path.name == '0.png':
            waited.append(begun[1].wait(20))
        return notes

    monkeypatch.setattr(Restorer, 'restoration', beginning)
    monkeypatch.setattr(folder, 'write', slow)
    records = recorded(restorer, find_jobs(str(tmp_path / 'in'), tmp_path / 'out'))
    assert waited == [True] and [record.state for record in records] == ['restored', 'restored']


@pytest.mark.parametrize('broken', ['network', 'writer'])
def test_one_that_fails_costs_itself_alone(
    broken: str, light_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'in').mkdir()
    for i in range(5):
        Image.fromarray(photo('chelsea', 20, 20, 60 + i)).save(tmp_path / 'in' / f'{i}.png')
    marked = photo('chelsea', 20, 20, 62)
    restorer, write, restoration = Restorer(light_checkpoint, device='cpu'), folder.write, Restorer.restoration

    def failing(self: Restorer, pictures: list[Picture], assess: bool = False) -> object:
        if any((picture.image == marked).all() for picture in pictures):
            raise_ = ValueError('as planned')
            return _Failing(restoration(self, pictures, assess), raise_)
        return restoration(self, pictures, assess)

    def unable(path: Path, *arguments: object) -> list[str]:
        if path.name == '2.png':
            raise ValueError('as planned')
        return write(path, *arguments)

    if broken == 'network':
        monkeypatch.setattr(Restorer, 'restoration', failing)
    else:
        monkeypatch.setattr(folder, 'write', unable)
    records = recorded(restorer, find_jobs(str(tmp_path / 'in'), tmp_path / 'out'))
    assert {Path(record.input).name: record.state for record in records} == {
        **{f'{i}.png': 'restored' for i in range(5)}, '2.png': 'failed'
    }  # fmt: skip
    assert 'as planned' in next(record.error for record in records if record.state == 'failed')
    found = {path.name for path in (tmp_path / 'out').iterdir() if not path.name.startswith('.')}
    assert found == {'0.png', '1.png', '3.png', '4.png', 'glean-plus.run.json'}


class _Failing:
    """A restoration whose first rows come, and then an error."""

    def __init__(self, made: object, error: Exception) -> None:
        self.made, self.error = made, error

    def __getattr__(self, name: str) -> object:
        return getattr(self.made, name)

    def __iter__(self):  # type: ignore[no-untyped-def]
        yield next(iter(self.made))  # type: ignore[call-overload]
        raise self.error


def test_an_interruption_leaves_no_thread_and_no_part(
    light_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'in').mkdir()
    for i in range(4):
        Image.fromarray(photo('chelsea', 20 + i, 20)).save(tmp_path / 'in' / f'{i}.png')
    restoration = Restorer.restoration

    def interrupted(self: Restorer, pictures: list[Picture], assess: bool = False) -> object:
        made = restoration(self, pictures, assess)
        return _Failing(made, KeyboardInterrupt()) if len(pictures[0].image) == 22 else made  # type: ignore[arg-type]

    monkeypatch.setattr(Restorer, 'restoration', interrupted)
    jobs, before = find_jobs(str(tmp_path / 'in'), tmp_path / 'out'), {*threading.enumerate()}
    with pytest.raises(KeyboardInterrupt):
        restore_files(Restorer(light_checkpoint, device='cpu', speed='exact'), jobs)
    begun = {thread.name for thread in {*threading.enumerate()} - before}
    assert not any('read ahead' in name or 'ThreadPool' in name for name in begun)
    assert {path.name for path in (tmp_path / 'out').rglob('*.p*')} <= {'0.png', '1.png'}
    monkeypatch.undo()
    records = recorded(Restorer(light_checkpoint, device='cpu', speed='exact'), jobs)
    assert all(record.state in ('restored', 'there') for record in records) and len(records) == 4


def test_images_of_a_size_share_a_batch_though_others_are_between(
    light_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'in').mkdir()
    for i in range(10):
        Image.fromarray(photo('chelsea', 16 + 4 * (i % 2), 20, 60 + i)).save(tmp_path / 'in' / f'{i}.png')
    restoration, groups = Restorer.restoration, list[list[int]]()

    def counting(self: Restorer, pictures: list[Picture], assess: bool = False) -> object:
        groups.append([len(picture.image) for picture in pictures])
        return restoration(self, pictures, assess)

    monkeypatch.setattr(Restorer, 'restoration', counting)
    monkeypatch.setattr('glean_plus.inference.restorer.ONE_BY_ONE', frozenset())  # as on a GPU
    restorer = Restorer(light_checkpoint, device='cpu', batch=4)
    records = recorded(restorer, find_jobs(str(tmp_path / 'in'), tmp_path / 'out'))
    assert groups == [[16] * 4, [20] * 4, [16], [20]]
    assert sorted(Path(record.input).name for record in records) == [f'{i}.png' for i in range(10)]


def test_scores_are_computed_where_they_are_wanted_alone(
    light_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without them, results are the same to the bit: of colours, grays, 16 bits, opacity and one colour throughout."""
    (tmp_path / 'in').mkdir()
    image = photo('chelsea', 18, 20)
    for name, each in dict(
        colours=image, grays=image[..., 0], deep=image[..., 0].astype(np.uint16) * 257, one=np.full_like(image, 77),
        opacity=np.concatenate([image, image[..., :1]], axis=2),
    ).items():  # fmt: skip
        Image.fromarray(each).save(tmp_path / 'in' / f'{name}.png')
    restorer, scored = Restorer(light_checkpoint, device='cpu', batch=1), list[str]()
    monkeypatch.setattr(folder.Watch, 'of', lambda *_: None)  # it scores the first images
    score = Consistency._score
    monkeypatch.setattr(Consistency, '_score', lambda *rest: (scored.append(rest[1]), score(*rest))[1])
    records = recorded(restorer, find_jobs(str(tmp_path / 'in'), tmp_path / 'with'))
    assert all(record.lr_psnr or Path(record.input).stem == 'one' for record in records) and len(scored) == 5
    restorer.scored = False
    records = recorded(restorer, find_jobs(str(tmp_path / 'in'), tmp_path / 'without'))
    assert [record.state for record in records] == ['restored'] * 5
    assert len(scored) == 7, 'opacity and an image of one colour go the long way'
    for path in (tmp_path / 'with').glob('*.png'):
        assert path.read_bytes() == (tmp_path / 'without' / path.name).read_bytes(), path.name
