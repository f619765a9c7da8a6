"""The model that a checkpoint of training says it is of: a stranger's config, read as data."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glean_plus.inference.errors import RestoreError
from glean_plus.registry import MODELS
from glean_plus.weights.containers import read_torch
from glean_plus.weights.errors import WeightsError, brief, shown

# Of a model in a checkpoint, what only training needs.
TRAINING = {'discriminator', 'pixel_loss', 'perceptual_loss', 'gan_loss', 'losses', 'train_cfg', 'init_cfg'}
# Parts that are of training, too, whose class is named and not built: its settings alone are read.
NAMED = {'model': ['GLEANRestorer'], 'model.data_preprocessor': ['DataPreprocessor', 'ColorizationDataPreprocessor']}
# Of any number in a network's config: layers, widths, sides and classes are all far less.
LARGEST = 1 << 20
OWN_CONFIG = 'If you trust it, give its config, and it second.'


def embedded_model(file: Path) -> Mapping[str, Any] | None:
    """``model`` of the config that MMEngine puts into a checkpoint's meta, or ``publish`` into a file's metadata.

    None where there is none.

    Every type in it is the registered name of a class that has been imported, or one of ``NAMED``.

    Raises:
        RestoreError: If it is no literal, is made of other classes, or has a number that no network has.
        WeightsError: If the file cannot be read.
    """
    if file.suffix == '.safetensors':
        text: Any = safetensors_metadata(file).get('model')
    else:
        content = read_torch(file)
        meta = content.get('meta') if isinstance(content, dict) else None
        text = meta.get('cfg') if isinstance(meta, dict) else None
    if not isinstance(text, str):
        return None
    model = literal(text, 'model', str(file))
    if not isinstance(model, Mapping):
        return {}
    model = {key: value for key, value in model.items() if key not in TRAINING}
    MODELS.import_from_location()
    return {**_checked(model, 'model', str(file)), 'pixel_loss': dict(type='MSELoss')}  # MMagic asks for one


def safetensors_metadata(file: Path) -> dict[str, str]:
    """What a .safetensors file says of itself.

    Raises:
        WeightsError: If it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, 'pt') as content:
            return content.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f'{file} is no readable safetensors file: {brief(error)}') from error


def _checked(value: Any, where: str, source: str) -> Any:
    """A part of a config with the registered name for each type; ``where`` it stands is for messages.

    Raises:
        RestoreError: On a type that is not registered, or registered by MMagic, whose networks read further files; a
            registry would import it by its name and call it, and that may be anything. On a number that is not finite,
            or above ``LARGEST``.
    """
    if isinstance(value, Mapping):
        if '_scope_' in value:  # a registry imports what it names, before it looks at the type
            raise RestoreError(
                f'The config in {source} has the `_scope_` {shown(value["_scope_"])}, which is not imported for a '
                f'file. {OWN_CONFIG}'
            )
        kept = {key: _checked(each, f'{where}.{brief(key, 40)}', source) for key, each in value.items()}
        return kept | ({'type': _registered(value['type'], where, source)} if 'type' in value else {})
    if isinstance(value, (list, tuple)):
        return type(value)(_checked(each, f'{where}[{i}]', source) for i, each in enumerate(value))
    if isinstance(value, (int, float)) and not abs(value) <= LARGEST:  # also of what is no number, nan
        raise RestoreError(f'The config in {source} has {where} = {shown(value)}, which no network has.')
    return value


def _registered(kind: Any, where: str, source: str) -> str:
    """The registered name of a type, which MMEngine's newer configs give as the path of the class."""
    module, _, name = kind.rpartition('.') if isinstance(kind, str) else ('', '', '')
    if name in NAMED.get(where, ()) and module.partition('.')[0] in ('', 'glean_plus', 'mmagic'):
        return name
    known = MODELS.module_dict.get(name)
    # Nothing is imported: a module that is there already must have the very class under this name.
    there = vars(sys.modules[module]).get(name) if module in sys.modules else None
    ours = known is not None and known.__module__.partition('.')[0] != 'mmagic'
    if ours and (not module or there is known):
        return name
    raise RestoreError(
        f'The config in {source} is made of a {_named(kind)}, which is none of the networks here, and is not imported '
        f'for a file. {OWN_CONFIG}'
    )


def _named(kind: Any) -> str:
    return repr(brief(kind, 80)) if isinstance(kind, str) else shown(kind)


def literal(text: str, name: str, source: str) -> Any:
    """The value that a config's text gives to ``name``: literals and ``dict(...)``, read and not run.

    Raises:
        RestoreError: If it is anything else, or missing.
    """
    try:
        lines = ast.parse(text).body
        for line in lines:
            if isinstance(line, ast.Assign) and [ast.unparse(target) for target in line.targets] == [name]:
                return _value(line.value, source)
    except RestoreError:
        raise
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:  # nested too deep: the last two
        raise RestoreError(f'The config in {source} cannot be read: {brief(error)}') from error
    raise RestoreError(f'The config in {source} has no `{name}`: give a config as well.')


def _value(node: ast.expr, source: str) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        given = {key: value for each in node.args for key, value in dict(_value(each, source)).items()}
        return given | {str(each.arg): _value(each.value, source) for each in node.keywords}
    if isinstance(node, ast.Dict) and all(node.keys):
        return {_value(key, source): _value(value, source) for key, value in zip(node.keys, node.values)}  # type: ignore
    if isinstance(node, (ast.List, ast.Tuple)):
        values = [_value(each, source) for each in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise RestoreError(
            f'The config in {source} has {ast.unparse(node)[:60]!r}, which would have to be run: give a config as well.'
        ) from error
