"""Pages with their ground truth, as `prepare_text` makes them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glean_plus.analysis.errors import OCRError

LIST, WORDS = 'pages.json', 'words_{language}.txt'


@dataclass(frozen=True)
class Page:
    """A page."""

    name: str  # of the image `GT/{name}.png`
    script: str  # latin, greek or cyrillic
    language: str  # Tesseract's name of its language
    font_size: int  # pixels per em
    text: str  # its lines


def read_pages(folder: Path) -> list[Page]:
    """The pages of a folder.

    Raises:
        OCRError: If there are none, or the list is not as `prepare_text` writes it.
    """
    path = folder / LIST
    if not path.is_file():
        raise OCRError(f'There is no {path}: give the folder `pages` that prepare_text has made.')
    try:
        listed: list[Mapping[str, Any]] = json.loads(path.read_text(encoding='utf-8'))
        pages = [
            Page(row['name'], row['script'], row['language'], int(row['font_size']), '\n'.join(row['lines']))
            for row in listed
        ]
    except (KeyError, TypeError, ValueError) as error:
        what = f'{type(error).__name__}: {error}'
        raise OCRError(f'{path} is no list of pages ({what}): run prepare_text again.') from error
    if not pages:
        raise OCRError(f'{path} lists no pages.')
    return pages


def choose_pages(
    pages: Sequence[Page],
    scripts: Collection[str] | None = None,
    sizes: Collection[int] | None = None,
    limit: int | None = None,
) -> list[Page]:
    """The pages of these scripts and font sizes, None being all, the first ``limit`` of each of both.

    Raises:
        OCRError: If there are none of a script or size.
    """
    for asked, known in ((scripts, {page.script for page in pages}), (sizes, {page.font_size for page in pages})):
        if unknown := [each for each in asked or () if each not in known]:
            raise OCRError(f'There are no pages of {unknown[0]}, only of {", ".join(map(str, sorted(known)))}.')
    asked_for = (
        page for page in pages
        if page.script in (scripts or [page.script]) and page.font_size in (sizes or [page.font_size])
    )  # fmt: skip
    return [page for cell in cells_of(asked_for).values() for page in cell[:limit]]


def cells_of(pages: Iterable[Page]) -> dict[tuple[str, int], list[Page]]:
    """The pages of each script and font size, in their order."""
    cells: dict[tuple[str, int], list[Page]] = {}
    for page in pages:
        cells.setdefault((page.script, page.font_size), []).append(page)
    return cells


def read_words(folder: Path, languages: Sequence[str]) -> dict[str, frozenset[str]]:
    """The words of each language, in small letters; none where there is no list."""
    found = {}
    for language in languages:
        path = folder / WORDS.format(language=language)
        found[language] = frozenset(path.read_text(encoding='utf-8').split() if path.is_file() else ())
    return found
