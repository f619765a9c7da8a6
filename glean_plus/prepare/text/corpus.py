"""Documents: paragraphs of plain text, HTML, manual pages and collections of fortunes."""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from glean_plus.prepare.files import files_below
from glean_plus.prepare.items import DataError, Problem
from glean_plus.prepare.text.languages import language_of
from glean_plus.prepare.text.licences import licence_of_package
from glean_plus.prepare.text.scripts import drawable, main_script, normalize

ENDINGS = ('.txt', '.html', '.htm', '.u8', '')
MANUAL = re.compile(r'\.[1-9][a-z]*$')
CODE = re.compile(r'[_|\\~{}]|--|\$')
SHORTEST = 60       # characters of a paragraph
LARGEST = 8 << 20   # bytes of a document
BLOCK_TAGS = {'p', 'li', 'dd', 'dt', 'div', 'h1', 'h2', 'h3', 'h4', 'td', 'th', 'pre', 'br', 'tr'}
UNSEEN_TAGS = {'script', 'style', 'title', 'pre'}


@dataclass(frozen=True)
class Document:
    """A file of text."""

    name: str  # path below the folder that it was found in, with `/`
    script: str  # of all its paragraphs; paragraphs in other scripts are left out
    paragraphs: tuple[str, ...]  # each of at least SHORTEST characters, on one line, of drawable characters alone
    licence: str = ''  # what the copyright file of its package names
    language: str = ''  # as language_of

    @property
    def size(self) -> int:
        """Characters."""
        return sum(map(len, self.paragraphs))


class _Paragraphs(HTMLParser):
    """Text of an HTML file, with a blank line around each block."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text: list[str] = []
        self.unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.unseen += tag in UNSEEN_TAGS
        if tag in BLOCK_TAGS:
            self.text.append('\n\n')

    def handle_endtag(self, tag: str) -> None:
        self.unseen = max(self.unseen - (tag in UNSEEN_TAGS), 0)
        if tag in BLOCK_TAGS:
            self.text.append('\n\n')

    def handle_data(self, data: str) -> None:
        if not self.unseen:
            self.text.append(data)


def from_html(text: str) -> str:
    parser = _Paragraphs()
    parser.feed(text)
    parser.close()
    return ''.join(parser.text)


def from_roff(text: str) -> str:
    """Prose of a manual page: its requests go, but for the words of .B, .I and the like, and so do its escapes."""
    lines = []
    for line in text.splitlines():
        if line.startswith(("'\\\"", '.\\"')):
            continue
        if line.startswith(('.', "'")):
            request, _, rest = line[1:].strip().partition(' ')
            line = rest.replace('"', '') if request in {'B', 'I', 'BR', 'BI', 'IR', 'RB', 'RI', 'SM'} else ''
        lines.append(line)
    text = '\n'.join(lines)
    text = re.sub(r'\\f(\(..|\[[^]]*\]|.)', '', text)
    text = re.sub(r'\\s[-+]?\d', '', text)
    replaced = {r'\-': '-', r'\(aq': "'", r'\(bu': '', r'\(em': '—', r'\(en': '–', r'\e': '\\', r'\ ': ' ', r'\&': ''}
    for escape, character in replaced.items():
        text = text.replace(escape, character)
    return re.sub(r'\\[\(\[*].*?(?=\s|$)', '', text)


def text_of(path: Path) -> str | None:
    """The text of a file, its blocks apart by blank lines; None for what is no text in UTF-8.

    Raises:
        OSError: If it cannot be read.
    """
    name = path.name
    data = path.read_bytes()
    if name.endswith('.gz'):
        name = name[:-3]
        try:
            data = gzip.decompress(data)
        except (EOFError, gzip.BadGzipFile):
            return None
    try:
        text = data[:LARGEST].decode('utf-8', 'ignore' if len(data) > LARGEST else 'strict')
    except UnicodeDecodeError:
        return None
    if '\0' in text:
        return None
    if name.lower().endswith(('.html', '.htm')):
        return from_html(text)
    if MANUAL.search(name):
        return from_roff(text)
    return re.sub(r'(?m)^%\s*$', '\n', text)  # between fortunes


def paragraphs_of(text: str) -> list[tuple[str, str]]:
    """(script, paragraph) of a text: words with characters that are not drawn are left out."""
    found = []
    for block in re.split(r'\n\s*\n', text):
        paragraph = normalize(block)
        if not drawable(paragraph):
            paragraph = ' '.join(word for word in paragraph.split(' ') if drawable(word))
        if len(paragraph) < SHORTEST or CODE.search(paragraph):
            continue
        script = main_script(paragraph)
        if script:
            found.append((script, paragraph))
    return found


def read_documents(folders: Sequence[Path]) -> tuple[list[Document], list[Problem]]:
    """The documents below ``folders``, sorted by name; files of other kinds are passed over.

    A paragraph that stands in several documents belongs to the first alone, so that none is on both sides of a split.

    Raises:
        DataError: If a folder is missing, or none of them has a document.
    """
    documents: list[Document] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f'{folder} is not a folder of texts.')
        for path in filter(wanted, files_below(folder)):
            name = f'{folder.name}/{path.relative_to(folder).as_posix()}'
            try:
                text = text_of(path)
            except OSError as error:
                problems.append(Problem(name, 'unreadable', error.strerror or str(error)))
                continue
            if text is None:
                continue
            found = paragraphs_of(text)
            if not found:
                continue
            scripts = [script for script, _ in found]
            script = max(sorted({*scripts}), key=scripts.count)
            own = tuple(dict.fromkeys(part for kind, part in found if kind == script and part not in seen))
            seen.update(own)
            if own:
                licence, language = licence_of_package(path, folder), language_of(script, own)
                documents.append(Document(name, script, own, licence, language))
    if not documents:
        raise DataError(f'No text in UTF-8 below {", ".join(map(str, folders))}.')
    return sorted(documents, key=lambda document: document.name), problems


def wanted(path: Path) -> bool:
    name = path.name.removesuffix('.gz')
    if name.startswith(('copyright', 'changelog', 'NEWS', 'README', 'TODO')) or path.is_symlink() or not path.is_file():
        return False
    return Path(name).suffix.lower() in ENDINGS or MANUAL.search(name) is not None
