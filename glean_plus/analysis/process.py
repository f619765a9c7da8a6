"""Processes of our own that answer requests: a line of JSON for each, both ways."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TextIO


class JSONProcess:
    """``python -m module ORDER``.

    Args:
        module: Its ``main`` reads the order, answers on :func:`answers`, and ends with its standard input.
        order: What JSON can hold.
        environment: Variables beside those of this process.
    """

    def __init__(self, module: str, order: Any, environment: Mapping[str, str]) -> None:
        command = [sys.executable, '-W', 'ignore::FutureWarning', '-m', module, json.dumps(order)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding='utf-8', env={**os.environ, **environment}
        )

    def send(self, request: Any) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # the missing answer tells
            self.process.stdin.write(json.dumps(request) + '\n')
            self.process.stdin.flush()

    def receive(self) -> dict[str, Any] | None:
        """The next answer; None if the process has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        answer: dict[str, Any] | None = json.loads(line) if line else None
        return answer

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def answers() -> TextIO:
    """The standard output of such a process for its answers; what libraries print goes to the standard error."""
    stream = os.fdopen(os.dup(1), 'w', encoding='utf-8', buffering=1)
    os.dup2(2, 1)
    return stream
