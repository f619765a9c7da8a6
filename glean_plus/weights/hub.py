"""Files of the Hugging Face hub, ``hf://OWNER/REPO/FILE@REVISION``, in its own cache."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from glean_plus.utils.text import is_unicode
from glean_plus.version import __version__
from glean_plus.weights.cards import parse_card
from glean_plus.weights.errors import WeightsError, brief, shown

SCHEME = 'hf://'
NAME = r'[A-Za-z0-9_]+(?:[.-][A-Za-z0-9_]+)*'  # of an owner or a repository
ADDRESS = re.compile(
    rf'hf://(?P<repo>{NAME}/{NAME})/(?P<file>[^@\x00-\x1f\x7f\\:]+)(?:@(?P<revision>[\w.-]+(?:/[\w.-]+)*))?'
)
FORM = 'hf://OWNER/REPO/FILE@REVISION, where @REVISION, a branch, tag or commit, may be left out'


@dataclass(frozen=True)
class HubFile:
    """A file of a model's repository."""

    address: str  # as it was given
    repo: str  # `OWNER/REPO`
    file: str  # its path there
    revision: str = 'main'  # branch, tag or commit

    @classmethod
    def parse(cls, address: str) -> HubFile:
        """Read an address.

        Raises:
            WeightsError: If it is none.
        """
        match = ADDRESS.fullmatch(address) if is_unicode(address) else None
        parts = match['file'].split('/') if match else ['']
        if match is None or not {'', '.', '..'}.isdisjoint(parts):
            raise WeightsError(f'{brief(address)} is no address of a file on the hub: {FORM}.')
        return cls(address, match['repo'], match['file'], match['revision'] or 'main')

    @property
    def card(self) -> HubFile:
        """The card that ``glean-plus publish`` puts beside it."""
        file = str(PurePosixPath(self.file).with_suffix('.json'))
        return HubFile(f'{SCHEME}{self.repo}/{file}@{self.revision}', self.repo, file, self.revision)

    def cached(self, cache: str | os.PathLike[str] | None = None) -> Path:
        """The path of the file in the hub's cache, which need not be there.

        Args:
            cache: Folder instead of the hub's, ``$HF_HUB_CACHE``.

        Raises:
            WeightsError: If the package huggingface-hub is missing, or refuses the name of the repository.
        """
        hub = _hub()
        folder = str(cache or hub.constants.HF_HUB_CACHE)
        try:
            found = hub.try_to_load_from_cache(self.repo, self.file, cache_dir=folder, revision=self.revision)
        except ValueError as error:
            raise WeightsError(f'{self.address} is no address of a file on the hub: {brief(error)}') from error
        if isinstance(found, str):
            return Path(found)
        name = f'models--{self.repo.replace("/", "--")}'
        return Path(folder) / name / 'snapshots' / self.revision / self.file

    def fetch(self, offline: bool, cache: str | os.PathLike[str] | None = None) -> Path:
        """The file in the hub's cache, fetched if it is not there yet; ``HF_TOKEN`` and ``HF_ENDPOINT`` count.

        Args:
            offline: Look in the cache alone.
            cache: As for :meth:`cached`.

        Raises:
            WeightsError: If there is no such file, it cannot be had, or the package huggingface-hub is missing.
        """
        hub, name = _hub(), self.address
        errors = hub.utils
        try:
            path = hub.hf_hub_download(
                self.repo, self.file, revision=self.revision, cache_dir=cache and str(cache), local_files_only=offline,
                library_name='glean_plus', library_version=__version__,
            )  # fmt: skip
        except errors.LocalEntryNotFoundError as error:
            why = 'and the environment forbids to download it' if offline or hub.constants.HF_HUB_OFFLINE else (
                'and the hub cannot be reached')  # fmt: skip
            raise WeightsError(
                f'{name} is not in the cache of the hub, {why}: fetch it where there is a network, by `glean-plus '
                f'fetch {name}`, and take along the folder {hub.constants.HF_HUB_CACHE}, or give the path of the file.'
            ) from error
        except errors.GatedRepoError as error:
            raise WeightsError(
                f'Cannot download {name}: {self.repo} asks to accept its terms. Do so on its page, and set HF_TOKEN.'
            ) from error
        except errors.RepositoryNotFoundError as error:
            raise WeightsError(
                f'Cannot download {name}: there is no repository {self.repo}, or it is private. Correct the name, or '
                'set HF_TOKEN.'
            ) from error
        except errors.RevisionNotFoundError as error:
            raise WeightsError(f'Cannot download {name}: {self.repo} has no revision {self.revision}.') from error
        except errors.EntryNotFoundError as error:
            raise NoHubFileError(
                f'Cannot download {name}: {self.repo} has no file {self.file} at the revision {self.revision}.'
            ) from error
        except Exception as error:  # of two HTTP libraries, by the package's version
            raise WeightsError(f'Cannot download {name}: {brief(error)}.') from error
        return Path(path)

    def sha256(self, offline: bool, cache: str | os.PathLike[str] | None = None) -> str:
        """The SHA-256 that the card beside the file states; empty where there is no card, or it states none.

        Raises:
            WeightsError: If the card cannot be had or read.
        """
        if self.card.file == self.file:
            return ''
        try:
            path = self.card.fetch(offline, cache)
        except NoHubFileError:
            return ''
        except WeightsError:
            if self.card.cached(cache).is_file() or not self.cached(cache).is_file():
                raise
            return ''  # the file was fetched without a card, and there is no network to ask for one
        try:
            digest = parse_card(path.read_text(encoding='utf-8'), self.card.address).get('sha256', '')
        except (OSError, ValueError) as error:
            raise WeightsError(f'{self.card.address} is no readable card: {brief(error)}') from error
        if not isinstance(digest, str) or not re.fullmatch('|[0-9a-f]{8,64}', digest):
            given = shown(digest)
            raise WeightsError(f'sha256 in {self.card.address} must be 8 to 64 digits of 0-9a-f, but is {given}.')
        return digest


class NoHubFileError(WeightsError):
    """A repository has no such file."""


def _hub() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.utils
    except ImportError as error:
        raise WeightsError(
            "hf:// needs the package huggingface-hub: pip install 'glean_plus[hub]', or huggingface-hub alone."
        ) from error
    return huggingface_hub
