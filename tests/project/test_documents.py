"""README.md and docs/: each command and program is run, here or by the test that is named, and no link is broken.

What would take hours, a GPU or a download is run in small: SMALL and STAND_INS say how.
"""

from __future__ import annotations

import ast
import contextlib
import glob
import json
import os
import re
import shlex
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import numpy as np
import pytest
import torch
from documents import DOCS, HOME, anchors, block_with, blocks, commands, links, pages
from PIL import Image

from glean_plus.cli import main as command
from glean_plus.prepare import twemoji
from glean_plus.weights.torch_files import load_plain

from conftest import BANK_FILE, CONFIGS, ROOT, draw_emoji, run_tool

GUIDE = DOCS / 'training' / 'own-images.md'
LAST = re.compile(r'iter_\d+')

# Commands that another test runs, because it has what they need: files in a publisher's layout, a server, processes.
ELSEWHERE = {
    r'glean-plus web': 'web/test_web.py::test_every_option_does_something',
    r'glean-plus restore .*--engine ray .*--address': 'cli/test_ray.py::test_a_cluster_makes_what_one_run_makes',
    r"glean-plus restore '?s3://": 'cli/test_ray.py::test_the_recipes_of_a_store',
    r'sbatch |glean-plus merge \S+\.jsonl': 'cli/test_shards.py::test_documented_slurm_array',
    r'glean-plus restore .*--device cpu,cpu --records': 'cli/test_devices.py::test_two_processes_make_what_one_makes',
    r'ray start ': 'cli/test_ray.py::test_a_process_and_a_node_that_die',
    r'glean-plus restore film': 'inference/test_video.py::test_three_seconds_with_sound',
    r'glean-plus restore .*--faces': 'inference/test_faces.py::test_command',
    r'curl ': 'web/test_web.py::test_documented_requests',
    r'glean-plus prepare (ffhq|lsun-cat|imagenet-val|folder MY_IMAGES) ': 'prepare/test_data_sets.py::test_layout',
    r'glean-plus prepare crops ': 'prepare/test_crops.py::test_the_command',
    r'glean-plus photos ': 'prepare/test_crops.py::test_photographs_out_of_a_package',
    r'glean-plus text ': 'prepare/test_text.py::test_command',
    r'glean-plus ocr ': 'analysis/test_ocr.py::test_command_writes_what_is_asked_for',
    r'glean-plus peers ': 'analysis/test_peers.py::test_whole_tool',
    r'glean-plus fetch \w': 'weights/test_fetch.py::test_tool_lists_and_fetches',
    r'glean-plus replay ': 'training/test_nonfinite.py::test_too_many_end_the_training_and_can_be_replayed',
    r'mim download ': 'configs/test_configs.py::test_mim_finds_the_released_weights',
    r'mim train mmagic ': 'training/test_trainings.py::test_mmagic_s_own_entry_takes_our_config',
    r'mim train .*--launcher (pytorch|slurm) --gpus': 'training/test_distributed.py::test_documented_torchrun',
    r'torchrun ': 'training/test_distributed.py::test_documented_torchrun',
    r'srun ': 'training/test_distributed.py::test_documented_slurm',
    r'mim test .*glean_cat_16x_': 'models/test_glean.py::test_output_equals_mmagic',
    r'pytest .*mtcnn': 'inference/test_faces.py::test_mtcnn_finds_a_face_of_11_pixels_and_one_that_is_turned',
    r'pytest .*costs': 'training/test_nonfinite.py::test_the_guard_costs_next_to_nothing',
}
# Commands that set up a machine or belong to other packages. What they name is checked.
SET_UP = re.compile(
    r'pip |\.venv/bin/pip |python3\.11 -m venv |make |mkdir |cd |apt-get |docker |tensorboard |python -m pytorch_fid '
)

