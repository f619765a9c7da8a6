"""Where configs find classes by name: ``MODELS``, ``METRICS``, ``DATASETS``, ``DATA_SAMPLERS``, ``TRANSFORMS``, ...

Every module of this package registers itself here. The registries are children of MMEngine's, with the scope
``glean_plus``, and stand beside MMagic's, which have the scope ``mmagic``:

* Importing MMagic takes seconds, and using a model needs nothing of it. So this module does not import it. Once
  ``mmagic.registry`` is imported, by whomever, :func:`join` lets each pair of registries use one table: what either
  of them registers, before or after, both find. MMagic's registries also learn to import the rest of this package at
  their first look-up, so that configs with ``default_scope = 'mmagic'`` find our modules.
* A name that neither we nor MMEngine have is MMagic's, or of a user who registered it there: MMagic is imported for it.

:mod:`glean_plus.compat` calls :func:`join`.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from mmengine import registry as mmengine_registry
from mmengine.registry import MODEL_WRAPPERS, OPTIM_WRAPPERS, build_from_cfg
from mmengine.registry import Registry as MMEngineRegistry

from glean_plus import compat

# Imports every module that registers itself; what it imports needs MMagic.
EVERYTHING = 'glean_plus.training.registration'


class Registry(MMEngineRegistry):
    """A registry of this package and the one of the same name in MMagic, as one.

    Args:
        name: Of the variable, here, in MMEngine and in MMagic.
        locations: Modules of this package to import at the first look-up.
    """

    def __init__(self, name: str, locations: tuple[str, ...] = ()) -> None:
        parent = getattr(mmengine_registry, name)
        # MMEngine's own way to build models imports its runner, for lists of configs, of which we have none.
        super().__init__(
            parent.name, build_from_cfg, parent=parent, scope='glean_plus', locations=list(locations)
        )
        self.variable = name

    def get(self, key: str) -> Any:
        """The class of a name, or None.

        Raises:
            StackError: If only MMagic could have it, and it is not installed.
        """
        self.import_from_location()
        scope, name = self.split_scope_key(key)
        known = name in self.module_dict or (scope is None and name in self.parent.module_dict)
        if not known and scope in (None, self.scope) and '.' not in name:
            compat.check_training_stack(f'{name!r} is none of the modules that work without MMagic. ')
            getattr(importlib.import_module('mmagic.registry'), self.variable).import_from_location()
        return super().get(key)

    _module_dict: dict[str, Any]

    def share_table(self, theirs: MMEngineRegistry) -> None:
        """Move what is registered here to another registry, whose table both use from now on.

        Raises:
            KeyError: If a name stands for different classes.
        """
        if self._module_dict is not theirs._module_dict:
            for name, module in self._module_dict.items():
                theirs.register_module(name=name, module=module)
            self._module_dict = theirs._module_dict


MODELS = Registry('MODELS', ('glean_plus.models',))
METRICS, DATASETS, DATA_SAMPLERS, TRANSFORMS, HOOKS = OTHERS = [
    Registry(name) for name in ('METRICS', 'DATASETS', 'DATA_SAMPLERS', 'TRANSFORMS', 'HOOKS')
]


# 'GLEAN' -> the function that makes an inference network of one. :mod:`glean_plus.accel`, which stands on the networks,
# registers it, so that they need not know of it.
FOLDED = MMEngineRegistry('folded', scope='glean_plus', locations=['glean_plus.accel'])
# 'StyleGAN2' -> the network whose weights are published under this name; see ``weights.formats.layout``, which stands
# below the networks.
ARCHITECTURES = MMEngineRegistry('architecture', scope='glean_plus', locations=['glean_plus.models'])


def join(mmagic_registry: ModuleType) -> None:
    """Make one of each of our registries and its counterpart in ``mmagic.registry``; safe to call more than once.

    A registry that has looked things up already will not import further modules, so for those everything is imported
    now.
    """
    counterparts: list[MMEngineRegistry] = [OPTIM_WRAPPERS, MODEL_WRAPPERS]  # MMEngine's own, which we register to
    for ours in (MODELS, *OTHERS):
        theirs = getattr(mmagic_registry, ours.variable)
        ours.share_table(theirs)
        counterparts.append(theirs)
    for each in counterparts:
        if EVERYTHING not in each._locations:
            each._locations.append(EVERYTHING)
    if any(each._imported for each in counterparts):
        importlib.import_module(EVERYTHING)


if 'mmagic.registry' in sys.modules:
    join(sys.modules['mmagic.registry'])
