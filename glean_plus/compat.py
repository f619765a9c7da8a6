"""What is broken in which version of mmcv, mmengine, torch and MMagic, and how this package lives with it.

Nothing else in the package knows about versions. :func:`install` runs when ``glean_plus`` is imported. It imports
nothing: each library is made usable when it is imported itself, if it ever is.

* **A stack that cannot work** is refused with the versions found and wanted: PyTorch and MMEngine at once, MMagic and
  mmcv, which only training needs, when MMagic is imported.
* **mmcv without compiled ops** (mmcv-lite, or a failed build): MMagic imports ``mmcv._ext`` at import time although
  the CPU paths of its StyleGAN2 modules never call it. A stand-in takes its place whose ops say so when *called*.
* **mediapipe >= 0.10.30** has no ``solutions``: ``mmagic.apis`` imports all of controlnet_aux, whose detector of faces
  needs them at import time. A stand-in takes the detector's place and says so when *built*.
* **MMagicInferencer** lists MMagic's own models, and then ours as well, see :mod:`glean_plus.training.inferencer`.
* **torch >= 2.6** loads checkpoints with ``weights_only=True`` and refuses the logs that mmengine 0.10 puts in them.
  Exactly those types are allowed; the safety stays on. Files that this package reads itself go through
  :mod:`glean_plus.weights.torch_files` instead, on every version.
* **mmengine's ``--launcher pytorch`` and ``slurm``** select a CUDA device even where there is none. Without one,
  processes talk over gloo.
* **MMEngine's configs** take a ``_base_`` of OpenMMLab's own packages alone, as ``mmagic::...``; here also of this one.
* **MMagic's registries** find our modules, see :mod:`glean_plus.registry`.
* **Modules of this package that have moved** are found by their former paths, see :mod:`glean_plus.utils.moved`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import pickle
import subprocess
import sys
import types
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Optional

from packaging.version import Version

from glean_plus.utils import moved

# Distribution -> lowest version that works, first version that does not (None: none known).
Wanted = dict[str, tuple[str, Optional[str]]]
CORE: Wanted = {'torch': ('2.1', None), 'mmengine': ('0.10', '1.0')}
TRAINING: Wanted = {'mmcv': ('2.0.0', '2.2.0'), 'mmagic': ('1.2.0', '1.3')}
WANTED: Wanted = CORE | TRAINING
# Of the extra `train`, by the names that they are imported by.
TRAINING_PACKAGES = ('mmagic', 'mmcv', 'mmpretrain', 'albumentations', 'lpips', 'kornia', 'lmdb')
ADVICE = 'Install a set that is known to work: pip install -r requirements/default.txt (see docs/guides/install.md).'


class StackError(ImportError):
    """The installed versions cannot work together, or one that is needed is not installed."""


def install() -> None:
    """Make the installed stack usable; safe to call more than once.

    Raises:
        StackError: Where PyTorch or MMEngine cannot be, naming each version found and wanted.
    """
    check_versions(CORE)
    stand_in_for_mediapipe_faces()
    moved.install()
    for name, then in AFTER_IMPORT.items():
        if name in sys.modules:
            then()
    if not any(isinstance(finder, _AroundImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AroundImport())


def _version(distribution: str) -> str | None:
    names = ('mmcv', 'mmcv-lite', 'mmcv-full') if distribution == 'mmcv' else (distribution,)
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _at_least(found: str, wanted: str) -> bool:
    """Whether a version is another or later; what is before or after a release counts as the release."""
    return Version(Version(found).base_version) >= Version(wanted)


def torch_at_least(wanted: str) -> bool:
    """Whether this PyTorch is of a version such as ``2.6``, or later."""
    import torch

    return _at_least(torch.__version__, wanted)


def check_versions(wanted: Wanted = WANTED) -> None:
    """Raise StackError, with the versions found and wanted, unless all of ``wanted`` can work together."""
    problems = []
    for distribution, (lowest, too_high) in wanted.items():
        found = _version(distribution)
        fitting = f'>= {lowest}' + (f' and < {too_high}' if too_high else '')
        if found is None:
            problems.append(f'{distribution} is not installed; {fitting} is wanted')
        elif not _at_least(found, lowest) or (too_high and _at_least(found, too_high)):
            problems.append(f'{distribution} {found} is installed; {fitting} is wanted')
    if problems:
        raise StackError('glean_plus cannot work here: ' + '; '.join(problems) + '. ' + ADVICE)


def check_training_stack(what: str = '') -> None:
    """Raise StackError, which begins with ``what`` it is for, unless MMagic and mmcv are installed and can work."""
    missing = [distribution for distribution in ('mmagic', 'mmcv') if not _version(distribution)]
    if missing:
        raise StackError(what + missing_training_stack(' and '.join(missing)))
    check_versions()


def missing_training_stack(packages: str | None) -> str:
    """A sentence about packages that are not installed."""
    return (
        f'Training, testing and measuring need {packages}, not installed here: pip install "glean_plus[train]" '
        'mmcv-lite==2.1.0, or, for an mmcv with compiled ops, see docs/guides/install.md.'
    )


class _MissingOps(types.ModuleType):
    """Stands in for ``mmcv._ext``: any op can be looked up, none can be called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args: Any, **kwargs: Any) -> None:
            raise NotImplementedError(
                f'The mmcv op `{name}` is not compiled: this is mmcv-lite or an mmcv without ops. Install a full mmcv '
                f'2.1.0 built for your torch (requirements/classic.txt), or run on the CPU a model that needs none.'
            )

        return missing


