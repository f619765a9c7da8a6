"""Shared pieces: a tiny data set of real Twemoji, and configs that run on it."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import json
import multiprocessing
import os
import random
import re
import runpy
import socket
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope
from torch.overrides import TorchFunctionMode

from glean_plus import Restorer
from glean_plus.accel.compiler import CompilerError, library

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs'
BIN = Path(sys.executable).parent
BANK_FILE = CONFIGS / 'weights' / 'stylegan2_twemoji_64px.safetensors'

# mim makes this folder when it is imported, and fails if another process of the tests makes it at the same moment.
Path('~/.cache/mim').expanduser().mkdir(parents=True, exist_ok=True)

# A warning of ours fails whichever test meets it (setup.cfg); PyTorch says some only once a process.
torch.set_warn_always(True)


@pytest.fixture(autouse=True)
def _scope_and_seed() -> None:
    init_default_scope('mmagic')
    torch.use_deterministic_algorithms(False)  # what a training of another test has switched on
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope='session')
def _unformatted_configs() -> Any:
    """MMEngine formats a config with yapf each time it logs or saves one, five times a run: most of a short run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.config.config.FormatCode', lambda text, **options: (text, True))
        yield


@pytest.fixture(autouse=True, scope='session')
def _frozen_modules() -> None:
    """MMEngine collects garbage whenever a data set is built; what was imported by now is none, and much to look at."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope='session')
def _no_network() -> Any:
    """Any connection but loopback fails the test."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family != socket.AF_UNIX and address[0] not in ('127.0.0.1', '::1', 'localhost'):
            raise AssertionError(f'A test tried to connect to {address}.')
        return connect(self, address)

    socket.socket.connect = guarded
    yield
    socket.socket.connect = connect


