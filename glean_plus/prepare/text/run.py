"""A whole set of text: crops to train on, images to validate on, and pages to read."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import PIL
from PIL import features

from glean_plus.prepare.archives import unpack
from glean_plus.prepare.crops import SOURCES, read_sources
from glean_plus.prepare.images import missing_files, save_scaled, whole_files
from glean_plus.prepare.items import DataError, Problem, meta_line
from glean_plus.prepare.pool import run_all
from glean_plus.prepare.readers import folder as folder_reader
from glean_plus.prepare.run import PROBLEMS, opened, save_problems
from glean_plus.prepare.settings import SettingsError, check_positive, check_scales
from glean_plus.prepare.text.corpus import Document, read_documents
from glean_plus.prepare.text.draw import layout_engine, render
from glean_plus.prepare.text.fonts import Font, read_fonts
from glean_plus.prepare.text.languages import PAGE_LANGUAGES, readable
from glean_plus.prepare.text.plan import PAGE_TEXT, Sample, Side, plan_crop, plan_page
from glean_plus.prepare.text.scripts import SCRIPTS
from glean_plus.prepare.text.split import check_sides, held_out_designs, held_out_documents
from glean_plus.utils.files import save_json, save_text
from glean_plus.utils.tables import csv_text

META = 'meta_info_GT.txt'
LISTED = (
    'script', 'family', 'style', 'font', 'font_size', 'rendering', 'foreground', 'background', 'ground', 'photo',
    'document',
)  # fmt: skip


@dataclass(frozen=True)
class TextSettings:
    """Settings of a set of text."""

    size: int = 128  # side of the training crops in pixels
    crops: int = 16_000  # how many of them
    scales: tuple[int, ...] = (4,)  # factors of the low-resolution counterparts
    test_crops: int = 60  # images of the test side in the manner of the crops, to validate on
    test_size: int = 256  # their side
    pages: int = 40  # pages of each script and font size
    page_sizes: tuple[int, ...] = (20, 24, 28, 32)  # font sizes of the pages, pixels per em
    page_extent: tuple[int, int] = (512, 256)  # width and height of the pages
    test_share: float = 0.2  # share of the designs, and of each script's text, that is held out
    seed: int = 0  # of all choices. An image follows from the seed, its name, the fonts and the texts

    def __post_init__(self) -> None:
        extents = [('page-extent', extent) for extent in self.page_extent]
        check_positive(('size', self.size), ('crops', self.crops), ('test-size', self.test_size),
                       *(('page-sizes', size) for size in self.page_sizes), *extents)  # fmt: skip
        for option, value in (('pages', self.pages), ('test-crops', self.test_crops)):
            if value < 0:
                raise SettingsError(f'--{option} is {value}, but must not be negative')
        if not 0 < self.test_share < 1:
            raise SettingsError(f'--test-share is {self.test_share}, but must be above 0 and below 1')
        check_scales(self.scales, ('size', self.size), ('test-size', self.test_size), *extents)


@dataclass
class TextReport:
    """The result of a run."""

    counts: dict[str, int] = field(default_factory=dict)
    scripts: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def prepare_text(
    out: Path,
    fonts: Sequence[Path],
    texts: Sequence[Path],
    settings: TextSettings,
    photos: Path | None = None,
    workers: int = 1,
) -> TextReport:
    """Write ``out/{train,test}``, each as ``prepare_data crops`` does, and ``out/pages`` with their ground truth.

    No design of fonts and no document is on both sides; test crops and pages are of the test side. ``crops.csv`` tells
    what each crop shows, ``pages/pages.json`` the lines of each page and ``pages/words_LANGUAGE.txt`` a dictionary;
    ``fonts.csv`` and ``documents.csv`` the side and the licence of each. Started again, it does what is missing.

    Args:
        fonts, texts: Folders. Debian packages (.deb) in them are unpacked beside themselves first.
        photos: Folder of photographs, which stand behind some of the training crops; without those that its
            ``sources.csv`` holds out.

    Raises:
        DataError: If a folder has nothing to use, ``out`` lies in one of them or was made with other settings.
    """
    out = out.resolve()
    sources = [path.resolve() for path in (*fonts, *texts, *([photos] if photos else []))]
    for folder in (*fonts, *texts):
        unpack(folder)
    documents, problems = read_documents(texts)
    alphabet = ''.join(sorted({c for document in documents for part in document.paragraphs for c in {*part}}))
    all_fonts, unused = read_fonts(fonts, alphabet, workers)
    report = TextReport(problems=[*problems, *unused])
    behind = []
    if photos is not None:
        listing = folder_reader.read(photos)
        report.problems += listing.problems
        listed = read_sources(photos / SOURCES)
        behind = [item.source for item in listing.items if listed.get(item.source, {}).get('split') != 'test']
        if not behind:
            raise DataError(f'No image to train on below {photos}. ' + ' '.join(listing.notes))
    with opened(out, sources, facts_of(sources, settings)):
        designs = held_out_designs(all_fonts, settings.test_share, settings.seed)
        names = held_out_documents(documents, settings.test_share, settings.seed)
        report.scripts = check_sides(all_fonts, documents, designs, names)
        root = Path(os.path.commonpath([folder.resolve() for folder in fonts]))
        test_fonts = [font for font in all_fonts if font.design in designs]
        held_out = [document for document in documents if document.name in names]
        sides = {
            'train': Side(report.scripts, [font for font in all_fonts if font.design not in designs],
                          [document for document in documents if document.name not in names], behind),
            'test': Side(report.scripts, test_fonts, held_out),
        }  # fmt: skip
        save_text(font_table(all_fonts, designs, root), out / 'fonts.csv')
        save_text(document_table(documents, names), out / 'documents.csv')
        save_problems(report.problems, out)
        whole_files(out)  # removes partial files of a killed run
        work = partial(draw_one, out=out, scales=settings.scales, font_root=root, photos=photos)
        rows: list[dict[str, Any]] = []
        for split, count, size in (('train', settings.crops, settings.size),
                                   ('test', settings.test_crops, settings.test_size)):  # fmt: skip
            tasks = [(split, plan_crop(f'{number:06d}', sides[split], size, settings.seed, root))
                     for number in range(count)]  # fmt: skip
            lines = run_all(work, tasks, workers, split)
            rows += lines
            save_text(''.join(meta_line(line['name'], (size, size)) for line in lines), out / split / META)
            report.counts[split] = len(lines)
        save_text(table(rows), out / 'crops.csv')
        pages = plan_pages(test_fonts, held_out, settings, root, report)
        drawn = run_all(work, [('pages', page) for page in pages], workers, 'pages')
        for language in {line['language'] for line in drawn}:
            save_text(words_of(documents, language), out / 'pages' / f'words_{language}.txt')
        width, height = settings.page_extent
        save_text(''.join(meta_line(line['name'], (height, width)) for line in drawn), out / 'pages' / META)
        save_json(drawn, out / 'pages' / 'pages.json')
        report.counts['pages'] = len(drawn)
    return report


def plan_pages(
    fonts: Sequence[Font], documents: Sequence[Document], settings: TextSettings, font_root: Path, report: TextReport
) -> list[Sample]:
    """The pages of held-out fonts and documents; a script without prose to read has none, and is noted."""
    prose = [
        replace(document, paragraphs=tuple(readable(document.script, document.paragraphs)))
        for document in documents if document.language == PAGE_LANGUAGES[document.script]
    ]  # fmt: skip
    side = Side(report.scripts, fonts, [document for document in prose if document.size >= PAGE_TEXT])
    report.notes += [
        f'No held-out document has {PAGE_TEXT} characters in {PAGE_LANGUAGES[script]}: no pages in {script}.'
        for script in report.scripts if script not in side.documents
    ]  # fmt: skip
    return [
        plan_page(f'{script}_{font_size}_{number:03d}', side, script, font_size, settings.page_extent, settings.seed,
                  font_root)
        for script in report.scripts if script in side.documents
        for font_size in settings.page_sizes for number in range(settings.pages)
    ]  # fmt: skip


def draw_one(
    task: tuple[str, Sample], out: Path, scales: Sequence[int], font_root: Path, photos: Path | None
) -> dict[str, Any]:
    """Write an image and its low-resolution counterparts where they are missing; what the lists say of it."""
    folder, sample = task
    missing = missing_files(out / folder, sample.name, scales)
    facts = {'name': sample.name, 'split': folder, **{key: getattr(sample, key) for key in LISTED}}
    if folder != 'pages' and not missing:
        return facts
    image, lines = render(sample, font_root, photos)
    save_scaled(image, missing)
    return {**facts, 'language': PAGE_LANGUAGES[sample.script], 'lines': lines} if folder == 'pages' else facts


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV, with the keys of the first as its head; colours as `#RRGGBB`."""
    cells = [['#' + bytes(each).hex() if isinstance(each, tuple) else each for each in row.values()] for row in rows]
    return csv_text([list(rows[0]) if rows else [], *cells])