def stand_in_for_mmcv_ops() -> None:
    """Give ``mmcv._ext`` a stand-in if mmcv, which is imported, has no compiled ops; a real one is left alone."""
    name = 'mmcv._ext'
    if name in sys.modules or importlib.util.find_spec(name) is not None:
        return
    _stand_in(_MissingOps(name))


def _stand_in(module: types.ModuleType) -> None:
    module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, loader=None)
    sys.modules[module.__name__] = module


class MissingFaceDetector:
    """Stands in for ``controlnet_aux.MediapipeFaceDetector``: it can be imported, but not built."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            f'MediapipeFaceDetector needs mediapipe.solutions, which mediapipe {_version("mediapipe")} no longer has. '
            'Install one that has them (mediapipe<0.10.30), or take another detector of controlnet_aux.'
        )


def stand_in_for_mediapipe_faces() -> None:
    """Give controlnet_aux a stand-in for its detector that needs ``mediapipe.solutions``, if mediapipe has none.

    Neither package is imported here. Without mediapipe at all, controlnet_aux does without it by itself.
    """
    name = 'controlnet_aux.mediapipe_face'
    found = importlib.util.find_spec('mediapipe')
    if name in sys.modules or found is None:
        return
    places = [Path(place) for place in found.submodule_search_locations or ()]
    if any((place / 'python' / 'solutions').is_dir() or (place / 'solutions').is_dir() for place in places):
        return
    module = types.ModuleType(name)
    vars(module)['MediapipeFaceDetector'] = MissingFaceDetector
    _stand_in(module)


def method_of_history_buffer(owner: Any, name: str) -> Any:
    """What ``getattr`` may do in a checkpoint: name a statistic of mmengine's log buffer, which refers to them so."""
    from mmengine.logging.history_buffer import HistoryBuffer

    if owner is HistoryBuffer and name in ('min', 'max', 'mean', 'current'):
        return getattr(owner, name)
    raise pickle.UnpicklingError(f'The checkpoint asks for getattr({owner!r}, {name!r}), which is refused.')


def has_safe_globals() -> bool:
    """Whether ``torch.load(weights_only=True)`` accepts further types."""
    return torch_at_least('2.6')


def allow_mmengine_checkpoints() -> None:
    """Let torch >= 2.6 load mmengine's checkpoints: their logs, and nothing that could run code.

    ``getattr`` itself is not allowed; a function that knows one class and its few methods answers in its name.
    """
    if 'torch' in sys.modules and 'mmengine' not in sys.modules:
        importlib.import_module('mmengine')  # comes back here
        return
    # MMEngine imports PyTorch halfway: the later of the two counts.
    logs = sys.modules.get('mmengine.logging.history_buffer')
    if 'torch' not in sys.modules or logs is None or not has_safe_globals():
        return
    import numpy as np
    import torch

    HistoryBuffer = logs.HistoryBuffer
    core = 'numpy._core' if _at_least(np.__version__, '2') else 'numpy.core'
    multiarray = importlib.import_module(f'{core}.multiarray')
    dtypes = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)]
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer, np.ndarray, np.dtype, multiarray._reconstruct, multiarray.scalar, *dtypes,
            (method_of_history_buffer, 'builtins.getattr'),
        ]
    )


