"""Downloads: resumed, checked, and never half there."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

import torch
from mmengine.logging import print_log
from tqdm import tqdm

from glean_plus.utils.locks import CAN_LOCK, is_at, try_lock
from glean_plus.utils.text import is_unicode
from glean_plus.version import __version__
from glean_plus.weights.cards import Card, hash_in_name
from glean_plus.weights.errors import WeightsError, brief
from glean_plus.weights.hub import SCHEME, HubFile

TIMEOUT = 30  # seconds without a byte
BLOCK = 1 << 16  # bytes
LOOPBACK = ('localhost', '127.0.0.1', '::1')
FILE_NAME = re.compile(r'(?!\.\.?$)[^\x00-\x1f\x7f/\\:]+')  # what stays in its folder, on Windows, too
PAGE = re.compile(rb'\s*<(!doctype|html|head|\?xml)', re.IGNORECASE)


def cache_dir() -> Path:
    """The folder of downloads: ``$GLEAN_PLUS_CACHE``, or that of torch.hub and MMEngine."""
    folder = os.environ.get('GLEAN_PLUS_CACHE')
    return Path(folder).expanduser() if folder else Path(torch.hub.get_dir()) / 'checkpoints'


def is_address(source: object) -> bool:
    """Whether weights are named by a URL or ``hf://`` address, not by a path."""
    return str(source).startswith(('http://', 'https://', SCHEME))


def cached_path(source: str | Card, cache: str | os.PathLike[str] | None = None) -> Path:
    """The path of the download of a URL, ``hf://`` address or card, which need not be there.

    Without a hash, files of one name, such as ``latest.pth``, cannot be distinguished: names then hold the URL too.
    """
    if hub := _on_hub(source):
        return hub.cached(cache)
    url, folder = _url(source), Path(cache or cache_dir()).expanduser()
    path = folder / Path(urlsplit(url).path).name
    if _digest(source, path.name):
        return path
    return path.with_name(f'{path.stem}.{hashlib.sha256(url.encode()).hexdigest()[:8]}{path.suffix}')


def _digest(source: str | Card, name: str) -> str:
    """The known start of the SHA-256 of a URL's or card's file; empty if there is none."""
    return source.sha256 if isinstance(source, Card) else hash_in_name(name)