# What makes a training small: 8 -> 32 px, two iterations of four images, no download, no processes.
QUICK = [
    'train_cfg.max_iters=2', 'train_dataloader.batch_size=4', 'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False', 'default_hooks.checkpoint.interval=2',
    'default_hooks.logger.interval=1',
]  # fmt: skip
UNTESTED = [f'{side}_{part}=None' for side in ('val', 'test') for part in ('dataloader', 'cfg', 'evaluator')]
ALONE = ['test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False']
BANK = 'work_dirs/stylegan2_mine_128px/iter_2.pth'
SMALL_CONFIGS = {
    'stylegan2_mine_128px.py': [*QUICK, 'model.generator.out_size=32', 'model.discriminator.in_size=32'],
    'lightglean_mine_4x.py': [
        *QUICK, *ALONE, 'model.generator.in_size=8', 'model.generator.bank.out_size=32',
        'model.generator.bank.start_res=8', 'model.generator.encoder.num_rrdbs=1', 'model.discriminator.in_size=32',
        'model.perceptual_loss=None', 'train_cfg.val_interval=2', 'val_dataloader.num_workers=0',
        'val_dataloader.persistent_workers=False', f'model.generator.bank.pretrained.checkpoint={BANK}',
        f'model.discriminator.pretrained.checkpoint={BANK}',
    ],
}  # fmt: skip
# What makes other commands small: options that come last count.
SMALL = {
    'restore': ['--device', 'cpu', '--speed', 'exact', '--overwrite'],
    'samples': ['--rows', '1', '--columns', '2'],
    'inspect': ['--number', '1', '--shown', '1', '--overwrite'],
    'invert': ['--steps', '2', '--overwrite'],
    'fidelity': ['--device', 'cpu', '--every', '20'],
    'calibrate': ['--device', 'cpu', '--count', '2', '--draws', '2'],
    'study': ['--dry-run'],
    'prepare': ['--workers', '1'],
    'twemoji': ['--help'],  # tiny_data is drawn by it
}
# What stands in a page for a file of the reader, a download, or the fruit of hours.
STAND_INS = {
    'glean_face_8x': 'face.pth', 'IN': str(BANK_FILE), '[66,67,68,70]': '[0,1]',
}  # fmt: skip


def everywhere() -> list[str]:
    """The commands of all pages, each once."""
    return list(dict.fromkeys(line for page in pages() for line in commands(page)))


def elsewhere(line: str) -> str | None:
    """The test that runs a command, unless this module does."""
    return next((test for pattern, test in ELSEWHERE.items() if re.match(pattern, line)), None)


def run(line: str, patch: pytest.MonkeyPatch) -> None:
    """A command of a page in this process, small; mim's as mim would run the tool behind it."""
    for said, stands_in in STAND_INS.items():
        line = re.sub(rf'(?<![\w/.]){re.escape(said)}(?![\w/])', stands_in, line)
    words = shlex.split(LAST.sub('iter_2', line))
    patterns = re.compile(r'configs/.*\*')  # which the shell expands
    words = [each for word in words for each in (sorted(glob.glob(word)) if patterns.match(word) else [word])]
    if words[0] == 'glean-plus':
        with contextlib.ExitStack() as stack:
            if SMALL.get(words[1]) == ['--help'] or words[1].startswith('--'):
                stack.enter_context(pytest.raises(SystemExit))
            assert command.main([*words[1:], *SMALL.get(words[1], [])]) == 0, line
        return
    assert words[2] == 'glean_plus', line
    tool, arguments = (words[3], words[4:]) if words[1] == 'run' else (words[1], words[3:])
    config, *rest = arguments
    if '--checkpoint' in rest:  # it is the tool's second argument
        rest.remove('--checkpoint')
    if '--cfg-options' not in rest:
        rest.append('--cfg-options')
    path = config if Path(config).is_file() else str(CONFIGS / config)
    run_tool(tool, [path, *rest, *SMALL_CONFIGS.get(config, [*QUICK, *UNTESTED] if tool == 'train' else ALONE)], patch)


def test_every_command_is_run_by_a_test() -> None:
    """Here, or by the test that is named; what sets up a machine names files, extras and targets that there are."""
    lines = everywhere()
    assert len(lines) > 100
    for pattern, name in ELSEWHERE.items():
        assert any(re.match(pattern, line) for line in lines), pattern
        assert is_test(name), name
    extras = ConfigParser()
    extras.read(ROOT / 'setup.cfg')
    makefile = (ROOT / 'Makefile').read_text()
    for line in lines:
        if not SET_UP.match(line):
            continue
        for file in re.findall(r'-r (\S+)', line):
            assert (ROOT / file).is_file(), line
        for name in re.findall(r'"\.\[([\w,]+)\]"', line):
            assert {*name.split(',')} <= {*extras['options.extras_require']}, line
        for target in re.findall(r'^make (\w+)', line):
            assert re.search(rf'^{target}:', makefile, re.MULTILINE), line


