"""Keys of a config that nothing reads: MMEngine merges a mistyped override into its base without a word."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmagic import registry
from mmengine.config import Config
from mmengine.dist import init_dist
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings
from mmengine.utils.dl_utils import set_multi_processing
from torch.utils.data import DataLoader

# Registry of the types below a top-level key, and below a key anywhere, up to the next such key.
BELOW_TOP = dict(
    model=registry.MODELS, train_cfg=registry.LOOPS, val_cfg=registry.LOOPS, test_cfg=registry.LOOPS,
    val_evaluator=registry.EVALUATORS, test_evaluator=registry.EVALUATORS, optim_wrapper=registry.OPTIM_WRAPPERS,
    param_scheduler=registry.PARAM_SCHEDULERS, default_hooks=registry.HOOKS, custom_hooks=registry.HOOKS,
    log_processor=registry.LOG_PROCESSORS, model_wrapper_cfg=registry.MODEL_WRAPPERS, visualizer=registry.VISUALIZERS,
)  # fmt: skip
BELOW = dict(
    dataset=registry.DATASETS, pipeline=registry.TRANSFORMS, transforms=registry.TRANSFORMS,
    sampler=registry.DATA_SAMPLERS, metrics=registry.METRICS, optimizer=registry.OPTIMIZERS,
    vis_backends=registry.VISBACKENDS,
)  # fmt: skip
# Of MMagicInferencer, which is no runner.
INFERENCER_S = {'inference_pipeline'}
RUNNER_S = {*inspect.signature(Runner).parameters, 'custom_imports', 'model_wrapper_cfg'} - {'cfg'}
LOADER_S = {*inspect.signature(DataLoader).parameters, 'num_batch_per_epoch'}
# What the runner takes out of a typed dictionary before it builds the rest.
TAKEN_BEFORE = dict(param_scheduler={'convert_to_iter_based'}, optim_wrapper={'paramwise_cfg', 'constructor'})
# Plain dictionaries that become the arguments of a call.
CALLS = dict(
    mp_cfg=set_multi_processing, dist_cfg=init_dist, randomness=Runner.set_randomness,
    custom_imports=import_modules_from_strings,
)  # fmt: skip
# What these take by its name out of **kwargs.
BY_NAME = dict(dist_cfg={'timeout'})
# Plain dictionaries whose keys are the config's own: names in the log or of a result, layers, parameters.
OWN_NAMES = {'dictionary', 'layer_weights', 'losses', 'constant_ab', 'filename_tmpl', 'custom_keys'}
DEFAULT_HOOKS = {'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint', 'numbers', 'data'}


def unread_keys(config: Config) -> list[str]:
    """What is wrong with the keys of a config file: each path that nothing takes, each type that does not exist."""
    whole = config.to_dict()
    names, complaints = helpers(Path(config.filename).resolve())
    for key in whole.keys() - names:
        if key in RUNNER_S:
            complaints += _walk(whole[key], key, Runner, None, whole)
        else:
            complaints.append(f'{key} is no key of a runner')
    return complaints


def _walk(value: Any, path: str, owner: Any, kind: Any, whole: Mapping[str, Any]) -> Iterator[str]:
    """Complaints about ``value``, which is at ``path``, goes to ``owner`` and has types of the registry ``kind``."""
    if isinstance(value, (list, tuple)):
        for index, each in enumerate(value):
            yield from _walk(each, f'{path}.{index}', owner, kind, whole)
    if not isinstance(value, Mapping):
        return
    steps = [step for step in path.split('.') if not step.isdecimal()]
    kind = BELOW_TOP.get(steps[0]) if len(steps) == 1 else BELOW.get(steps[-1], kind)
    if 'type' in value:
        owner = kind.get(value['type']) if kind is not None else None
        if owner is None:
            yield f'{path}: there is no {value["type"]!r}'
            return
        allowed = {'type', '_scope_', *parameters(owner), *TAKEN_BEFORE.get(steps[0], ())}
    else:
        allowed = _plain(path, steps, value, owner, whole)
    for key, each in value.items():
        if allowed is None or key in allowed:
            yield from _walk(each, f'{path}.{key}', owner, kind, whole)
        else:
            yield f'{path}.{key} is read by nothing'


def _plain(
    path: str, steps: list[str], value: Mapping, owner: Any, whole: Mapping[str, Any]
) -> Collection[str] | None:
    """Keys that may stand in a dictionary without type; None for any."""
    name = steps[-1]
    if path == 'optim_wrapper':
        return {'constructor', *whole['model']}  # an optimiser for each network
    if path == 'default_hooks':
        return DEFAULT_HOOKS
    if name.endswith('_dataloader'):
        return LOADER_S
    if name in CALLS:
        return {*parameters(CALLS[name]), *BY_NAME.get(name, ())}
    if name == 'data_prefix':  # the folders of what the pipeline loads
        dataset = functools.reduce(lambda at, step: at[int(step) if step.isdecimal() else step],
                                   path.split('.')[:-1], whole)  # fmt: skip
        return {step.get('key') for step in dataset['pipeline'] if step['type'].startswith('Load')}
    if 'paramwise_cfg' in steps and name != 'custom_keys':
        return words(DefaultOptimWrapperConstructor)
    if name in BELOW or steps[0].endswith('_hooks'):
        return ()  # nothing is built without a type
    if name in OWN_NAMES or all(isinstance(key, int) for key in value):
        return None
    return words(owner)


def parameters(function: Any) -> set[str]:
    """What a function or class takes by name; what a class hands on as ``**kwargs``, its bases take."""
    if not inspect.isclass(function):
        return {*inspect.signature(function).parameters} - {'self'}
    taken: set[str] = set()
    for base in function.__mro__[:-1]:
        if '__init__' in vars(base):
            found = list(inspect.signature(base.__init__).parameters.values())[1:]
            taken |= {each.name for each in found if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)}
            if not any(each.kind is each.VAR_KEYWORD for each in found):
                break
    return taken


@functools.cache
def words(cls: type) -> frozenset[str]:
    """What can be a key for a class: texts and argument names in its modules and what they import from this package."""
    waiting, seen, found = [base.__module__ for base in cls.__mro__], {'builtins', 'abc'}, set()
    while waiting:
        name = waiting.pop()
        if name in seen or name.startswith('torch.'):
            continue
        seen.add(name)
        for node in ast.walk(ast.parse(inspect.getsource(importlib.import_module(name)))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, (ast.arg, ast.keyword)) and node.arg:
                found.add(node.arg)
            elif isinstance(node, ast.ImportFrom) and (node.module or '').startswith('glean_plus'):
                waiting.append(node.module)
    return frozenset(found)


# ---- the files


def helpers(path: Path) -> tuple[set[str], list[str]]:
    """Names in a config file and its bases that are no keys of a runner, and complaints about those that nobody reads.

    The file itself reads a name, or one that builds on it does, as ``_base_.NAME``. To assign a base's name again
    changes nothing in the base.
    """
    names: set[str] = set()
    complaints: list[str] = []
    for file in chain(path):
        stored, read, _ = uses(file)
        read = read.union(*(uses(other)[2] for other in path.parent.rglob('*.py') if file in chain(other)[1:]))
        names |= stored - RUNNER_S
        complaints += [f'{name} of {file.name} is read by nothing'
                       for name in sorted(stored - RUNNER_S - INFERENCER_S - read)]
    return names, complaints


@functools.cache
def chain(path: Path) -> tuple[Path, ...]:
    """A config file and all of its bases beside it, itself first."""
    statements = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign)]
    bases = [ast.literal_eval(node.value) for node in statements if getattr(node.targets[0], 'id', '') == '_base_']
    found = [path]
    for base in [bases[0]] if bases and isinstance(bases[0], str) else bases[0] if bases else []:
        found += chain((path.parent / base).resolve())
    return tuple(found)


@functools.cache
def uses(path: Path) -> tuple[set[str], set[str], set[str]]:
    """Names that a config file stores at its top level, reads, and reads of its bases."""
    nodes = [*ast.walk(ast.parse(path.read_text()))]
    names = [node for node in nodes if isinstance(node, ast.Name)]
    inner = {name.id for node in nodes if isinstance(node, ast.comprehension) for name in ast.walk(node.target)
             if isinstance(name, ast.Name)}  # fmt: skip
    stored = {name.id for name in names if isinstance(name.ctx, ast.Store)} - inner - {'_base_'}
    read = {name.id for name in names if isinstance(name.ctx, ast.Load)}
    of_base = {node.attr for node in nodes if isinstance(node, ast.Attribute)
               and isinstance(node.value, ast.Name) and node.value.id == '_base_'}  # fmt: skip
    return stored, read, of_base
