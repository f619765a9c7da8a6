"""Former module paths, which configs, checkpoints and scripts of users may name."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any

PACKAGE = 'glean_plus'
# Modules below a former package that has no line of their own keep their names in the new one.
MOVED = {
    'color': 'utils.color',
    'command': 'cli.main',
    'data': 'prepare',
    'data.pictures': 'prepare.images',
    'engine': 'training',
    'engine.best': 'training.hooks.best',
    'engine.checkpoints': 'training.hooks.checkpoints',
    'engine.data': 'training.hooks.data',
    'engine.numbers': 'training.hooks.numbers',
    'engine.pictures': 'training.hooks.images',
    'faces': 'inference.faces',
    'features': 'pretrained.features',
    'identity': 'pretrained.identity',
    'imresize': 'utils.imresize',
    'inception': 'pretrained.inception',
    'inferencer': 'training.inferencer',
    'inversion': 'analysis.inversion',
    'models.bank_trainer': 'training.bank_trainer',
    'models.biggan_discriminator': 'models.discriminators.biggan',
    'models.discriminator': 'models.discriminators.stylegan2',
    'models.ema': 'training.ema',
    'models.preprocessor': 'training.preprocessor',
    'models.references': 'training.baselines',
    'models.restorer': 'training.restorer',
    'modules': 'training.registration',
    'perceptual': 'pretrained.perceptual',
    'restore': 'inference',
    'restore.bounds': 'inference.thresholds',
    'restore.calibration': 'analysis.calibration',
    'restore.engine': 'inference.tiling',
    'restore.failure': 'inference.ood',
    'restore.layers': 'inference.channels',
    'restore.picture': 'inference.image',
    'shared': 'weights.cache',
    'shipped': 'weights.resources',
    'study': 'analysis.study',
    'transforms': 'datasets.transforms',
}

# Names that were in a package's own namespace -> where they are now.
MOVED_ATTRIBUTES = {
    'models': dict.fromkeys(
        ('BigGANBankTrainer', 'ColorizationDataPreprocessor', 'GLEANRestorer', 'StyleGAN2BankTrainer'), 'training'
    ),
}


def attributes_of(package: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package that finds what has moved out of it."""
    moved = MOVED_ATTRIBUTES[package.partition('.')[2]]

    def find(name: str) -> Any:
        if name not in moved:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        return getattr(importlib.import_module(f'{PACKAGE}.{moved[name]}'), name)

    return find


def present_name(name: str) -> str | None:
    """The path of a module that had the path ``name``; None if it has not moved."""
    package, _, below = name.partition('.')
    if package != PACKAGE or not below:
        return None
    parts = below.split('.')
    for count in range(len(parts), 0, -1):
        new = MOVED.get('.'.join(parts[:count]))
        if new:
            return '.'.join([PACKAGE, new, *parts[count:]])
    return None


class MovedModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports a module by its former path: the very module, with one deprecation note a path."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        name = present_name(fullname)
        return importlib.machinery.ModuleSpec(fullname, self, loader_state=name) if name else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        module = importlib.import_module(spec.loader_state)
        note = f'{spec.name} is now {spec.loader_state}; the former path will go.'
        warnings.warn(note, DeprecationWarning, stacklevel=2)
        self._own_spec = module.__spec__  # which the import system replaces by that of the former path
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing but to undo what the import system did to the module, which has run already."""
        module.__spec__ = self._own_spec


def install() -> None:
    """Let former paths be imported; safe to call more than once."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.insert(0, MovedModules())
