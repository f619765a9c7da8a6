"""One base of the errors that a user can fix."""

from __future__ import annotations

import ast
import json

import pytest

from glean_plus.errors import GleanError
from glean_plus.inference.errors import RestoreError
from glean_plus.weights.errors import WeightsError

from conftest import ROOT

# A page's status for a request, an end of an output, and a missing package, which is an ImportError.
OTHERS = {'Refused', 'OutputError', 'StackError'}


def test_every_public_error_has_the_base() -> None:
    classes = {}
    for path in sorted((ROOT / 'glean_plus').rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.ClassDef):
                classes[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]

    def is_a(name: str, wanted: str) -> bool:
        return name == wanted or any(is_a(base, wanted) for base in classes.get(name, ()))

    raised = {name for name in classes if not name.startswith('_')
              and any(is_a(name, kind) for kind in ('Exception', 'ValueError', 'RuntimeError', 'ImportError', 'OSError'))}
    assert len(raised) > 15
    assert {name for name in raised if not is_a(name, 'GleanError')} == OTHERS


@pytest.mark.parametrize(('kind', 'former'), [(RestoreError, ValueError), (WeightsError, RuntimeError)])
def test_a_message_can_be_written_whatever_it_repeats(kind: type[GleanError], former: type[Exception]) -> None:
    error = kind(f'There is no {json.loads(chr(34) + "bad" + chr(92) + "ud800" + chr(34))}.')
    assert isinstance(error, GleanError) and isinstance(error, former)
    assert str(error) == 'There is no bad\\ud800.' and str(error).encode()