def font_table(fonts: Sequence[Font], held_out: set[str], root: Path) -> str:
    """Each family: its design, side, scripts, number of fonts and licences, as CSV."""
    families: dict[str, list[Font]] = {}
    for font in fonts:
        families.setdefault(font.family, []).append(font)
    return table([
        {
            'family': family,
            'design': own[0].design,
            'split': 'test' if own[0].design in held_out else 'train',
            'scripts': ' '.join(script for script in SCRIPTS if any(script in font.scripts for font in own)),
            'fonts': len(own),
            'licence': ' / '.join(sorted({font.licence for font in own})),
            'first': own[0].path.relative_to(root).as_posix(),
        }
        for family, own in sorted(families.items())
    ])


def document_table(documents: Sequence[Document], held_out: set[str]) -> str:
    """Each document: its side, script, characters and licences, as CSV."""
    return table([
        {
            'document': document.name,
            'split': 'test' if document.name in held_out else 'train',
            'script': document.script,
            'language': document.language,
            'characters': document.size,
            'licence': document.licence,
        }
        for document in documents
    ])


def words_of(documents: Sequence[Document], language: str) -> str:
    """A dictionary: the words that the documents of a language have at least twice, in small letters, one a line."""
    counts = Counter(
        word.casefold()
        for document in documents if document.language == language
        for paragraph in document.paragraphs
        for word in re.findall(r"[^\W\d_]{2,}", paragraph)
    )  # fmt: skip
    return ''.join(f'{word}\n' for word in sorted(counts) if counts[word] > 1)


def facts_of(sources: Sequence[Path], settings: TextSettings) -> dict[str, Any]:
    """Everything that decides the images: the settings and the versions of the renderers, as JSON has it."""
    facts: dict[str, Any] = json.loads(json.dumps({
        'set': 'text',
        'sources': [str(source) for source in sources],
        **asdict(settings),
        'layout': layout_engine(),
        'freetype': features.version('freetype2'),
        'pillow': PIL.__version__,
    }))
    return facts


def tell(report: TextReport, out: Path) -> None:
    """Print how many images there are, and what was left out."""
    print(f'Text is shaped by: {layout_engine()}')
    for note in report.notes:
        print(note)
    for folder, number in report.counts.items():
        print(f'{folder}: {number} images in {out / folder}')
    print(f'Scripts: {", ".join(report.scripts)}')
    kinds = Counter(problem.kind for problem in report.problems)
    if kinds:
        print('Left out: ' + ', '.join(f'{number} {kind}' for kind, number in kinds.items())
              + f': all in {out / PROBLEMS}')  # fmt: skip
    print(f'Families, documents and their licences: {out / "fonts.csv"}, {out / "documents.csv"}')