def load_tool(name: str, folder: Path = ROOT / 'tools') -> ModuleType:
    """Import tools/NAME.py."""
    spec = importlib.util.spec_from_file_location(f'tools_{name}', folder / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def run_tool(name: str, arguments: list[str], patch: pytest.MonkeyPatch) -> None:
    """tools/NAME.py as a command, but in this process: a process of its own takes some seconds to start."""
    patch.setattr(sys, 'argv', [name, *arguments])
    try:
        runpy.run_path(str(ROOT / 'tools' / f'{name}.py'), run_name='__main__')
    except SystemExit as ended:
        if ended.code:
            raise AssertionError(f'{name} {" ".join(arguments)}: {ended.code}') from ended


@pytest.fixture
def no_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    """MMEngine's default scope is what a command has to set itself, as in a process of its own."""
    monkeypatch.setattr(DefaultScope, '_instance_dict', OrderedDict())


@pytest.fixture(scope='module')
def light_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LightGLEAN, 16 -> 32, as a training leaves it."""
    from small_restorers import generator_config, write_checkpoint  # which itself needs this module

    return write_checkpoint(tmp_path_factory.mktemp('model') / 'light.pth', generator_config(True))


@pytest.fixture
def restore(light_checkpoint: Path) -> Callable[..., int]:
    """`glean-plus restore` with that model, in this process: its exit code."""
    from glean_plus.cli.main import main

    same = ['restore', '--device', 'cpu', '--model', str(light_checkpoint)]
    return lambda *arguments: main([*same, *map(str, arguments)])


def draw_emoji(root: Path, sides: dict[str, slice], every_group: bool = False) -> Path:
    """Some images of each side, of the people groups or of all, as `prepare_twemoji` draws and lists them.

    Of all groups, both lists are there.
    """
    from glean_plus.prepare import twemoji as tool

    for folder in ('GT', 'BIx4_down', 'BIx8_down'):
        (root / folder).mkdir()
    kept = tool.GROUPS if every_group else tool.PEOPLE
    groups = {name: group for name, _, group, _ in tool.read_split() if group in kept}
    for side, part in sides.items():
        names = [name for name, _, _, where in tool.read_split() if where == side and name in groups][part]
        for name in names:
            tool.prepare_one(name, root, 64, (4, 8))
        for which, members in (('all', tool.GROUPS), ('people', tool.PEOPLE)):
            lines = ''.join(f'{name}.png (64,64,3)\n' for name in names if groups[name] in members)
            if every_group or which == 'people':
                (root / f'meta_info_Twemoji_{which}_{side}.txt').write_text(lines)
        labels = ''.join(tool.label_line(name, groups[name]) for name in names)
        (root / f'labels_Twemoji_all_{side}.txt').write_text(labels)
    return root


@pytest.fixture(scope='session')
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve training and four test images of the real set, in its layout."""
    sides = {'train': slice(None, 12 * 53, 53), 'test': slice(None, 4 * 53, 53)}
    return draw_emoji(tmp_path_factory.mktemp('twemoji'), sides)


@pytest.fixture
def tiny_config(tiny_data: Path, tmp_path: Path) -> Any:
    """Function: name of a Twemoji config -> that config on the tiny data, in float32, quiet and repeatable."""

    def make(name: str = 'lightglean_twemoji_4x', work_dir: Path | None = None, **options: Any) -> Config:
        config = Config.fromfile(CONFIGS / f'{name}.py')
        config.work_dir = str(work_dir or tmp_path / 'work')
        for loader in {'train_dataloader', 'val_dataloader', 'test_dataloader'} & set(config):
            config[loader].num_workers = 0
            config[loader].persistent_workers = False
            config[loader].dataset.data_root = str(tiny_data)
        config.train_dataloader.batch_size = 4
        for part in ('generator', 'discriminator'):
            config.optim_wrapper[part].type = 'OptimWrapper'
        config.train_cfg.val_interval = 10**6
        config.env_cfg.dist_cfg.backend = 'gloo'
        config.randomness = dict(seed=0, deterministic=True)
        # Validation at the end of a training would take longer than the training.
        for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
            config.pop(key, None)
        config.merge_from_dict(options)
        return config

    return make


# A warning about a file of this package, wherever it is installed, in what a process printed.
OURS = rf'(?:{re.escape(str(ROOT))}/(?:configs|glean_plus|tests|tools)|\S*/site-packages/glean_plus)/\S*'
WARNING = re.compile(rf'^{OURS}:\d+: \w*Warning: .*', re.MULTILINE)


def launch(arguments: list[str], cwd: Path, **variables: str) -> str:
    """Run a command as a user would, and return what it printed.

    Fails with that if the command does, and with the warnings of ours that it printed.
    """
    environment = {**os.environ, 'PYTHONWARNINGS': 'default', 'OMP_NUM_THREADS': '1', 'TORCH_HOME': str(cwd / 'hub'),
                   'PATH': f'{BIN}{os.pathsep}{os.environ["PATH"]}', **variables}  # fmt: skip
    if Path(arguments[0]).name != 'mim':  # which looks for configs and tools in what is installed
        environment['PYTHONPATH'] = str(ROOT)
    result = subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600)
    output = result.stdout + result.stderr
    assert result.returncode == 0, output[-6000:]
    assert not (found := WARNING.findall(output)), found
    return output


def random_vgg16() -> torch.nn.Module:
    """In place of torchvision's: its features, drawn as it does. The classifier, most of it, is what no loss reads."""
    from torchvision.models import vgg16

    with torch.device('meta'):
        features = vgg16(weights=None).features
    for layer in features.to_empty(device='cpu'):
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight, mode='fan_out', nonlinearity='relu')
            torch.nn.init.zeros_(layer.bias)
    return torch.nn.ModuleDict(dict(features=features))


class Valueless(TorchFunctionMode):
    """Leaves out what changes values alone: there are none on the meta device, and it is half of the time."""

    names = (
        'normal_', 'uniform_', 'fill_', 'zero_', 'constant_', 'kaiming_normal_', 'kaiming_uniform_', 'mul_',
        'normalize', 'leaky_relu', 'relu',
    )  # fmt: skip

    def __torch_function__(
        self, function: Callable, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if getattr(function, '__name__', '') in self.names:
            return args[0] if args else next(iter(kwargs.values()))
        return function(*args, **(kwargs or {}))


_costs: dict[str, Any] = {}


def cost_of(generator: Mapping[str, Any]) -> Any:
    """What `complexity` says of a generator, found once for all that differ in the bank's file alone: many do."""
    from glean_plus.analysis.complexity import complexity

    bank = {key: value for key, value in generator.get('bank', {}).items() if key != 'pretrained'}
    key = json.dumps(dict(generator, bank=bank), sort_keys=True)
    if key not in _costs:
        with Valueless():
            _costs[key] = complexity(generator)
    return _costs[key]


def is_running(process: int | str) -> bool:
    """Not so one that has ended and is not collected yet, as nobody does in some containers (Linux)."""
    try:
        state = Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0]
    except OSError:
        return False
    return state not in 'ZX'


