"""Hostile command lines, names and addresses."""

from __future__ import annotations

import argparse
import copy
import functools
import io
import os
from contextlib import redirect_stderr
from pathlib import Path

from mmengine.config import Config

from glean_plus.cli.commands import parser_of
from glean_plus.inference import RestoreError
from glean_plus.inference.jobs import Refused, find_jobs
from glean_plus.prepare.run import listing_of
from glean_plus.prepare.settings import Settings
from glean_plus.utils.files import write_whole
from glean_plus.weights import WeightsError
from glean_plus.weights.fetch import cached_path
from glean_plus.weights.resources import ConfigError, apply_overrides

from fuzzing import Finding
from hostile_bytes import CANARY, Rng, mutated, outcome
from hostile_pictures import pictures


@functools.lru_cache
def parser() -> argparse.ArgumentParser:
    return parser_of('train')


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
            raise WeightsError(said.getvalue()) from ended
        except ConfigError as error:
            raise WeightsError(str(error)) from error

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
        for job in find_jobs(pattern, out):
            if isinstance(job, Refused):
                continue
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
