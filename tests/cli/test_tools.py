"""The command-line tools that need no training."""

from __future__ import annotations

import hashlib
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmagic.registry import MODELS
from mmengine.config import Config
from PIL import Image
from safetensors.torch import load_file

from glean_plus.prepare import twemoji
from glean_plus.utils.imresize import matlab_bicubic
from glean_plus.weights.resources import ConfigError, read_config

from conftest import CONFIGS, ROOT, load_tool


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, *map(str, arguments)]
    environment = os.environ | dict(PYTHONPATH=str(ROOT))
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """`run`, but in this process: one of its own takes some seconds to start, and each tool has one below."""

    def call(*arguments: object) -> subprocess.CompletedProcess:
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, 'argv', [*map(str, arguments)])
        code = None
        try:
            runpy.run_path(sys.argv[0], run_name='__main__')
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        if isinstance(code, str):  # what Python prints, and ends with 1
            return subprocess.CompletedProcess(sys.argv, 1, said.out, said.err + code)
        return subprocess.CompletedProcess(sys.argv, int(code or 0), said.out, said.err)

    return call


def test_complexity_prints_the_paper_s_table_and_holds_its_tolerance() -> None:
    result = run('tools/complexity.py', 'configs/glean_face_16x.py', 'lightglean_face_16x', '--in-size', 64)
    assert result.returncode == 0, result.stdout + result.stderr
    numbers = [[cell.strip() for cell in line.split('|')[2:4]] for line in result.stdout.splitlines()[1:]]
    assert numbers == [
        ['137.3 M', '137.29 M'], ['30.4 M', '30.37 M'], ['7.9 M', '7.86 M'], ['175.6 M', '175.52 M'],
        ['277.50 G', '277.50 G'],
        ['23.7 M', '21.61 M'], ['10.9 M', '10.95 M'], ['1.7 M', '1.67 M'], ['36.3 M', '34.22 M'],
        ['98.24 G', '98.12 G'],
    ]  # fmt: skip


def test_complexity_fails_outside_the_tolerance(here: Callable[..., Any], tmp_path: Path) -> None:
    config = tmp_path / 'small.py'
    config.write_text(
        f"_base_ = '{CONFIGS}/glean_face_16x.py'\nmodel = dict(generator=dict(encoder=dict(num_rrdbs=10)))\n"
    )
    result = here('tools/complexity.py', config)
    assert result.returncode == 1
    assert 'MISSED: small: encoder: 127' in result.stdout and 'G FLOPs, not 277.5 G' in result.stdout
    result = here('tools/complexity.py', 'configs/glean_cat_16x.py', '--in-size', 64)
    assert result.returncode == 1 and 'input size 16, not 64' in result.stderr


@pytest.mark.parametrize('given', ['glean_cat_16x', 'glean_cat_16x.py', CONFIGS / 'glean_cat_16x.py'])
def test_config_is_a_path_or_a_name(given: str | Path) -> None:
    assert read_config(given).model.generator.in_size == 16


def test_config_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no config 'glean_cat_17x', neither .* try glean_cat_16x"):
        read_config('glean_cat_17x')
    (tmp_path / 'mine.py').write_text("_base_ = './nowhere.py'")
    with pytest.raises(ConfigError, match=r'nowhere\.py'):
        read_config(tmp_path / 'mine.py')


def test_complexity_counts_what_mmagic_s_glean_has() -> None:
    """Against parameters counted on MMagic's model itself, at a size where it is quick to build."""
    from mmagic.models.editors.glean import GLEANStyleGANv2

    from glean_plus.analysis.complexity import complexity

    with pytest.raises(ValueError, match='GLEANStyleGANv2 does not say its .*in_channels'):
        complexity(dict(type='GLEANStyleGANv2', in_size=16, out_size=64, num_rrdbs=2))
    theirs = GLEANStyleGANv2(16, 64, num_rrdbs=2)
    count = lambda *modules: sum(p.numel() for module in modules for p in module.parameters())  # noqa: E731
    ours = complexity(
        dict(type='GLEAN', in_size=16, bank=dict(type='StyleGAN2Bank', out_size=64, mapping=False, rgb=False),
             encoder=dict(type='GLEANEncoder', num_rrdbs=2))
    )  # fmt: skip
    assert ours.paper == dict(
        encoder=count(theirs.encoder, theirs.fusion_out, theirs.fusion_skip),
        generator=count(theirs.generator),
        decoder=count(theirs.decoder),
    )


# ---- Twemoji


def test_split_is_the_one_in_the_repository() -> None:
    assert twemoji.make_split(twemoji.named_images()) == twemoji.read_split()


