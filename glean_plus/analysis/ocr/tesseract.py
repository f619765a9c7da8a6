"""Tesseract, as a command."""

from __future__ import annotations

import io
import os
import shutil
import subprocess

import numpy as np
from PIL import Image

from glean_plus.analysis.errors import OCRError

COMMAND = 'tesseract'
WHERE = (
    'On Debian and Ubuntu: apt-get install tesseract-ocr tesseract-ocr-eng tesseract-ocr-ell tesseract-ocr-rus. '
    'Elsewhere: https://tesseract-ocr.github.io/tessdoc/Installation.html'
)
BLOCK = '6'  # page segmentation mode: one block of text


def find(command: str = COMMAND) -> str:
    """The path of the command.

    Raises:
        OCRError: If there is none, with where to get it.
    """
    path = shutil.which(command)
    if path is None:
        raise OCRError(f'There is no command {command!r}, which reads the pages. {WHERE}')
    return path


def version(path: str) -> str:
    """Its first line of `--version`, such as ``tesseract 5.3.0``.

    Raises:
        OCRError: If it does not run.
    """
    return _run([path, '--version']).splitlines()[0].strip()


def check_languages(path: str, languages: set[str]) -> None:
    """Raises OCRError where Tesseract has no data for one of the languages."""
    known = {line.strip() for line in _run([path, '--list-langs']).splitlines()}
    if missing := sorted(languages - known):
        packages = ' '.join(f'tesseract-ocr-{language}' for language in missing)
        names = ', '.join(missing)
        raise OCRError(f'Tesseract has no data for {names}. On Debian and Ubuntu: apt-get install {packages}')


def recognize(path: str, image: np.ndarray, language: str) -> str:
    """The text of an image, (H, W, 3) uint8 RGB, as one block.

    Raises:
        OCRError: If it fails.
    """
    file = io.BytesIO()
    Image.fromarray(image).save(file, format='PNG', compress_level=1)
    return _run([path, 'stdin', 'stdout', '-l', language, '--psm', BLOCK], file.getvalue())


def _run(command: list[str], data: bytes = b'') -> str:
    # Results do not depend on the number of threads; pages are read side by side instead.
    environment = dict(os.environ, OMP_THREAD_LIMIT='1')
    try:
        result = subprocess.run(command, input=data, capture_output=True, env=environment)
    except OSError as error:
        raise OCRError(f'{command[0]} does not run: {error.strerror}. {WHERE}') from error
    if result.returncode:
        lines = result.stderr.decode('utf-8', 'replace').strip().splitlines() or ['it does not say why']
        raise OCRError(f'{" ".join(command)} has failed with {result.returncode}: {lines[-1]}')
    return (result.stdout or result.stderr).decode('utf-8', 'replace')
