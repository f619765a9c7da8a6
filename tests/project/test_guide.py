"""Every command of the guide, in its order, on a few small images."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from PIL import Image

from glean_plus.cli import main as command
from glean_plus.prepare import twemoji
from glean_plus.weights.torch_files import load_plain

from conftest import CONFIGS, run_tool

GUIDE = (CONFIGS / 'GUIDE.md').read_text()
COMMANDS = [line.strip() for line in re.findall(r'^    (?:mim|glean-plus) .*$', GUIDE, re.MULTILINE)]
LAST = re.compile(r'iter_\d+')

# What makes a config small: 8 -> 32 px, two iterations of four images, no download, no processes.
QUICK = [
    'train_cfg.max_iters=2', 'train_dataloader.batch_size=4', 'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False', 'default_hooks.checkpoint.interval=2',
    'default_hooks.logger.interval=1',
]  # fmt: skip
BANK = 'work_dirs/stylegan2_mine_128px/iter_2.pth'
SMALL = {
    'stylegan2_mine_128px.py': [*QUICK, 'model.generator.out_size=32', 'model.discriminator.in_size=32'],
    'lightglean_mine_4x.py': [
        *QUICK, 'model.generator.in_size=8', 'model.generator.bank.out_size=32', 'model.generator.bank.start_res=8',
        'model.generator.encoder.num_rrdbs=1', 'model.discriminator.in_size=32', 'model.perceptual_loss=None',
        'train_cfg.val_interval=2', 'val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False',
        'test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False',
        f'model.generator.bank.pretrained.checkpoint={BANK}', f'model.discriminator.pretrained.checkpoint={BANK}',
    ],
}  # fmt: skip


def run(line: str, patch: pytest.MonkeyPatch) -> None:
    """A command of the guide in this process, small; mim's as mim would run the tool behind it."""
    words = shlex.split(LAST.sub('iter_2', line))
    if words[0] == 'glean-plus':
        quick = ['--count', '2', '--draws', '2'] if words[1] == 'calibrate' else []
        assert command.main([*words[1:], *quick]) == 0, line
        return
    assert words[2] == 'glean_plus'
    tool, arguments = (words[3], words[4:]) if words[1] == 'run' else (words[1], words[3:])
    if tool in ('train', 'test'):
        config, *rest = arguments
        if '--checkpoint' in rest:  # it is the tool's second argument
            rest.remove('--checkpoint')
        arguments = [str(CONFIGS / config), *rest, '--cfg-options', *SMALL[config]]
    if tool == 'prepare_data':
        arguments += ['--size', '32', '--workers', '1']
    run_tool(tool, arguments, patch)


def test_the_guide_from_pictures_to_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('LOCAL_RANK', '0')
    names = [name for name, _, group, _ in twemoji.read_split() if group in twemoji.PEOPLE][::40]
    for side, some in (('train', names[:8]), ('test', names[8:48])):
        (tmp_path / 'pictures' / side).mkdir(parents=True)
        for name in some:
            Image.fromarray(twemoji.draw(name, 40)).save(tmp_path / 'pictures' / side / f'{name}.png')
    Image.fromarray(twemoji.draw(names[0], 20)).save('small.png')

    for line in COMMANDS:
        run(line, monkeypatch)

    assert Image.open('samples.png').size == (12 * 32, 4 * 32)
    assert 0 < json.loads(Path('metrics.json').read_text())['PSNR'] < 60
    assert Image.open('large.png').size == (80, 80)
    assert json.loads(Path('judged.report.json').read_text())['unlike'] is not None
    # The restorer was trained on this bank.
    bank, restorer = (
        load_plain(path)['state_dict']
        for path in (BANK, 'work_dirs/lightglean_mine_4x/iter_2.pth')
    )
    keys = [key for key in restorer if key.startswith('generator.bank.')]
    assert keys and all(
        torch.equal(restorer[key], bank[key.replace('generator.bank', 'generator_ema.module')]) for key in keys
    )


def test_the_guide_has_each_step() -> None:
    steps = ('prepare_data', 'mim train glean_plus stylegan2', 'bank_samples', 'mim train glean_plus lightglean',
             'mim test', 'glean-plus restore', 'calibrate')  # fmt: skip
    places = [next(i for i, line in enumerate(COMMANDS) if step in line) for step in steps]
    assert places == sorted(places)
    # What is named is there, and what one command writes is what the next reads.
    for name in re.findall(r'\b\w+_mine_\w+', GUIDE):
        assert (CONFIGS / f'{name}.py').is_file(), name
    from mmengine.config import Config

    for name in ('stylegan2_mine_128px', 'lightglean_mine_4x', 'glean_mine_4x'):
        last = Config.fromfile(CONFIGS / f'{name}.py').train_cfg.max_iters
        assert f'iter_{last}.pth' in GUIDE
    checkpoint = Config.fromfile(CONFIGS / 'glean_mine_4x.py').model.generator.bank.pretrained.checkpoint
    assert checkpoint in GUIDE