def test_variants_of_one_emoji_are_on_one_side_and_a_tenth_is_held_out() -> None:
    rows = twemoji.read_split()
    sides: dict[str, set[str]] = {}
    for _, base, _, side in rows:
        sides.setdefault(base, set()).add(side)
    assert all(len(side) == 1 for side in sides.values())
    held_out = sum(side == {'test'} for side in sides.values())
    assert 0.08 < held_out / len(sides) < 0.12
    people = [row for row in rows if row[2] in twemoji.PEOPLE]
    assert (len(people), len(rows)) == (2428, 3773)


@pytest.mark.parametrize('family', [
    ('1f477', '1f477-1f3fb', '1f477-200d-2642-fe0f', '1f477-1f3ff-200d-2640-fe0f'),
    ('1f9d1-200d-1f680', '1f468-200d-1f680', '1f469-1f3fd-200d-1f680'),
    ('1f9d1', '1f468', '1f475-1f3fb', '1f468-200d-1f9b0', '1f9d4-200d-2640-fe0f'),
    ('1f46a', '1f468-200d-1f469-200d-1f466', '1f469-200d-1f467-200d-1f467'),
    ('1f46b', '1f46c', '1f9d1-1f3fb-200d-1f91d-200d-1f9d1-1f3fd'),
    ('1f48f', '1f469-200d-2764-fe0f-200d-1f48b-200d-1f468'),
    ('1f6b6', '1f6b6-200d-27a1-fe0f', '1f6b6-200d-2640-fe0f-200d-27a1-fe0f'),
])  # fmt: skip
def test_base_emoji(family: tuple[str, ...]) -> None:
    assert len({twemoji.base_of(name) for name in family}) == 1


def test_pictures_are_drawn_on_white_and_shrunk(tiny_data: Path) -> None:
    names = [line.split()[0] for line in (tiny_data / 'meta_info_Twemoji_people_test.txt').read_text().splitlines()]
    assert len(names) == 4
    for name in names:
        truth = np.asarray(Image.open(tiny_data / 'GT' / name))
        assert truth.shape == (64, 64, 3) and (truth[0, 0] == 255).all() and truth.std() > 20
        for scale in (4, 8):
            small = np.asarray(Image.open(tiny_data / f'BIx{scale}_down' / name))
            expected = matlab_bicubic(torch.from_numpy(truth.copy()).permute(2, 0, 1), 1 / scale)
            assert np.abs(small - expected.permute(1, 2, 0).round().numpy()).max() == 0


def test_every_picture_is_square_and_has_a_class() -> None:
    melon = twemoji.draw('1f349', 64)  # drawn wider than high
    assert melon.shape == (64, 64, 3) and (melon[:8] == 255).all() and (melon[-8:] == 255).all()
    assert twemoji.label_line('1f349', 'Food & Drink') == '1f349.png 3\n'


def test_matlab_bicubic_equals_an_independent_one() -> None:
    """torch's antialiased bicubic has MATLAB's kernel (a = -0.5), but another border."""
    image = torch.rand(3, 64, 48) * 255
    for scale in (1 / 4, 1 / 8, 4):
        size = [round(side * scale) for side in image.shape[1:]]
        expected = torch.nn.functional.interpolate(image[None], size, mode='bicubic', antialias=True)[0].clamp(0, 255)
        border = 2 if scale < 1 else 12
        inside = (slice(None), slice(border, -border), slice(border, -border))
        torch.testing.assert_close(matlab_bicubic(image, scale)[inside], expected[inside], atol=0.02, rtol=0)


def test_prepare_refuses_what_does_not_fit(tmp_path: Path) -> None:
    result = run('tools/prepare_twemoji.py', tmp_path, '--scales', 5)
    assert result.returncode == 2 and '[5] do not divide --size 64' in result.stderr
    (tmp_path / 'size.txt').write_text('128\n')
    result = run('tools/prepare_twemoji.py', tmp_path)
    assert result.returncode == 1 and 'holds images of 128 px, not 64' in result.stderr


