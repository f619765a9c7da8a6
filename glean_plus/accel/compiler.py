"""Builds kernel.cpp for this machine with its own C++ compiler, once, and loads it."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

from glean_plus.errors import GleanError

SOURCE = Path(__file__).with_name('kernel.cpp')
# Sums in any order, but no assumption about NaN and Inf, which must be seen.
FLAGS = (
    '-std=c++17', '-O3', '-march=native', '-fPIC', '-fopenmp',
    '-fno-math-errno', '-fno-trapping-math', '-fassociative-math', '-fno-signed-zeros',
)  # fmt: skip
# Seconds after which a build in the background is taken for one that was stopped; it takes about six on a free core.
PATIENCE = 300
# Remedies, for messages.
OTHER_COMPILER = "Name another compiler in CXX, or take another speed than 'compiled'."
OTHER_FOLDER = "Name a folder that can be written to in XDG_CACHE_HOME, or take another speed than 'compiled'."
# Background builds of this process; a Popen that is collected while its process runs warns.
_builds: list[subprocess.Popen] = []


class CompilerError(GleanError, RuntimeError):
    """The kernel cannot be built here."""


def cache_folder() -> Path:
    """Where built kernels are kept: ``$XDG_CACHE_HOME/glean_plus``, by default ``~/.cache/glean_plus``.

    Raises:
        CompilerError: If there is neither.
    """
    try:
        return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'glean_plus'
    except RuntimeError as error:
        raise CompilerError(f'The compiled kernel has no folder to be kept in ({error}). {OTHER_FOLDER}') from error


def compiler() -> list[str]:
    """The command of the C++ compiler: ``$CXX``, else g++ or clang++.

    Raises:
        CompilerError: If there is none.
    """
    command = shlex.split(os.environ.get('CXX', '')) or [name for name in ('g++', 'clang++') if shutil.which(name)][:1]
    if not command or shutil.which(command[0]) is None:
        raise CompilerError(
            f"The compiled kernel needs a C++ compiler, but {command[0] if command else 'neither g++ nor clang++'} "
            "was not found. Install g++ (Debian: `apt install g++`), name one in CXX, or take another speed than "
            "'compiled'."
        )
    return command


def check_device(device: torch.device, other: str = "speed='folded'") -> None:
    """Raise ValueError, which advises ``other``, if the kernel cannot work there."""
    if device.type != 'cpu':
        raise ValueError(f'The compiled kernel is for CPUs, but the model is on {device}: take {other}.')


@functools.cache
def library() -> ctypes.CDLL:
    """The kernel, built if this machine has not built it yet, which takes some seconds.

    Raises:
        CompilerError: If it cannot be built or loaded.
    """
    import torch  # noqa: F401 (its OpenMP is the kernel's: two of them in a process would fight for the processors)

    command, path = compiler(), kernel_path()
    try:
        if not path.is_file():
            _build(command, path)
    except OSError as error:
        raise CompilerError(f'The compiled kernel cannot be kept in {path.parent} ({error}). {OTHER_FOLDER}') from error
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise CompilerError(f'The kernel {path} cannot be loaded ({error}). Delete it to build it again.') from error


def kernel_path() -> Path:
    """Where this machine's kernel is kept once it is built.

    Raises:
        CompilerError: If there is no compiler, or no folder for it.
    """
    return cache_folder() / f'kernel-{_fingerprint(tuple(compiler()))}.so'


def is_built() -> bool:
    """Whether the kernel is there, so that :func:`library` only loads it.

    Raises:
        CompilerError: If it cannot be built, for all that is known.
    """
    path = kernel_path()
    if path.is_file():
        return True
    try:
        raise CompilerError(_failure(path).read_text(encoding='utf-8'))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise CompilerError(f'The compiled kernel cannot be kept in {path.parent} ({error}). {OTHER_FOLDER}') from error


def build_in_background() -> None:
    """Start to build the kernel in a process of its own, which outlives this one, unless one is or has been at it.

    Raises:
        CompilerError: If there is no folder for it.
    """
    path = kernel_path()
    started = path.with_suffix('.building')
    try:
        if started.is_file() and time.time() - started.stat().st_mtime < PATIENCE:
            return
        if path.is_file():  # asked for last: a build that ends puts the kernel there before it removes its mark
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        started.touch()
    except OSError as error:
        raise CompilerError(f'The compiled kernel cannot be kept in {path.parent} ({error}). {OTHER_FOLDER}') from error
    # It imports from where this process does, be that an installed package or a source tree.
    program = f'import sys; sys.path[:] = {sys.path!r}; from glean_plus.accel import compiler; compiler.main()'
    nothing = subprocess.DEVNULL
    _builds.append(subprocess.Popen(
        [sys.executable, '-c', program], stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
    ))  # fmt: skip


def _failure(path: Path) -> Path:
    """A file that holds why a kernel could not be built."""
    return path.with_suffix('.failed')


@functools.cache
def _version(command: tuple[str, ...]) -> str:
    """What the compiler says of itself, which starts a process."""
    return _run([*command, '--version'])


def _fingerprint(command: tuple[str, ...]) -> str:
    """Of all that the result depends on: source, compiler, flags, and the processor behind -march=native."""
    processor = platform.processor() + platform.machine()
    information = Path('/proc/cpuinfo')
    if information.is_file():
        lines = information.read_text().splitlines()
        processor += ''.join(sorted({line for line in lines if line.startswith(('model name', 'flags', 'Features'))}))
    built_by = os.fsencode(' '.join([*command, *FLAGS]))
    parts = (SOURCE.read_bytes(), _version(command).encode(), built_by, processor.encode())
    return hashlib.sha256(b'\0'.join(parts)).hexdigest()[:16]


def _build(command: list[str], path: Path) -> None:
    """Compile and link; several processes may do so at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        code, built = Path(folder) / 'kernel.o', Path(folder) / path.name
        _run([*command, *FLAGS, '-c', str(SOURCE), '-o', str(code)])
        # Linked without the flags: OpenMP's functions are then found in the library that PyTorch has loaded.
        _run([*command, '-shared', str(code), '-o', str(built)])
        built.replace(path)
    _failure(path).unlink(missing_ok=True)


def _run(command: list[str]) -> str:
    try:
        result = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise CompilerError(f'`{shlex.join(command)}` cannot be run ({error}). {OTHER_COMPILER}') from error
    if result.returncode:
        said = result.stderr.strip()[-2000:]
        raise CompilerError(f'`{shlex.join(command)}` ended with {result.returncode}:\n{said}\n{OTHER_COMPILER}')
    return result.stdout


def main() -> None:
    """The process of :func:`build_in_background`."""
    if hasattr(os, 'nice'):
        os.nice(10)
    path = kernel_path()
    try:
        _build(compiler(), path)
    except CompilerError as error:
        _failure(path).write_text(str(error), encoding='utf-8')
    finally:
        path.with_suffix('.building').unlink(missing_ok=True)