def fetch(source: str | Card, cache: str | os.PathLike[str] | None = None) -> Path:
    """The cached download of a URL, ``hf://`` address or card, fetched if it is not there yet.

    It is checked against the card's hash, or the one in its name, each time. A download that broke off resumes where it
    stopped if there is a hash to tell that the halves belong together. Several processes may ask for the same file: one
    downloads, the others wait. ``http://`` is taken as ``https://``, but for the machine itself.

    A file of the Hugging Face hub, ``hf://OWNER/REPO/FILE@REVISION``, is kept in the hub's own cache, and its hash is
    that of the card beside it, ``FILE`` with the ending .json, where there is one.

    With ``GLEAN_PLUS_OFFLINE=1`` the network is left alone.

    Args:
        source: URL or ``hf://`` address, or a card that has one.
        cache: Folder instead of :func:`cache_dir`, or of the hub's.

    Raises:
        WeightsError: If the file cannot be had, or is another one; the message says what to do by hand.
    """
    offline = os.environ.get('GLEAN_PLUS_OFFLINE', '0') not in ('', '0')
    if hub := _on_hub(source):
        path = hub.fetch(offline, cache)
        digest = _digest(source, PurePosixPath(hub.file).name) or hub.sha256(offline, cache)
        _checked(path.resolve(), hub.address, digest)
        return path
    url, path = _url(source), cached_path(source, cache)
    digest = _digest(source, Path(urlsplit(url).path).name)
    if path.is_file():
        return _checked(path, url, digest)
    start = f' (its SHA-256 starts with {digest})' if digest else ''
    by_hand = f'fetch {path.name}{start} elsewhere and put it at {path}.'
    if offline:
        raise WeightsError(f'{url} is not in the cache, and GLEAN_PLUS_OFFLINE forbids to download it: {by_hand}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _unfinished(path, resumable=bool(digest)) as part:
            if not path.is_file():  # another process may have been faster
                _download(url, part, digest)
                if not CAN_LOCK:  # Windows renames no open file
                    part.close()
                os.replace(part.name, path)
    except (OSError, ValueError, HTTPException, WeightsError) as error:  # ValueError: a host that cannot be one
        raise WeightsError(f'Cannot download {url}: {error}. Without a network, {by_hand}') from error
    return path


def _checked(path: Path, url: str, digest: str) -> Path:
    """A cached file, whose SHA-256 must start with ``digest``; the file itself, where the cache has links."""
    found = sha256(path) if digest else ''
    if not found.startswith(digest):
        raise WeightsError(f'{path} is not {url}: its SHA-256 starts with {found[:8]}, not {digest[:8]}. Delete it.')
    return path


def _on_hub(source: str | Card) -> HubFile | None:
    """The file of the hub that a URL or card names, if it names one."""
    url = (source.url or '') if isinstance(source, Card) else source
    return HubFile.parse(url) if url.startswith(SCHEME) else None


def sha256(path: str | os.PathLike[str]) -> str:
    """Hash of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(BLOCK), b''):
            digest.update(block)
    return digest.hexdigest()


def _url(source: str | Card) -> str:
    """The address to ask, encrypted unless it is this machine."""
    url = (source.url or '') if isinstance(source, Card) else source
    if isinstance(source, Card) and not url:
        raise WeightsError(f'The card of {source.name} has no URL: the file is shipped with it.')
    try:
        parts = urlsplit(url)
        known = parts.scheme in ('http', 'https') and parts.hostname and is_unicode(url)
    except ValueError:  # such as brackets that do not close
        known = None
    if not known or not FILE_NAME.fullmatch(Path(parts.path).name):
        raise WeightsError(f'{brief(url)} is no URL of a file: https://HOST/.../NAME or hf://OWNER/REPO/NAME.')
    return url if _is_loopback(url) else parts._replace(scheme='https').geturl()


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in LOOPBACK


class _Redirects(HTTPRedirectHandler):
    """Follows a redirect unless it gives the encryption up."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        local = req.type == 'http' and urlsplit(newurl).scheme == 'http' and _is_loopback(newurl)
        if urlsplit(newurl).scheme != 'https' and not local:
            raise WeightsError(f'it redirects to {newurl}, which is not https')
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def _unfinished(path: Path, resumable: bool) -> Iterator[BinaryIO]:
    """The unfinished download of ``path``, open for writing at its end, in no other process's hands.

    The lock is the system's, on the unfinished file itself: it ends with the process, however that ends. Where a file
    cannot be locked, each process has an unfinished file of its own, and none is resumed. Empty ones are removed.
    """
    locked = _lock(path.with_name(f'{path.name}.part'))
    part = locked or open(path.with_name(f'{path.name}.{os.getpid()}.part'), 'wb')  # noqa: SIM115
    if not resumable:
        _empty(part)  # of what a killed process left
    try:
        yield part
    except BaseException:
        if not resumable:
            _empty(part)
        raise
    finally:
        if locked:
            part.flush()
            if os.fstat(part.fileno()).st_size == 0:
                os.unlink(part.name)
            part.close()  # with it goes the lock
        else:
            part.close()
            Path(part.name).unlink(missing_ok=True)


def _lock(path: Path) -> BinaryIO | None:
    """Open ``path`` to append once no other process has it; None where files cannot be locked."""
    while CAN_LOCK:
        file = open(path, 'ab')  # noqa: SIM115 (the caller closes it)
        try:
            if (locked := try_lock(file)) is False:
                print_log(f'Another process is downloading {path.stem}; waiting for it.', logger='current')
                locked = try_lock(file, wait=True)
        except OSError:
            file.close()
            raise
        if locked and is_at(file, path):
            return file
        file.close()
        if not locked:
            path.unlink(missing_ok=True)
            return None
        # Who had the lock before has renamed or removed the file.
    return None


def _empty(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()


def _download(url: str, part: BinaryIO, digest: str) -> None:
    """Bring ``part`` to the whole of ``url``.

    Raises:
        WeightsError, OSError, HTTPException: If that fails; ``part`` then holds what is right so far, or nothing.
    """
    resumed = _append(url, part)
    if resumed and not _is_right(part, digest):
        _empty(part)  # the file has changed since, or the server counts otherwise
        _append(url, part)
    if not _is_right(part, digest):
        found = sha256(part.name)
        _empty(part)
        raise WeightsError(f'invalid hash: the SHA-256 of what came starts with {found[:8]}, not {digest}')


def _is_right(part: BinaryIO, digest: str) -> bool:
    part.flush()
    return not digest or sha256(part.name).startswith(digest)


def _append(url: str, part: BinaryIO) -> bool:
    """Ask for what is missing, or for everything if the server does not give parts; say whether it was a part."""
    done = part.seek(0, os.SEEK_END)
    headers = {'User-Agent': f'glean_plus/{__version__}'} | ({'Range': f'bytes={done}-'} if done else {})
    opener = build_opener(_Redirects, *([ProxyHandler({})] if _is_loopback(url) else []))
    try:
        response = opener.open(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if done and error.code == 416:  # no byte is missing
            return True
        raise
    with response:
        block = response.read(BLOCK)
        resumed = done > 0 and response.status == 206
        if not resumed and PAGE.match(block):
            raise WeightsError('the answer is a web page, not a weight file')
        if not resumed:
            _empty(part)
            done = 0
        length = response.headers.get('Content-Length')
        total = done + int(length) if length else None
        name = Path(urlsplit(url).path).name
        with tqdm(total=total, initial=done, desc=name, unit='B', unit_scale=True, disable=None) as bar:
            while block:
                part.write(block)
                done += len(block)
                bar.update(len(block))
                block = response.read(BLOCK)
    if done == 0:
        raise WeightsError('the answer is empty')
    if total is not None and done < total:
        raise WeightsError(f'the connection broke off after {done:,} of {total:,} bytes')
    return resumed
