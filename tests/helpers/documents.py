"""README.md and docs/ as the tests read them: commands, programs, links."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from conftest import ROOT

DOCS = ROOT / 'docs'
HOME = 'https://github.com/glean-plus/glean_plus'


def pages() -> list[Path]:
    """All of them, in the order in which a reader meets them."""
    parts = ('index.md', 'guides/*.md', 'training/*.md', 'reference/*.md', 'faq.md')
    return [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *(path for part in parts for path in sorted(DOCS.glob(part)))]


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in a language."""
    found = re.findall(rf'^( *)```{language}\n(.*?)^\1```', page.read_text(), re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(body) for _, body in found]


def block_with(page: Path, part: str) -> str:
    """The only Python program of a page that has this part."""
    (found,) = (block for block in blocks(page, 'python') if part in block)
    return found


def commands(page: Path) -> list[str]:
    """The command lines of a page, continued ones joined, without comments."""
    text = ''.join(blocks(page, 'bash')).replace('\\\n', ' ')
    lines = (re.sub(r'(^|\s+)# .*', '', line).strip() for line in text.splitlines())
    return [re.sub(r'\s+', ' ', line) for line in lines if line]


def anchors(page: Path) -> set[str]:
    """What a link to a section of the page can name, as GitHub and MyST make it of a heading."""
    text = re.sub(r'^ *```.*?^ *```', '', page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return {
        re.sub(r'[^\w\- ]', '', heading.lower()).strip().replace(' ', '-')
        for heading in re.findall(r'^#+ (.*)', text, re.MULTILINE)
    }


def links(page: Path) -> list[tuple[str, str]]:
    """Targets of links and images with their anchors; links into this repository as paths, others as they are."""
    text = re.sub(r'^ *```.*?^ *```', '', page.read_text(), flags=re.DOTALL | re.MULTILINE)
    found = []
    for target in re.findall(r'\]\(([^)\s]+)\)', text) + re.findall(r'src="([^"]+)"', text):
        address, _, anchor = target.partition('#')
        raw = HOME.replace('github.com', 'raw.githubusercontent.com')
        for start in (f'{HOME}/blob/main/', f'{raw}/main/'):
            if address.startswith(start):
                address = str(ROOT / address.removeprefix(start))
        if '://' not in address:
            address = str((page.parent / address).resolve()) if address else str(page)
        found.append((address, anchor))
    return found