def is_test(name: str) -> bool:
    """Whether `folder/test_x.py::test_y` exists, or that file."""
    module, _, function = name.partition('::')
    path = ROOT / 'tests' / module
    names = {each.name for each in ast.parse(path.read_text()).body if isinstance(each, ast.FunctionDef)}
    return path.is_file() and (not function or function in names)


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory, light_checkpoint: Path) -> Path:
    """A reader's folder: this project's, a few emoji and photographs, and what a training leaves."""
    root = tmp_path_factory.mktemp('reader')
    (root / 'configs').mkdir()
    (root / 'data' / 'twemoji').mkdir(parents=True)
    for name in ('weights', '_base_', 'glean_twemoji_4x.py', 'esrganplus_twemoji_4x.py', 'bankfree_twemoji_4x.py'):
        (root / 'configs' / name).symlink_to(CONFIGS / name)
    (root / 'tools').symlink_to(ROOT / 'tools')
    draw_emoji(root / 'data' / 'twemoji', {'train': slice(0, None, 200), 'test': slice(0, None, 9)}, every_group=True)
    emoji = sorted((root / 'data' / 'twemoji' / 'GT').iterdir())
    for place in ('in.png', 'photo.jpg', 'photos/a.jpg', 'photos/b.jpg', 'PHOTOS/a.png', 'data/photos/test/GT/0.png',
                  'data/photos/test/GT/1.png'):  # fmt: skip
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        side = 64 if 'GT' in place else 24
        Image.open(emoji[len(place)]).resize((side, side)).save(root / place)
    Image.open(root / 'in.png').save(root / 'in.gif', save_all=True, append_images=[Image.open(root / 'photo.jpg')])
    low = root / 'data' / 'photos' / 'test' / 'BIx4_down'
    low.mkdir()
    for name in ('0.png', '1.png'):
        Image.open(low.parent / 'GT' / name).resize((16, 16), Image.BICUBIC).save(low / name)
    (low.parent / 'meta_info_GT.txt').write_text('0.png (64,64,3)\n1.png (64,64,3)\n')
    (root / 'face.pth').symlink_to(light_checkpoint)
    (block,) = (block for block in blocks(DOCS / 'training' / 'mim.md', 'python') if 'max_iters=2000' in block)
    (root / 'mine.py').write_text(block)
    return root


