"""Limits and places of a server."""

from __future__ import annotations

import argparse
import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from glean_plus.inference.errors import RestoreError
from glean_plus.inference.memory import parse_bytes

COUNTS = {'': 1, 'K': 10**3, 'M': 10**6, 'G': 10**9}


@dataclass(frozen=True)
class Settings:
    """Limits and places, checked.

    Attributes:
        host, port: Where it listens.
        root_path: Where a proxy shows the page: a path or a whole address, without a slash at its end; empty without
            a proxy.
        models: Checkpoints that the operator adds.
        device, precision, speed, max_memory: As of :class:`glean_plus.inference.restorer.Restorer`.
        max_upload, max_store: Bytes of a file, and of all temporary files.
        max_pixels: Of an image before it is restored.
        concurrency, queue: How many restorations run, and how many wait; as many uploads are open at a time.
        keep: Seconds that an image stays after its last use.

    Raises:
        RestoreError: If one of them cannot be used.
    """

    host: str = '127.0.0.1'
    port: int = 7860
    root_path: str = ''
    models: tuple[str, ...] = ()
    device: str = 'auto'
    precision: str = 'fp32'
    speed: str = 'auto'
    max_upload: int = 20 * 2**20
    max_pixels: int = 2 * 10**6
    max_memory: int = 4 * 2**30
    max_store: int = 2 * 2**30
    concurrency: int = 1
    queue: int = 16
    keep: float = 1800.0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise RestoreError(f'--port is 0 to 65535, not {self.port}.')
        if self.concurrency < 1 or self.queue < 1:
            raise RestoreError(
                f'--concurrency and --queue are 1 or more, but they are {self.concurrency} and {self.queue}.'
            )
        if not self.keep > 0:
            raise RestoreError(f'--keep is more than 0 minutes, not {self.keep / 60:g}.')
        if self.max_store < 2 * self.max_upload:
            raise RestoreError(
                f'--max-store holds two uploads or more: raise it, or lower --max-upload, now {self.max_upload} bytes.'
            )
        if self.root_path and not re.fullmatch(r'(https?://[\w.:\[\]-]+)?(/[\w.~-]+)*', self.root_path):
            raise RestoreError(
                f'--root-path is a path, as /restore, or an address, as https://example.org/restore, '
                f'not {self.root_path!r}.'
            )

    @classmethod
    def from_arguments(cls, args: argparse.Namespace) -> Settings:
        """Of a command line."""
        return cls(
            host=args.host, port=args.port, root_path=args.root_path.rstrip('/'), models=tuple(args.model),
            device=args.device, precision=args.precision, speed=args.speed,
            max_upload=parse_bytes(args.max_upload, '--max-upload'), max_pixels=parse_count(args.max_pixels),
            max_memory=parse_bytes(args.max_memory, '--max-memory'),
            max_store=parse_bytes(args.max_store, '--max-store'),
            concurrency=args.concurrency, queue=args.queue, keep=60 * args.keep,
        )  # fmt: skip

    @property
    def prefix(self) -> str:
        """The path before those of the page's routes, as a browser sees it."""
        return urlsplit(self.root_path).path

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == 'localhost':
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_count(text: str) -> int:
    """``'2M'`` -> two million.

    Raises:
        RestoreError: On anything else than a number with K, M or G behind it.
    """
    match = re.fullmatch(r'\s*(\d+(?:\.\d+)?)\s*([KMG]?)\s*', text, re.IGNORECASE)
    count = int(float(match.group(1)) * COUNTS[match.group(2).upper()]) if match else 0
    if count < 1:
        raise RestoreError(f'--max-pixels is a number with K, M or G behind it, as 2M, not {text!r}.')
    return count


def shown_bytes(size: int) -> str:
    """For people: 20971520 -> '20 MB'."""
    return f'{size / 2**20:.3g} MB' if size >= 2**20 else f'{size / 2**10:.3g} KB'


def shown_pixels(count: int) -> str:
    """For people: 2000000 -> '2 million'."""
    return f'{count / 10**6:.3g} million' if count >= 10**6 else f'{count}'
