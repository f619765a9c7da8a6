"""One base of the errors that a user can fix."""

from __future__ import annotations

import ast
import json

import pytest

from glean_plus.errors import GleanError
from glean_plus.inference.errors import RestoreError
from glean_plus.weights.errors import WeightsError

from conftest import ROOT

# The end of an output, a wrong command line, and a missing package.
OTHERS = {'OutputError', 'UsageError', 'StackError'}


def test_every_public_error_has_the_base() -> None:
    classes = {}
    for path in sorted((ROOT / 'glean_plus').rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.ClassDef):
                classes[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]

    def is_a(name: str, wanted: str) -> bool:
        return name == wanted or any(is_a(base, wanted) for base in classes.get(name, ()))

    kinds = ('Exception', 'ValueError', 'RuntimeError', 'ImportError', 'FileNotFoundError')
    raised = {name for name in classes if name[0] != '_' and any(is_a(name, kind) for kind in kinds)}
    assert len(raised) > 15
    assert {name for name in raised if not is_a(name, 'GleanError')} == OTHERS


@pytest.mark.parametrize(('kind', 'former'), [(RestoreError, ValueError), (WeightsError, RuntimeError)])
def test_a_message_can_be_written_whatever_it_repeats(kind: type[GleanError], former: type[Exception]) -> None:
    error = kind(f'There is no {json.loads(chr(34) + "bad" + chr(92) + "ud800" + chr(34))}.')
    assert isinstance(error, GleanError) and isinstance(error, former)
    assert str(error) == 'There is no bad\\ud800.' and str(error).encode()
