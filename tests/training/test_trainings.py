"""Whole trainings: resume, processes, mim."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
import pytest
import torch
from documents import DOCS, block_with
from mmagic.registry import MODELS
from mmagic.structures import DataSample
from mmengine.config import Config
from mmengine.dist import get_rank, get_world_size
from mmengine.runner import Runner
from mmengine.runner.checkpoint import load_checkpoint
from PIL import Image
from safetensors.torch import load_file

from glean_plus.training.launch import use_amp
from glean_plus.weights.torch_files import load_plain

from conftest import BANK_FILE, BIN, CONFIGS, ROOT, forked, launch, random_vgg16, run_tool
from killing import flat


def train(config: Config, name: str) -> Runner:
    config = config.copy()
    config.experiment_name = name
    runner = Runner.from_cfg(config)
    runner.train()
    return runner


@pytest.mark.parametrize('name, as_shipped', [('lightglean_twemoji_4x', True), ('glean_twemoji_8x', False)])
def test_ten_and_ten_more_are_twenty(name: str, as_shipped: bool, tiny_config: Any, tmp_path: Path) -> None:
    """Weights, average, optimisers, schedulers and step counter: bit for bit the same after a resume.

    As shipped, in bfloat16, and with a process that loads the images.
    """
    options = {'default_hooks.checkpoint.interval': 10, 'train_dataloader.batch_size': 2}
    if as_shipped:
        options |= {'train_dataloader.num_workers': 1, 'train_dataloader.persistent_workers': True}
        options |= {f'optim_wrapper.{part}.type': 'BF16OptimWrapper' for part in ('generator', 'discriminator')}
    train(tiny_config(name, tmp_path / 'once', **options, **{'train_cfg.max_iters': 20}), f'{name}-once')
    train(tiny_config(name, tmp_path / 'twice', **options, **{'train_cfg.max_iters': 10}), f'{name}-first')
    train(
        tiny_config(name, tmp_path / 'twice', resume=True, **options, **{'train_cfg.max_iters': 20}), f'{name}-second'
    )
    once, twice = (load_plain(tmp_path / where / 'iter_20.pth') for where in ('once', 'twice'))
    for part in ('state_dict', 'optimizer', 'param_schedulers'):
        expected, result = flat(once[part]), flat(twice[part])
        assert expected.keys() == result.keys()
        assert len(expected) > 3
        for key, value in expected.items():
            assert torch.equal(value, result[key]), f'{part}{key}'
    assert int(twice['state_dict']['step_counter']) == 20
    assert any(key.startswith('generator_ema.') for key in twice['state_dict'])


@pytest.mark.parametrize('name', [f'{model}_twemoji_{task}' for model in ('glean', 'lightglean')
                                  for task in ('4x', '8x', 'blind')])  # fmt: skip
def test_bank_is_the_shipped_one_before_and_after_training(name: str, tiny_config: Any, tmp_path: Path) -> None:
    """Each config of the people's bank, as published: its tensors are the file's, and still are after three steps."""
    shipped = {key.removeprefix('generator_ema.'): value.float() for key, value in load_file(BANK_FILE).items()}
    config = tiny_config(name, **{'train_cfg.max_iters': 3, 'default_hooks.checkpoint.interval': 3})
    config.experiment_name = f'bank-{name}'
    config.train_dataloader.batch_size = 2
    runner = Runner.from_cfg(config)

    def check() -> None:
        bank = runner.model.generator.bank.state_dict()
        assert len(bank) > 20
        for key, value in bank.items():
            assert torch.equal(value, shipped[key]), key

    seen = []
    runner.register_hook(
        type('Check', (mmengine.hooks.Hook,), dict(before_train_epoch=lambda *a: (check(), seen.append(1))))()
    )
    runner.train()
    check()
    assert seen == [1]
    # The learned codes started at the mean code, and moved.
    if name.startswith('light'):
        mean = runner.model.generator.bank.mean_code()
        for code in runner.model.generator.codes.codes:
            assert 0 < float((code.detach() - mean).abs().max()) < 0.1


def probe(config: Config, folder: Path, launcher: str) -> None:
    """Train, then give each process its part of the same joint batches, and write what comes out."""
    config.launcher = launcher
    runner = Runner.from_cfg(config)
    runner.train()
    rank, world = get_rank(), get_world_size()
    torch.save(runner.model.state_dict(), folder / f'trained_{rank}.pth')

    names = {p: name.replace('module.', '') for name, p in runner.model.named_parameters() if p.requires_grad}
    for parameter in names:
        generator = torch.Generator().manual_seed(parameter.numel())
        width = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
        parameter.data = torch.randn(parameter.shape, generator=generator) * width
    gradients = {}

    class Recorder(torch.optim.SGD):
        """Keeps the gradients of what would be a step."""

        def step(self, closure: Any = None) -> None:
            gradients.update({names[p]: p.grad.clone() for p in self.param_groups[0]['params'] if p.grad is not None})

    for wrapper in runner.optim_wrapper.values():
        wrapper.optimizer = Recorder(wrapper.optimizer.param_groups[0]['params'], lr=1.0)
        wrapper._accumulative_counts = 2
        wrapper.initialize_count_status(runner.model, 0, 2)
    generator = torch.Generator().manual_seed(5)
    for _ in range(2):
        lq = torch.randint(0, 256, (4, 3, 16, 16), generator=generator, dtype=torch.uint8).chunk(world)[rank]
        gt = torch.randint(0, 256, (4, 3, 64, 64), generator=generator, dtype=torch.uint8).chunk(world)[rank]
        samples = [DataSample(gt_img=image) for image in gt]
        runner.model.train_step(dict(inputs=list(lq), data_samples=samples), optim_wrapper=runner.optim_wrapper)
    torch.save(gradients, folder / f'gradients_{rank}.pth')


def test_two_processes_hold_equal_weights_and_the_joint_gradient(tiny_config: Any, tmp_path: Path) -> None:
    config = tiny_config(**{'train_cfg.max_iters': 10})
    config.model.discriminator.mbstd_group = 1  # statistics over a batch would differ between halves and whole
    for folder, processes, launcher in (('two', 2, 'pytorch'), ('one', 0, 'none')):
        (tmp_path / folder).mkdir()
        forked(probe, config, tmp_path / folder, launcher, cwd=tmp_path, processes=processes)
    first, second = (torch.load(tmp_path / 'two' / f'trained_{rank}.pth') for rank in (0, 1))
    shipped = load_file(BANK_FILE)
    for key, value in first.items():
        assert torch.equal(value, second[key]), key
        if '.bank.' in key:  # loaded in every process
            assert torch.equal(value, shipped[f'generator_ema.{key.split(".bank.")[1]}'].float()), key

    joint = torch.load(tmp_path / 'one' / 'gradients_0.pth')
    assert len(joint) > 100 and all(value.abs().max() > 0 for value in joint.values())
    for rank in (0, 1):
        split = torch.load(tmp_path / 'two' / f'gradients_{rank}.pth')
        assert split.keys() == joint.keys()
        for key, value in joint.items():
            torch.testing.assert_close(split[key], value, rtol=1e-3, atol=1e-4 * float(value.abs().max()), msg=key)


def train_by_two(folder: Path, *options: str) -> None:
    """The tool with the config in the folder."""
    arguments = [str(folder / 'config.py'), '--launcher', 'pytorch', *options]
    forked(run_tool, 'train', arguments, pytest.MonkeyPatch(), cwd=folder, processes=2)


def test_checkpoint_of_two_processes_is_that_of_one(tiny_config: Any, tmp_path: Path) -> None:
    """The tool trains in two processes that torchrun starts, and resumes in two; one process tests the result."""
    config = tiny_config('glean_twemoji_4x', tmp_path / 'work', **{'train_cfg.max_iters': 4})
    config.default_hooks.checkpoint.interval = 2
    config.env_cfg.dist_cfg.backend = 'nccl'  # as shipped; without a GPU it becomes gloo
    config.dump(tmp_path / 'config.py')
    tool = [str(ROOT / 'tools' / 'train.py'), str(tmp_path / 'config.py'), '--launcher', 'pytorch']
    launch([str(BIN / 'torchrun'), '--standalone', '--nproc-per-node=2', *tool], tmp_path)
    single = {*MODELS.build(config.model).state_dict()}
    once = torch.load(tmp_path / 'work' / 'iter_4.pth')['state_dict']
    assert {*once} == single
    (tmp_path / 'work' / 'iter_4.pth').unlink()
    train_by_two(tmp_path, '--resume', str(tmp_path / 'work' / 'iter_2.pth'))
    twice = torch.load(tmp_path / 'work' / 'iter_4.pth')['state_dict']
    for key, value in once.items():
        assert torch.equal(value, twice[key]), key
    model = MODELS.build(config.model)
    load_checkpoint(model, str(tmp_path / 'work' / 'iter_4.pth'))
    assert all(torch.equal(value, once[key]) for key, value in model.state_dict().items())


def test_amp_makes_every_wrapper_bfloat16() -> None:
    config = Config.fromfile(CONFIGS / 'glean_cat_16x.py')
    config.optim_wrapper.discriminator.update(type='AmpOptimWrapper', loss_scale='dynamic')
    use_amp(config)
    for part in ('generator', 'discriminator'):
        assert config.optim_wrapper[part].type == 'BF16OptimWrapper' and 'loss_scale' not in config.optim_wrapper[part]
        assert config.optim_wrapper[part].optimizer.type == 'Adam'
    single = Config(dict(optim_wrapper=dict(constructor='X', type='OptimWrapper', optimizer=dict(type='Adam', lr=1.0))))
    use_amp(single)
    assert single.optim_wrapper.type == 'BF16OptimWrapper' and single.optim_wrapper.optimizer.type == 'Adam'


def test_resume_of_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('LOCAL_RANK', '0')
    config = str(CONFIGS / 'lightglean_twemoji_4x.py')
    with pytest.raises(AssertionError, match='no checkpoint in w '):
        run_tool('train', [config, '--resume', '--work-dir', 'w'], monkeypatch)


# ---- mim, on the installed package, from an empty folder


@pytest.fixture
def empty(tiny_data: Path, tmp_path: Path) -> Path:
    """An empty folder, but for the data where the configs look for it."""
    shutil.copytree(tiny_data, tmp_path / 'data' / 'twemoji')
    return tmp_path


SHORT = ['--cfg-options', 'train_cfg.max_iters=4', 'train_cfg.val_interval=100', 'default_hooks.checkpoint.interval=4',
         'default_hooks.logger.interval=2', 'train_dataloader.batch_size=4']  # fmt: skip


def test_mim_trains_resumes_and_tests_from_an_empty_folder(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mim = str(BIN / 'mim')
    output = launch([mim, 'train', 'glean_plus', 'lightglean_twemoji_4x.py', '--work-dir', 'w', '--amp', *SHORT], empty)
    assert 'Training finished successfully' in output
    assert 'StyleGAN2Bank: all' in output and 'tensors loaded from' in output
    # Everything is below the work directory.
    assert sorted(path.name for path in empty.iterdir()) == ['data', 'w']

    more = ['--cfg-options', 'train_cfg.max_iters=6', *SHORT[2:]]
    output = launch(
        [mim, 'train', 'glean_plus', 'lightglean_twemoji_4x.py', '--work-dir', 'w', '--resume', *more], empty
    )
    assert 'resumed epoch: 0, iter: 4' in output

    output = launch([mim, 'test', 'glean_plus', 'lightglean_twemoji_4x.py', '--checkpoint', 'w/iter_4.pth',
                     '--work-dir', 't', '--out', 'metrics.json',
                     '--cfg-options', 'custom_hooks.0.compare=[0,1,2,3]'], empty)  # fmt: skip
    metrics = json.loads((empty / 'metrics.json').read_text())
    for metric in ('PSNR', 'SSIM', 'ST-LPIPS-vgg'):
        assert {metric, f'bicubic/{metric}'} <= metrics.keys()
    predictions = list((empty / 't' / 'pictures').iterdir())
    assert len(predictions) == 4 and np.asarray(Image.open(predictions[0])).shape == (64, 64, 3)
    rows = np.asarray(Image.open(empty / 't' / 'comparison.png'))
    assert rows.shape == (4 * 64, 4 * 64, 3)
    # The ground truth, in its own colours.
    first = (empty / 'data' / 'twemoji' / 'meta_info_Twemoji_people_test.txt').read_text().split()[0]
    truth = np.asarray(Image.open(empty / 'data' / 'twemoji' / 'GT' / first))
    assert (rows[:64, -64:] == truth).all() and (truth[..., 0] != truth[..., 2]).any()

    monkeypatch.chdir(empty)
    monkeypatch.setenv('LOCAL_RANK', '0')
    other = str(CONFIGS / 'glean_twemoji_8x.py')
    with pytest.raises(AssertionError, match='does not fit this config|no key that starts|Other shape|does not fit'):
        run_tool('test', [other, 'w/iter_4.pth', '--work-dir', 't'], monkeypatch)


def test_mmagic_s_own_entry_takes_our_config(empty: Path) -> None:
    """`mim train mmagic PATH`: custom_imports brings this package in."""
    config = BIN.parent / 'lib'
    config = next(config.glob('python*/site-packages/glean_plus/.mim/configs/lightglean_twemoji_4x.py'))
    output = launch([str(BIN / 'mim'), 'train', 'mmagic', str(config), '--work-dir', 'w', *SHORT], empty)
    assert 'Training finished successfully' in output and (empty / 'w' / 'iter_4.pth').is_file()


def test_mmagic_s_glean_config_becomes_lightglean(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The documented lines, run for a step, with a bank in the published form and a random VGG."""
    from mmagic.models.losses import perceptual_loss

    from test_configs import fake_checkpoint

    path = tmp_path / 'my_lightglean.py'
    path.write_text(block_with(DOCS / 'training' / 'mmagic.md', 'mmagic::glean'))
    config = Config.fromfile(path)
    monkeypatch.setattr(torch.hub, '_hub_dir', str(tmp_path / 'hub'))
    model = config.model.to_dict()
    pretrained = model['generator']['bank']['pretrained']
    critic = {key: value for key, value in model['discriminator'].items() if key not in ('pretrained', 'init_cfg')}
    state = fake_checkpoint(pretrained['checkpoint'], model['generator']['bank'], critic, tmp_path / 'hub', monkeypatch)
    monkeypatch.setattr(perceptual_loss.vgg, 'vgg16', lambda pretrained: random_vgg16())
    config.model.discriminator.init_cfg = None
    config.work_dir = str(tmp_path / 'work')
    for name in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        config.pop(name)
    config.train_dataloader.update(num_workers=0, batch_size=1)
    data = tmp_path / 'data'
    for folder, side in (('BIx16_down', 16), ('GT', 256)):
        (data / folder).mkdir(parents=True)
        for picture in sorted((tiny_data / 'GT').iterdir())[:2]:
            Image.open(picture).resize((side, side)).save(data / folder / picture.name)
    names = ''.join(f'{picture.name} (256,256,3)\n' for picture in sorted((data / 'GT').iterdir()))
    (data / 'meta_info_LSUNcat_GT.txt').write_text(names)
    config.train_dataloader.dataset.data_root = str(data)
    config.train_cfg.update(max_iters=1)
    config.default_hooks.checkpoint = None  # it would take longer than the step
    config.custom_hooks = None
    config.env_cfg.dist_cfg.backend = 'gloo'
    runner = train(config, 'readme')
    assert runner.model.generator.bank.start_res == 16
    for key, value in runner.model.generator.bank.state_dict().items():
        assert torch.equal(value, state[f'generator_ema.{key}']), key


def test_bank_trains_in_two_processes(tiny_data: Path, tmp_path: Path) -> None:
    """With the gradient penalty in every step, and the average in the checkpoint."""
    config = Config.fromfile(CONFIGS / 'stylegan2_twemoji_64px.py')
    config.work_dir = str(tmp_path / 'work')
    config.train_dataloader.update(num_workers=0, persistent_workers=False, batch_size=4)
    config.train_dataloader.dataset.data_root = str(tiny_data)
    config.model.loss_config.r1_interval = 1
    config.train_cfg.max_iters = 3
    config.default_hooks.checkpoint.interval = 3
    config.dump(tmp_path / 'config.py')
    train_by_two(tmp_path)
    state = load_plain(tmp_path / 'work' / 'iter_3.pth')['state_dict']
    assert not torch.equal(
        state['generator.conv1.conv.weight_orig'], state['generator_ema.module.conv1.conv.weight_orig']
    )
    assert all(torch.isfinite(value).all() for value in state.values())
