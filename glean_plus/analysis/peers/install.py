"""Packages of an entry, in a folder of their own, so that they change nothing in this environment."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from glean_plus.analysis.errors import PeersError
from glean_plus.weights.fetch import cache_dir


def default_folder() -> Path:
    """The folder of the packages if none is named."""
    return cache_dir() / 'peers'


def site_of(packages: Sequence[str], folder: Path) -> Path:
    """The folder of these pinned packages, which need not be there: a new pin is a new folder."""
    return folder / '+'.join(package.replace('==', '-') for package in packages)


def install(packages: Sequence[str], folder: Path) -> Path:
    """Install pinned packages below ``folder``, without their dependencies, unless they are there.

    Args:
        packages: As ``name==version``.
        folder: Holds one folder for each set of packages.

    Returns:
        The folder to import them from, which exists only when it is complete.

    Raises:
        PeersError: If they cannot be installed.
    """
    site = site_of(packages, folder)
    if site.is_dir():
        return site
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix='.', suffix='.part', dir=folder))
    except OSError as error:
        raise PeersError(f'Nothing can be installed into {folder}: {error.strerror}. Name another --peers.') from error
    try:
        command = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--disable-pip-version-check',
                   '--retries', '2', '--target', str(partial), *packages]  # fmt: skip
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if result.returncode:
            lines = [line for line in result.stderr.splitlines() if line.strip()] or ['it does not say why']
            errors = [line for line in lines if line.startswith('ERROR')] or lines
            raise PeersError(
                f'{" and ".join(packages)} cannot be installed into {site}; pip says: {errors[-1]}\n'
                'If the package index cannot be reached from here, install them where it can, with the same Python:\n'
                f'    {shown(command, partial, site)}\n'
                f'and bring that folder here, below --peers ({folder}). Or leave the entry out: name others with '
                '--entries.'
            )
        partial.chmod(0o755)
        try:
            os.rename(partial, site)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # Another process has been faster.
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return site


def shown(command: Sequence[str], partial: Path, site: Path) -> str:
    """The command as a user gives it."""
    words = ['pip', *command[3:]]
    return ' '.join(str(site) if word == str(partial) else word for word in words if word != '--quiet')