def allow_launchers_without_gpu() -> None:
    """Let mmengine start several processes, by PyTorch's launcher or SLURM's, on machines without any accelerator."""
    utils = sys.modules['mmengine.dist.utils']
    with_gpu = {name: getattr(utils, f'_init_dist_{name}') for name in ('pytorch', 'slurm')}
    if any(getattr(original, 'func', original).__module__ == __name__ for original in with_gpu.values()):
        return  # ours already

    def start(name: str, backend: str, **kwargs: Any) -> None:
        import torch
        from mmengine.device import get_device
        from mmengine.logging import print_log

        if get_device() != 'cpu':
            with_gpu[name](backend, **kwargs)
            return
        if backend == 'nccl':
            print_log('There is no GPU: the processes use gloo in place of nccl.', logger='current')
            backend = 'gloo'
        kwargs.pop('init_backend', None)
        if name == 'slurm':
            _pytorch_variables_of_slurm(kwargs.pop('port', None))
        torch.distributed.init_process_group(backend=backend, **kwargs)

    for name in with_gpu:
        setattr(utils, f'_init_dist_{name}', functools.partial(start, name))


def _pytorch_variables_of_slurm(port: int | None) -> None:
    """What PyTorch's launcher would put into the environment, from what srun does; an address that is set counts."""
    variables = os.environ
    if 'MASTER_ADDR' not in variables:
        command = ['scontrol', 'show', 'hostname', variables['SLURM_NODELIST']]
        variables['MASTER_ADDR'] = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]
    variables['MASTER_PORT'] = str(port or variables.get('MASTER_PORT', 29500))
    for name, of_slurm in (('RANK', 'PROCID'), ('LOCAL_RANK', 'LOCALID'), ('WORLD_SIZE', 'NTASKS')):
        variables[name] = variables[f'SLURM_{of_slurm}']


def find_own_base_configs() -> None:
    """Let a config say ``_base_ = 'glean_plus::NAME.py'``, once this package is imported.

    MMEngine knows the packages of a fixed list alone, and wants a folder in the name.
    """
    Config = sys.modules['mmengine.config.config'].Config
    elsewhere = Config._get_cfg_path
    if elsewhere.__module__ == __name__:  # ours already
        return

    def find(cfg_path: str, filename: str) -> tuple[str, str | None]:
        from glean_plus.weights.resources import PREFIX, own_config_file

        if cfg_path.startswith(PREFIX):
            return str(own_config_file(cfg_path[len(PREFIX):])), None  # no scope, as of a path: it has its own
        return elsewhere(cfg_path, filename)

    Config._get_cfg_path = staticmethod(find)


def join_registries() -> None:
    """Let MMagic's registries and ours find the same, see :mod:`glean_plus.registry`."""
    from glean_plus import registry

    registry.join(sys.modules['mmagic.registry'])


def extend_inferencer() -> None:
    """Let ``MMagicInferencer`` know our models."""
    from glean_plus.training.inferencer import extend

    extend(sys.modules['mmagic.apis.mmagic_inferencer'].MMagicInferencer)


BEFORE_IMPORT: dict[str, Callable[[], None]] = {'mmagic': check_training_stack}
AFTER_IMPORT: dict[str, Callable[[], None]] = {
    'torch': allow_mmengine_checkpoints,
    'mmengine.logging.history_buffer': allow_mmengine_checkpoints,
    'mmcv': stand_in_for_mmcv_ops,
    'mmengine.dist.utils': allow_launchers_without_gpu,
    'mmengine.config.config': find_own_base_configs,
    'mmagic.registry': join_registries,
    'mmagic.apis.mmagic_inferencer': extend_inferencer,
}


class _AroundImport(importlib.abc.MetaPathFinder):
    """Runs the functions of ``BEFORE_IMPORT`` and ``AFTER_IMPORT`` as the modules that they are about are run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        before, after = BEFORE_IMPORT.get(fullname), AFTER_IMPORT.get(fullname)
        if before is None and after is None:
            return None
        found = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((each for each in found if each is not None), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_between(module: types.ModuleType) -> None:
            if before is not None:
                before()
            execute(module)
            if after is not None:
                after()

        spec.loader.exec_module = execute_between  # type: ignore[method-assign]
        return spec
