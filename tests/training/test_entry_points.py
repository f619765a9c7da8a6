"""What `tools/train.py` and `tools/test.py` do before, around and beside a run."""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from glean_plus.cli.commands import parser_of
from glean_plus.training.launch import load_config
from glean_plus.utils.terminal import silence_libraries
from glean_plus.weights.resources import ConfigError

from conftest import CONFIGS, ROOT, run_tool
from killing import small_config, write_data


@pytest.fixture(autouse=True)
def _rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('LOCAL_RANK', '0')


def loaded(*options: str, config: str = 'lightglean_twemoji_4x') -> Config:
    args = parser_of('train').parse_args([str(CONFIGS / f'{config}.py'), *options])
    return load_config(args.config, args.work_dir, args.cfg_options, args.launcher)


def written(folder: Path, **options: Any) -> tuple[Path, Config]:
    """A tiny config in a file, with a validation."""
    config = small_config(write_data(folder / 'data', 4), folder / 'work', 2)
    config.val_dataloader = dict(config.test_dataloader)
    config.val_cfg, config.val_evaluator = dict(type='MultiValLoop'), config.test_evaluator
    config.default_hooks.logger.interval = 1
    config.merge_from_dict(options)
    config.dump(folder / 'config.py')
    return folder / 'config.py', config


# ---- keys that do not go together


def test_without_workers_what_is_about_them_is_left_out() -> None:
    """PyTorch refuses it; here also in a test of several data sets, and it stays where there are workers."""
    config = loaded('--cfg-options', 'train_dataloader.num_workers=0', 'train_dataloader.prefetch_factor=4',
                    'val_dataloader.timeout=9', 'val_dataloader.num_workers=0')  # fmt: skip
    for part in ('train', 'val'):
        assert not {'persistent_workers', 'prefetch_factor', 'timeout'} & {*config[f'{part}_dataloader']}
    assert config.test_dataloader.persistent_workers and config.test_dataloader.num_workers == 1
    config = loaded('--cfg-options', 'test_dataloader.1.num_workers=0', config='glean_face_blind')
    assert [loader.get('persistent_workers') for loader in config.test_dataloader] == [True, None]


def test_it_trains_without_workers_as_with_persistent_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, config = written(tmp_path)
    for part in ('train', 'val'):
        config[f'{part}_dataloader'].persistent_workers = True
    config.dump(path)
    run_tool('train', [str(path)], monkeypatch)
    assert (tmp_path / 'work' / 'iter_2.pth').is_file()


@pytest.mark.parametrize(('options', 'said'), [
    (['val_dataloader=None'], 'val_dataloader is None or missing, but val_cfg and val_evaluator are not: .*'
                              '--cfg-options val_cfg=None val_evaluator=None'),
    (['val_cfg=None', 'val_evaluator=None'], 'val_cfg and val_evaluator are None or .*, but val_dataloader is not'),
    (['test_evaluator=None'], 'test_evaluator is None .*add --cfg-options test_dataloader=None test_cfg=None'),
    (['optim_wrapper=None'], 'optim_wrapper is None .*but train_dataloader and train_cfg are not'),
])  # fmt: skip
def test_a_loop_that_lacks_a_part_is_a_sentence(options: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        loaded('--cfg-options', *options)
    assert loaded('--cfg-options', 'val_dataloader=None', 'val_cfg=None', 'val_evaluator=None').val_cfg is None


# ---- checkpoints that are not there


@pytest.mark.parametrize(('tool', 'arguments', 'said'), [
    ('test', ['w/no.pth'], 'The checkpoint w/no.pth, which --checkpoint names, does not exist; w has iter_2.pth.'),
    ('test', ['w'], 'The checkpoint w, which --checkpoint names, is a folder; w has iter_2.pth.'),
    ('test', ['C.safetensors'], 'The checkpoint C.safetensors, which --checkpoint names, does not exist.'),
    ('train', ['--resume', '~/no/iter_9.pth'], 'The checkpoint ~/no/iter_9.pth, which --resume names, does not exist.'),
    ('train', ['--cfg-options', 'load_from=x.pth'], 'The checkpoint x.pth, which load_from names, does not exist.'),
])  # fmt: skip
def test_a_missing_checkpoint_is_a_sentence_before_anything_is_built(
    tool: str, arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'w').mkdir()
    (tmp_path / 'w' / 'iter_2.pth').touch()
    with pytest.raises(AssertionError) as caught:
        run_tool(tool, [str(CONFIGS / 'lightglean_twemoji_4x.py'), *arguments], monkeypatch)
    assert str(caught.value).endswith(f': {said}') and sorted(path.name for path in tmp_path.iterdir()) == ['w']


# ---- what is printed


def test_the_console_shows_the_run_and_the_log_file_everything(tmp_path: Path) -> None:
    """In processes of their own, as Python's filters of warnings are the process's."""
    path, _ = written(tmp_path)
    said = {}
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONWARNINGS'}
    for name, options in (('terse', []), ('verbose', ['--verbose'])):
        command = [sys.executable, str(ROOT / 'tools' / 'train.py'), str(path), '--work-dir', str(tmp_path / name)]
        result = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=300,
                                env={**environment, 'PYTHONPATH': str(ROOT)})  # fmt: skip
        assert result.returncode == 0, result.stderr[-3000:]
        said[name] = result.stdout, result.stderr
        (log,) = (tmp_path / name).rglob('*.log')
        for part in ('System environment:', 'Config:', 'Hooks will be executed', 'Iter(train) [2/2]', 'PSNR: '):
            assert part in log.read_text()
    out, err = said['terse']
    assert err == '' and len(out.splitlines()) < 25
    assert all(part in out for part in ('Iter(train) [2/2]', 'Saving checkpoint at 2', 'PSNR: ', 'Checkpoints: '))
    assert not re.search('System environment|Config:|Hooks will|prefix is not set|deprecated|not a meta file', out)
    assert all(part in said['verbose'][0] for part in ('System environment:', 'Config:', 'Hooks will be executed'))
    assert len(said['verbose'][0].splitlines()) > 300