@pytest.fixture
def reader(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    monkeypatch.setenv('LOCAL_RANK', '0')
    return folder


def test_commands_of_models(reader: Path, no_scope: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is done with a trained model or a bank; the benchmark's entries are not measured."""
    from glean_plus.analysis.benchmark import compare
    from glean_plus.analysis.benchmark import run as benchmark

    monkeypatch.setattr(benchmark, 'compare', lambda names, *others, **more: (
        {name: compare.Measured([1.0], 1, 0) for name in names}, dict(float32=1.0, bfloat16=1.0)))  # fmt: skip
    monkeypatch.setattr('glean_plus.analysis.benchmark.run.plot', lambda found, path: None)
    # They would stand beside the shipped weights.
    monkeypatch.setattr('glean_plus.analysis.calibration.write_bounds', lambda content, checkpoint: None)
    guide, done, broken = commands(GUIDE), 0, dict[str, BaseException]()
    for line in everywhere():
        if line.startswith('awk '):
            subprocess.run(line, shell=True, check=True)
        line = re.sub(r'eval "\$\((.*)\)"', r'\1', line)
        if line in guide or elsewhere(line) or not line.startswith('glean-plus ') or 'publish' in line:
            continue
        try:
            run(line, monkeypatch)
        except (Exception, SystemExit) as error:
            broken[line] = error
        done += 1
    assert not broken, '\n'.join(f'{line}: {error!r}' for line, error in broken.items())
    assert done > 30
    assert Image.open('photo_4x.png').size == (96, 96)
    assert json.loads(Path('report.json').read_text())['pictures']
    assert np.asarray(Image.open('restored/a.jpg')).any() and Path('emoji.ts').is_file()


def test_commands_of_training(reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first training and test are done; of the others, everything is built and checked."""
    from glean_plus.training.runner import TerseRunner

    guide, done, broken = commands(GUIDE), set(), dict[str, BaseException]()
    for line in everywhere():
        if line in guide or elsewhere(line) or not line.startswith(('mim ', 'BANK=', 'glean-plus publish')):
            continue
        if line.startswith('BANK='):
            monkeypatch.setenv('BANK', str(BANK_FILE))
            continue
        line = line.replace('.prefix=generator_ema.module', '.prefix=generator_ema')  # of the shipped file
        work = Path('work_dirs') / re.findall(r'\w+\.py', line)[-1].removesuffix('.py')
        kind = ' '.join(line.split()[:2])
        with pytest.MonkeyPatch.context() as patch:
            if kind in done and '_photo_' not in line:
                patch.setattr(TerseRunner, 'train', lambda runner: None)
                patch.setattr(TerseRunner, 'test', lambda runner: {})
            if 'test' in kind and not Path(LAST.sub('iter_2', line).split()[5]).is_file():
                continue
            try:
                run(os.path.expandvars(line), patch)
                assert work.is_dir() or 'publish' in line
            except (Exception, SystemExit) as error:
                broken[line] = error
        done.add(kind)
    assert not broken, '\n'.join(f'{line}: {error!r}' for line, error in broken.items())
    assert {'mim train', 'mim test', 'glean-plus publish'} <= done


def test_from_a_folder_to_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's commands in their order, on a few small images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setitem(SMALL, 'prepare', ['--workers', '1', '--size', '32'])
    monkeypatch.delitem(SMALL, 'samples')
    names = [name for name, _, group, _ in twemoji.read_split() if group in twemoji.PEOPLE][::40]
    for side, some in (('train', names[:8]), ('test', names[8:48])):
        (tmp_path / 'pictures' / side).mkdir(parents=True)
        for name in some:
            Image.fromarray(twemoji.draw(name, 40)).save(tmp_path / 'pictures' / side / f'{name}.png')
    Image.fromarray(twemoji.draw(names[0], 20)).save('small.png')

    for line in commands(GUIDE):
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


def test_the_guide_names_what_its_configs_do() -> None:
    """What one command writes is what the next reads."""
    from mmengine.config import Config

    text = GUIDE.read_text()
    for name in ('stylegan2_mine_128px', 'lightglean_mine_4x', 'glean_mine_4x'):
        assert f'iter_{Config.fromfile(CONFIGS / f"{name}.py").train_cfg.max_iters}.pth' in text
    assert Config.fromfile(CONFIGS / 'glean_mine_4x.py').model.generator.bank.pretrained.checkpoint in text


def test_programs(reader: Path, no_scope: None) -> None:
    """Those of the guides and of the README; the inferencer's are run by tests/training/test_inferencer.py, Ray's by
    tests/cli/test_ray.py.
    """
    programs = [program for page in (ROOT / 'README.md', *sorted((DOCS / 'guides').glob('*.md')))
                for program in blocks(page, 'python') if not re.search('onnxruntime|ray', program)]  # fmt: skip
    assert len(programs) == 5
    for program in programs:
        exec(compile(program.replace('glean_face_8x', 'face.pth'), 'page', 'exec'), {})
    assert Image.open('out.png').size == Image.open('out.webp').size == (96, 96)


def test_losses_of_the_page_are_built() -> None:
    from mmagic.registry import MODELS

    for program in blocks(DOCS / 'reference' / 'metrics.md', 'python'):
        names = {}
        exec(program, names)
        for loss in (names.get('model', {}).get('losses') or dict(one=names['perceptual_loss'])).values():
            assert MODELS.get(loss['type']) is not None


def test_a_metric_a_task_and_a_format_are_added_as_contributing_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bank is added in tests/models/test_toy_bank.py."""
    from mmagic.registry import METRICS, MODELS

    from glean_plus import Restorer
    from glean_plus.metrics.directions import lower_is_better
    from glean_plus.models.task import task_of
    from glean_plus.weights import import_weights, read_state_dict
    from glean_plus.weights.formats import importer

    page, names = ROOT / 'CONTRIBUTING.md', dict[str, object](__name__='page')
    try:
        for program in blocks(page, 'python'):
            exec(program, names)
        metric = METRICS.build(dict(type='MaxError'))
        sample = dict(gt_img=torch.zeros(3, 4, 4), pred_img=torch.full((3, 4, 4), 7))
        metric.process(None, [dict(output=dict(pred_img=sample['pred_img']), gt_img=sample['gt_img'])])
        metric.size = 1
        assert metric.evaluate() == {'MaxError': 7.0} and lower_is_better(type(metric))

        torch.save(dict(state_dict={'generator.contrast': torch.ones(1)}), tmp_path / 'x.pth')
        config = dict(model=dict(type='GLEANRestorer', generator=dict(type='Doubler', in_size=16)))
        assert task_of(MODELS.build(dict(type='Doubler', in_size=16))).scale == 2
        result = Restorer(config, tmp_path / 'x.pth', device='cpu', speed='exact')(np.full((5, 7, 3), 9, np.uint8))
        assert result.shape == (10, 14, 3) and (result == 9).all()

        bank = read_state_dict(BANK_FILE)
        bank = {key.removeprefix('generator_ema.'): each for key, each in bank.items() if key.startswith('generator_')}
        torch.save({f'net/{key.replace(".", "/")}': each for key, each in bank.items()}, tmp_path / 'slashes.pth')
        monkeypatch.setattr(importer, 'FOREIGN', (*importer.FOREIGN, *names['SLASHES']))
        found = import_weights(tmp_path / 'slashes.pth')
        assert found.format == 'StyleGAN2 with slashes' and found.kwargs['out_size'] == 64
    finally:
        METRICS.module_dict.pop('MaxError', None)
        MODELS.module_dict.pop('Doubler', None)


def test_mmagic_s_bank_defect_is_seen_in_five_lines(tmp_path: Path) -> None:
    """In a process of its own, in which what this package registers comes with the first look-up."""
    code = block_with(DOCS / 'training' / 'mmagic.md', 'bank.pth')
    assert len(ast.parse(code).body) <= 7
    imports, _, rest = code.partition('\n')
    code = f"{imports}\nassert MODELS.get('GLEANRestorer').__name__ == 'GLEANRestorer'\n{rest}"
    result = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.strip().splitlines()[-1] == 'False'


def test_no_link_is_broken() -> None:
    """Into this repository, with its section. The README's are absolute, for where it is shown elsewhere."""
    total = 0
    for page in (*pages(), *(ROOT / f'{name}.md' for name in ('SECURITY', 'CHANGELOG', 'configs/README'))):
        for target, anchor in links(page):
            total += 1
            if '://' in target:
                assert target.startswith('https://') and not target.startswith(HOME), f'{page.name}: {target}'
                continue
            assert Path(target).exists(), f'{page.name}: {target}'
            if anchor:
                assert anchor in anchors(Path(target)), f'{page.name}: {target}#{anchor}'
    assert total > 100
    readme = (ROOT / 'README.md').read_text()
    assert not re.search(r'\]\((?!https:)', readme) and 'src="https:' in readme
    assert len(readme.encode()) <= 10_000


def test_files_and_configs_that_they_name_are_there() -> None:
    for page in pages():
        text = page.read_text()
        for name in set(re.findall(r'(?<!test_)(?<!\w)(?:light)?(?:glean|stylegan2)_\w+\.py', text)):
            assert (CONFIGS / name).is_file() or name.startswith('glean_x16'), (page, name)
        for name in re.findall(r'`((?:tests|tools|requirements|configs)/[\w./-]+)`', text):
            assert (ROOT / name).exists(), (page, name)
        for target in re.findall(r'`make (\w+)`', text):
            assert re.search(rf'^{target}:', (ROOT / 'Makefile').read_text(), re.MULTILINE), target


def test_each_feature_beside_other_tools_has_its_test() -> None:
    """The last column names a test that there is; a feature that is called ours has one."""
    text = (DOCS / 'reference' / 'tools.md').read_text()
    rows = [line.strip('|').split('|') for line in text.splitlines() if line.startswith('| ')][1:]
    assert len(rows) > 20 and {len(row) for row in rows} == {7}
    for row in rows:
        assert row[5].strip() in '+-' and all(re.match(r'\+|-|\(\+\)', cell.strip()) for cell in row[1:5]), row
        if row[5].strip() == '-':
            assert not row[6].strip(), row
            continue
        (name,) = re.findall(r'`(\w+/test_\w+\.py(?:::test_\w+)?)`', row[6])
        assert is_test(name), name


def test_the_container_copies_and_installs_what_there_is() -> None:
    """Files, extras and the command that the Dockerfile names; what it ignores is not needed for the wheel."""
    text = (ROOT / 'Dockerfile').read_text()
    setup = ConfigParser()
    setup.read(ROOT / 'setup.cfg')
    copied = re.findall(r'^COPY (?!--from)(\S+) ', text, re.MULTILINE)
    assert copied == ['.', 'requirements/default.txt'] and all((ROOT / name).exists() for name in copied)
    (extras,) = re.findall(r'^ARG EXTRAS=(.*)', text, re.MULTILINE)
    assert {*extras.split(',')} <= {*setup['options.extras_require']}
    (command,) = re.findall(r'^ENTRYPOINT \["(.*)"\]', text, re.MULTILINE)
    assert command in setup['options.entry_points']['console_scripts']
    ignored = {line.rstrip('*') for line in (ROOT / '.dockerignore').read_text().split()}
    needed = {'glean_plus', 'configs', 'tools', 'requirements', 'setup.py', 'setup.cfg', 'README.md', 'LICENSE',
              'model-index.yml', 'MANIFEST.in'}  # fmt: skip
    assert not ignored & needed