def test_export_of_a_bank_and_of_a_restorer(here: Callable[..., Any], tmp_path: Path) -> None:
    state = {
        'generator.a': torch.ones(2), 'generator.bank.b': torch.ones(3), 'generator_ema.a': torch.full((2,), 2.0),
        'generator_ema.module.a': torch.full((2,), 3.0), 'discriminator.c': torch.ones(1),
        'step_counter': torch.tensor(1),
    }  # fmt: skip
    torch.save(dict(state_dict=state, meta=dict(iter=20)), tmp_path / 'a.pth')
    (tmp_path / 'metrics.json').write_text('{"PSNR": 20.5}')
    for kind, start, expected in (
        ('bank', run, {'generator_ema.a': 3.0, 'discriminator.c': 1.0}),
        ('restorer', here, {'generator.a': 2.0, 'generator.bank.b': 1.0}),
    ):
        out = tmp_path / f'{kind}.safetensors'
        drop = {'bank': 'generator_ema.a', 'restorer': 'generator_ema.module.a'}[kind]
        torch.save(
            dict(state_dict={k: v for k, v in state.items() if k != drop}, meta=dict(iter=20)), tmp_path / 'a.pth'
        )
        result = start(
            'tools/export_weights.py',
            kind,
            tmp_path / 'a.pth',
            out,
            '--command',
            'x',
            '--images-per-iter',
            16,
            '--metrics',
            tmp_path / 'metrics.json',
            '--note',
            'small',
            '--minutes',
            90,
        )
        assert result.returncode == 0, result.stderr
        loaded = load_file(out)
        assert {key: float(value[0]) for key, value in loaded.items()} == expected
        assert all(value.dtype == torch.float16 for value in loaded.values())
        card = json.loads(out.with_suffix('.json').read_text())
        assert card['sha256'] == hashlib.sha256(out.read_bytes()).hexdigest()
        assert (card['images_seen'], card['metrics'], card['note']) == (320, {'PSNR': 20.5}, 'small')
        assert card['training_minutes'] == 90


def test_shipped_weights_have_cards_that_are_true() -> None:
    files = sorted((CONFIGS / 'weights').glob('*.safetensors'))
    assert files
    for path in files:
        card = json.loads(path.with_suffix('.json').read_text())
        assert card['sha256'] == hashlib.sha256(path.read_bytes()).hexdigest(), path
        assert card['size'] == path.stat().st_size
        assert card['licence'] and card['data']
        # A bank has seen half a million images, or been trained for an hour and a half.
        enough = card['images_seen'] >= (500_000 if card['kind'] == 'bank' else 10_000)
        assert enough or (card['kind'] == 'bank' and card['training_minutes'] >= 90), path
        config = re.match(r'mim train glean_plus (\w+\.py)', card['command'])
        assert config and (CONFIGS / config.group(1)).is_file(), card['command']


def test_bank_samples_options_change_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = CONFIGS / 'weights' / 'stylegan2_twemoji_64px.safetensors'
    result = run('tools/bank_samples.py', bank, tmp_path / 'plain.png', '--rows', 2, '--columns', 3)
    assert result.returncode == 0, result.stderr
    pictures = {'plain': np.asarray(Image.open(tmp_path / 'plain.png')).astype(int)}
    tool = load_tool('bank_samples')  # a process of its own takes most of a call's time
    for name, options in (
        ('again', []),
        ('seed', ['--seed', '1']),
        ('truncated', ['--truncation', '0.5']),
        ('bgr', ['--bgr']),
    ):
        out = tmp_path / f'{name}.png'
        arguments = [str(bank), str(out), '--rows', '2', '--columns', '3', *options]
        monkeypatch.setattr(sys, 'argv', ['bank_samples.py', *arguments])
        tool.main()
        pictures[name] = np.asarray(Image.open(out)).astype(int)
    assert pictures['plain'].shape == (128, 192, 3)
    assert (pictures['plain'] == pictures['again']).all() and (pictures['plain'] == pictures['bgr'][..., ::-1]).all()
    for name in ('seed', 'truncated'):
        assert np.abs(pictures[name] - pictures['plain']).mean() > 1, name
    monkeypatch.setattr(sys, 'argv', ['bank_samples.py', str(bank), str(tmp_path / 'x.png'), '--prefix', 'generator'])
    with pytest.raises(SystemExit, match='no key that starts with "generator."'):
        tool.main()


def test_bank_samples_draws_a_row_of_each_class(here: Callable[..., Any], tmp_path: Path) -> None:
    bank = MODELS.build(Config.fromfile(CONFIGS / 'biggan_twemoji_64px.py').model.generator.to_dict())
    state = {f'generator_ema.{key}': value for key, value in bank.state_dict().items()}
    torch.save(state, tmp_path / 'bank.pth')
    pictures = {}
    for name, options in (
        ('all', []),
        ('two', ['--classes', 2, 7]),
        ('truncated', ['--classes', 2, '--truncation', 0.3, '--rows', 2]),
    ):
        out = tmp_path / f'{name}.png'
        result = here('tools/bank_samples.py', tmp_path / 'bank.pth', out, '--columns', 2, *options)
        assert result.returncode == 0, result.stderr
        pictures[name] = np.asarray(Image.open(out)).astype(int).reshape(-1, 64, 128, 3)  # by row
    assert [len(rows) for rows in pictures.values()] == [9, 2, 2]
    # Rounding depends on how many are drawn at a time.
    assert abs(pictures['two'] - pictures['all'][[2, 7]]).max() <= 1
    assert abs(pictures['two'][0] - pictures['two'][1]).max() > 10
    assert (pictures['truncated'][0] != pictures['two'][0]).any()