@pytest.mark.parametrize(('text', 'level', 'shown'), [
    ('The model and loaded state dict do not match exactly', logging.WARNING, True),
    ('NIQE does not exist for 3 of 4 images', logging.WARNING, True),
    ('Iteration 3: NaN or Inf in losses: a, Config: b', logging.WARNING, True),
    ('The prefix is not set in metric class PSNR.', logging.WARNING, False),
    ('twemoji is not a meta file, simply parsed as meta information', logging.WARNING, False),
])  # fmt: skip
def test_warnings_about_results_stay(text: str, level: int, shown: bool) -> None:
    from glean_plus.utils.logs import is_needed

    assert is_needed(logging.LogRecord('mmengine', level, 'x.py', 1, text, None, None)) is shown


def test_warnings_of_libraries_to_their_developers_are_hidden_and_ours_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'warnoptions', [])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        silence_libraries()
        for module in ('diffusers.utils.outputs', 'glean_plus.models', '__main__', 'glean_plus'):
            warnings.warn_explicit('old', FutureWarning, 'f.py', 1, module)
        warnings.warn_explicit('a weight is lost', UserWarning, 'f.py', 1, 'mmengine.runner')
        warnings.warn_explicit('pkg_resources is deprecated as an API', UserWarning, 'f.py', 1, 'mim')
    assert [str(each.message) for each in caught] == ['old', 'old', 'old', 'a weight is lost']
    monkeypatch.setattr(sys, 'warnoptions', ['default'])  # -W counts
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        silence_libraries()
        warnings.warn_explicit('old', FutureWarning, 'f.py', 1, 'diffusers')
    assert len(caught) == 1


# ---- what watches a run


def test_visualizers_are_one_option() -> None:
    config = loaded('--cfg-options', 'vis_backends=[LocalVisBackend,WandbVisBackend]')
    assert config.visualizer.vis_backends == [dict(type='LocalVisBackend'), dict(type='WandbVisBackend')]
    assert 'vis_backends' not in config
    assert loaded().visualizer.vis_backends == [dict(type='LocalVisBackend')]
    config = loaded('--cfg-options', 'visualizer.vis_backends.0.type=WandbVisBackend')
    assert config.visualizer.vis_backends == [dict(type='WandbVisBackend')]


def test_tensorboard_has_the_losses_metrics_and_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of images for each that is compared: input, bicubic, prediction, ground truth."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path, _ = written(tmp_path, custom_hooks=[dict(type='PictureHook', compare=[0, 2])])
    options = ['--cfg-options', 'vis_backends=[LocalVisBackend,TensorboardVisBackend]']
    run_tool('train', [str(path), *options], monkeypatch)
    (events,) = (tmp_path / 'work').rglob('events.out.tfevents.*')
    found = EventAccumulator(str(events))
    found.Reload()
    assert {'loss_pix', 'PSNR', 'bicubic/SSIM'} <= {*found.Tags()['scalars']}
    assert [each.step for each in found.Scalars('loss_pix')] == [1, 2] and 5 < found.Scalars('PSNR')[0].value < 60
    assert [*(tmp_path / 'work').rglob('scalars.json')]  # the local one is still written
    (shown,) = found.Images('comparison')
    (local,) = (tmp_path / 'work').rglob('vis_image/comparison_*.png')
    grid = np.asarray(Image.open(io.BytesIO(shown.encoded_image_string)))
    assert shown.step == 2 and (grid == np.asarray(Image.open(local))).all()
    assert grid.shape == (2 * 32, 4 * 32, 3)
    for row, name in enumerate(('0.png', '2.png')):
        low, gt = (np.asarray(Image.open(tmp_path / 'data' / folder / name)) for folder in ('LQ', 'GT'))
        line = grid[32 * row:32 * (row + 1)]
        assert (line[:, 96:] == gt).all() and (line[::2, :32:2] == low).all() and line[:, 64:96].std() > 1


def test_the_tools_take_the_option() -> None:
    for name, more in (('train', []), ('test', ['x.pth'])):
        assert parser_of(name).parse_args(['config.py', *more, '--verbose']).verbose