def free_port() -> str:
    with socket.create_server(('127.0.0.1', 0)) as server:
        return str(server.getsockname()[1])


def fork(
    work: Callable[..., Any], *arguments: Any, cwd: Path, output: int, **variables: str
) -> multiprocessing.Process:
    """Start it as a process of its own, without the ten seconds of imports; it prints to a file's descriptor."""

    def alone() -> None:
        torch.set_num_threads(1)  # OpenMP's threads are those of this process, and would be waited for
        os.chdir(cwd)
        os.environ.update(variables)
        for stream in (1, 2):
            os.dup2(output, stream)
        sys.stdout = os.fdopen(1, 'w', encoding='utf-8', closefd=False)
        sys.stderr = os.fdopen(2, 'w', encoding='utf-8', errors='backslashreplace', closefd=False)
        work(*arguments)

    process = multiprocessing.get_context('fork').Process(target=alone)
    process.start()
    return process


def forked(work: Callable[..., Any], *arguments: Any, cwd: Path, processes: int = 0) -> str:
    """Call it in forked processes, which torchrun's variables tell of each other, or in one without; what they printed.

    Fails with that if one of them does.
    """
    variables = dict(WORLD_SIZE=str(processes), MASTER_ADDR='127.0.0.1', MASTER_PORT=free_port()) if processes else {}
    end = time.monotonic() + 600
    with tempfile.TemporaryFile() as file:
        workers = []
        for rank in range(processes or 1):
            ranks = dict(RANK=str(rank), LOCAL_RANK=str(rank)) if processes else {}
            workers.append(fork(work, *arguments, cwd=cwd, output=file.fileno(), **variables, **ranks))
        running = {worker.sentinel for worker in workers}
        while running and not any(worker.exitcode for worker in workers) and time.monotonic() < end:
            running -= {*wait(running, timeout=1)}
        for worker in workers:  # the others wait for one that has failed
            worker.kill()  # nothing if it has ended
            worker.join()
        file.seek(0)
        output = file.read().decode(errors='replace')
    assert not any(worker.exitcode for worker in workers), output[-6000:]
    return output


def batch(n: int = 4, in_size: int = 16, out_size: int = 64, seed: int = 0) -> dict[str, Any]:
    """A batch as a loader gives it, 0 to 255."""
    from mmagic.structures import DataSample

    generator = torch.Generator().manual_seed(seed)
    lq = torch.randint(0, 256, (n, 3, in_size, in_size), generator=generator, dtype=torch.uint8)
    gt = torch.randint(0, 256, (n, 3, out_size, out_size), generator=generator, dtype=torch.uint8)
    return dict(inputs=list(lq), data_samples=[DataSample(gt_img=image) for image in gt])


@pytest.fixture
def exact_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``Restorer`` is exact where a test names no speed: results are compared with the network's own, bit by bit."""
    monkeypatch.setitem(Restorer.__init__.__kwdefaults__, 'speed', 'exact')


def pytest_sessionstart() -> None:
    """Build the compiled kernel, so that speed 'auto' is the same from the first test on."""
    with contextlib.suppress(CompilerError):
        library()


def shake(model: torch.nn.Module, scale: float = 0.1) -> None:
    """Move small parameters, such as biases and noise strengths that start at zero, so that they are tested too."""
    for parameter in model.parameters():
        if parameter.numel() < 2000:
            parameter.data += torch.randn_like(parameter) * scale


def relative_error(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference as a share of the range of ``a``."""
    return float((a - b).abs().max() / (a.max() - a.min()))
