"""`prepare_text`: what is drawn, what is held out, and that a page says what stands on it."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image, ImageDraw, ImageFont

from glean_plus.prepare import DataError, SettingsError
from glean_plus.prepare.archives import unpack
from glean_plus.prepare.text import TextSettings, prepare_text
from glean_plus.prepare.text.corpus import from_html, from_roff, paragraphs_of, read_documents
from glean_plus.prepare.text.draw import coverage, place, render
from glean_plus.prepare.text.fonts import clean_family, named_alike, read_fonts
from glean_plus.prepare.text.languages import language_of, readable
from glean_plus.prepare.text.licences import non_commercial
from glean_plus.prepare.text.packages import read_list
from glean_plus.prepare.text.plan import Sample, contrast
from glean_plus.prepare.text.scripts import LETTERS, NEEDED, main_script

from conftest import load_tool

SETTINGS = TextSettings(size=64, crops=6, test_crops=2, test_size=64, pages=2, page_sizes=(20,), page_extent=(256, 128))
LATIN = [
    'The café in the old part of the town is that of a friend of mine, and it is open on Sundays as of 10:30.',
    'Any old text will do here as long as it is long enough to be a paragraph in the book, and this is one for it.',
    'It is a truth that the naïve do not see: for all the words in this book, you are to read it in an hour.',
]
GERMAN = 'Die Würde des Menschen ist unantastbar, und das gilt an jedem Tag der Woche, auch sonntags um 10:30 Uhr.'
CYRILLIC = [
    'Широкая электрификация южных губерний даст мощный толчок подъёму сельского хозяйства во всей стране.',
    'Съешь же ещё этих мягких французских булок, да выпей чаю, а потом поговорим о погоде и о работе.',
]


def square_font(path: Path, family: str, letters: str, hollow: str = '', licence: str = 'SIL Open Font License'
                ) -> None:
    """A font whose letters are bars of heights of their own; those of ``hollow`` are mapped and have no ink."""
    names = ['.notdef', 'space', *(f'u{ord(letter):04x}' for letter in letters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({32: 'space', **{ord(letter): f'u{ord(letter):04x}' for letter in letters}})
    glyphs = {}
    for index, name in enumerate(names):
        pen = TTGlyphPen(None)
        letter = chr(int(name[1:], 16)) if name.startswith('u') else ''
        if name != 'space' and not (letter and letter in hollow):
            top = 100 if letter == '.' else 200 + (index * 37) % 500
            for corner, move in (((50, 0), pen.moveTo), ((50, top), pen.lineTo), ((400, top), pen.lineTo),
                                 ((150 + (index * 53) % 300, 0), pen.lineTo)):  # fmt: skip
                move(corner)
            pen.closePath()
        glyphs[name] = pen.glyph()
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics({name: (500, 50) for name in names})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable(dict(familyName=family, styleName='Regular', licenseDescription=licence))
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(path)


@pytest.fixture(scope='module')
def fonts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DejaVu Sans and Serif, which matplotlib brings along, and two fonts that are made here."""
    folder = tmp_path_factory.mktemp('fonts')
    for name in ('DejaVuSans', 'DejaVuSans-Bold', 'DejaVuSerif', 'STIXGeneral'):
        shutil.copy(Path(matplotlib.get_data_path()) / 'fonts' / 'ttf' / f'{name}.ttf', folder)
    square_font(folder / 'bars.ttf', 'Bars', LETTERS['latin'] + NEEDED + 'üœîá', hollow='œ')
    shutil.copy(folder / 'bars.ttf', folder / 'again.ttf')
    doc = folder / 'usr' / 'share' / 'doc' / 'bars'
    doc.mkdir(parents=True)
    (doc / 'copyright').write_text('Format: x\n\nFiles: *\nLicense: OFL-1.1\n\nFiles: debian/*\nLicense: GPL-3\n')
    return folder


@pytest.fixture(scope='module')
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('texts')
    for number, paragraph in enumerate([*LATIN, *CYRILLIC] * 2):
        words = f'{paragraph} {paragraph.split(" ")[number]} {paragraph.split(" ")[number + 1]}. ' * 12
        (folder / f'{number}.txt').write_text(f'{words}\n\n{paragraph}\n', encoding='utf-8')
    (folder / 'latin1.txt').write_bytes('Dies ist kein UTF-8, so schön es auch wäre.'.encode('latin-1') * 9)
    return folder


@pytest.fixture(scope='module')
def made(fonts: Path, texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp('made')
    report = prepare_text(out, [fonts], [texts], SETTINGS)
    assert report.scripts == ['latin', 'cyrillic'] and report.counts == {'train': 6, 'test': 2, 'pages': 4}
    return out


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*')
            if path.is_file() and path.name != '.lock'}  # fmt: skip


def sample(font: Path, **settings) -> Sample:
    facts = dict(script='latin', document='', family='', design='', style='', rendering='hinted')
    colors = dict(foreground=(0, 0, 0), background=(255, 255, 255))
    return Sample(**{**dict(name='x', width=256, height=128, font=font.name, font_size=20, text=LATIN[1], margin=16,
                            line_height=1.25), **facts, **colors, **settings})  # fmt: skip


def test_the_same_command_makes_the_same_files_also_in_two_goes(
    made: Path, fonts: Path, texts: Path, tmp_path: Path
) -> None:
    prepare_text(tmp_path, [fonts], [texts], SETTINGS, workers=2)
    assert files(tmp_path) == files(made)
    for name in ('train/GT/000003.png', 'train/BIx4_down/000001.png', 'pages/GT/latin_20_001.png'):
        (tmp_path / name).unlink()
    prepare_text(tmp_path, [fonts], [texts], SETTINGS)
    assert files(tmp_path) == files(made)
    with pytest.raises(DataError, match='seed=0, not 1'):
        prepare_text(tmp_path, [fonts], [texts], replace(SETTINGS, seed=1))


def test_another_seed_makes_other_images(made: Path, fonts: Path, texts: Path, tmp_path: Path) -> None:
    prepare_text(tmp_path, [fonts], [texts], replace(SETTINGS, seed=1, pages=0))
    assert (tmp_path / 'train/GT/000000.png').read_bytes() != (made / 'train/GT/000000.png').read_bytes()


def test_layout_is_that_of_prepared_crops(made: Path) -> None:
    for folder, extent, number in (('train', (64, 64), 6), ('test', (64, 64), 2), ('pages', (256, 128), 4)):
        lines = (made / folder / 'meta_info_GT.txt').read_text().splitlines()
        assert len(lines) == number
        for line in lines:
            name, shape = line.split(' ')
            assert shape == f'({extent[1]},{extent[0]},3)'
            assert Image.open(made / folder / 'GT' / name).size == extent
            assert Image.open(made / folder / 'BIx4_down' / name).size == (extent[0] // 4, extent[1] // 4)


def test_designs_and_documents_are_on_one_side(made: Path) -> None:
    side_of = {row['family']: row['split'] for row in rows(made / 'fonts.csv')}
    design_sides: dict[str, set[str]] = {}
    for row in rows(made / 'fonts.csv'):
        design_sides.setdefault(row['design'], set()).add(row['split'])
    assert all(len(sides) == 1 for sides in design_sides.values()) and {*side_of.values()} == {'train', 'test'}
    document_side = {row['document']: row['split'] for row in rows(made / 'documents.csv')}
    for script in ('latin', 'cyrillic'):
        assert {row['split'] for row in rows(made / 'documents.csv') if row['script'] == script} == {'train', 'test'}
    for row in [*rows(made / 'crops.csv'), *json.loads((made / 'pages' / 'pages.json').read_text())]:
        wanted = 'train' if row['split'] == 'train' else 'test'
        assert side_of[row['family']] == wanted and document_side[row['document']] == wanted


def test_a_paragraph_of_two_documents_belongs_to_one(texts: Path) -> None:
    documents, _ = read_documents([texts])
    paragraphs = [paragraph for document in documents for paragraph in document.paragraphs]
    assert len(paragraphs) == len({*paragraphs}) == 15  # of twice five documents of two, with five in common
    assert 'latin1' not in ' '.join(document.name for document in documents)


def test_the_lines_of_a_page_are_what_stands_on_it(made: Path, fonts: Path, texts: Path) -> None:
    """Each line is drawn again by itself, black on white, and lies where the page has its ink and nowhere else."""
    for page in json.loads((made / 'pages' / 'pages.json').read_text()):
        image = np.asarray(Image.open(made / 'pages' / 'GT' / f'{page["name"]}.png'), np.float32)
        behind, front = (np.array(page[key], np.float32) for key in ('background', 'foreground'))
        ink = ((image - behind) @ (front - behind)) / ((front - behind) @ (front - behind))
        found = runs(ink.max(1) > 0.25)
        font = ImageFont.truetype(str(fonts / page['font']), 20)
        drawn = []
        for line in page['lines']:
            strip = Image.new('L', (256, 60))
            ImageDraw.Draw(strip).text((16, 40), line, 255, font, anchor='ls')
            drawn.append(np.asarray(strip, np.float32) / 255)
        document = (texts.parent / page['document'].split('/', 1)[0] / page['document'].split('/', 1)[1]).read_text()
        assert ' '.join(page['lines']) in ' '.join(document.split()) or len(page['lines']) > 1
        assert len(page['lines']) in (3, 4) and len(found) >= 3
        for line, strip in zip(page['lines'], drawn):
            best = max(correlation(strip[20:48], ink[top:top + 28]) for top in range(100))
            assert best > 0.8, line


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    first, second = first - first.mean(), second - second.mean()
    return float((first * second).sum() / max(np.sqrt((first**2).sum() * (second**2).sum()), 1e-6))


def runs(on: np.ndarray) -> list[int]:
    """Where runs of True begin."""
    return np.flatnonzero(np.diff(np.concatenate([[False], on]).astype(int)) == 1).tolist()


def test_a_line_stands_where_pillow_puts_it(fonts: Path) -> None:
    page = sample(fonts / 'DejaVuSans.ttf')
    image, lines = render(page, fonts)
    expected = Image.new('L', (256, 128), 255)
    for index, line in enumerate(lines):
        font = ImageFont.truetype(str(fonts / 'DejaVuSans.ttf'), 20)
        ImageDraw.Draw(expected).text((16, 36 + 25 * index), line, 0, font, anchor='ls')
    assert np.abs(image.astype(int) - np.asarray(expected)[..., None]).max() <= 1
    assert LATIN[1].startswith(' '.join(lines)) and len(lines) == 4


def test_lines_of_a_page_end_within_its_margins(fonts: Path) -> None:
    for rendering in ('hinted', 'smooth', 'rgb'):
        image, lines = render(sample(fonts / 'DejaVuSerif.ttf', rendering=rendering, tracking=0.05), fonts)
        inside = np.zeros((128, 256), bool)
        inside[12:-12, 12:-12] = True
        assert (image[~inside] == 255).all() and len(lines) >= 3


def test_a_crop_is_a_window_onto_a_larger_text(fonts: Path) -> None:
    crop = sample(fonts / 'DejaVuSans.ttf', width=128, margin=None, left=-0.4, top=0.5, text=' '.join(LATIN))
    places = place(crop, fonts)
    ink = coverage(crop, places, fonts)[..., 0]
    assert (ink[:, 0] > 0.5).any() and (ink[:, -1] > 0.5).any() and (ink[0] > 0.3).any() and (ink[-1] > 0.3).any()
    assert ' '.join(LATIN).startswith(' '.join(text for *_, text in places))


@pytest.mark.parametrize(('rendering', 'shift'), [('rgb', 1 / 3), ('bgr', -1 / 3)])
def test_subpixels_see_the_text_a_third_of_a_pixel_apart(fonts: Path, rendering: str, shift: float) -> None:
    page = sample(fonts / 'DejaVuSans.ttf', rendering=rendering)
    ink = coverage(page, place(page, fonts), fonts)
    smooth = coverage(replace(page, rendering='smooth'), place(page, fonts), fonts)
    centre = [float((channel.sum(0) * np.arange(256)).sum() / channel.sum()) for channel in np.moveaxis(ink, 2, 0)]
    assert centre[0] - centre[1] == pytest.approx(shift, abs=0.01)
    assert centre[1] - centre[2] == pytest.approx(shift, abs=0.01)
    assert ink.sum((0, 1)) == pytest.approx(smooth.sum((0, 1)), rel=1e-3)  # the filter keeps the amount of ink


def test_no_character_is_drawn_that_the_font_lacks(made: Path, fonts: Path) -> None:
    from fontTools.ttLib import TTFont

    read, _ = read_fonts([fonts], 'aäœЖ')
    of = {font.path.name: font.coverage for font in read}
    assert of['DejaVuSans.ttf'] >= {*'aäœЖ'}
    assert of['bars.ttf'] & {*'aäœЖ'} == {'a'}, 'neither what it has no glyph for, nor a glyph without ink'
    for page in json.loads((made / 'pages' / 'pages.json').read_text()):
        with TTFont(fonts / page['font']) as font:
            assert {*map(ord, ''.join(page['lines']))} <= {*font.getBestCmap()}


def test_families_of_one_design_are_joined(fonts: Path) -> None:
    read, problems = read_fonts([fonts], 'abc')
    assert problems == []
    design = {font.path.name: font.design for font in read}
    assert design['DejaVuSans.ttf'] == design['DejaVuSans-Bold.ttf'] == 'DejaVu Sans'
    assert design['bars.ttf'] == design['again.ttf']
    assert len({*design.values()}) == 4
    assert clean_family('Noto Sans Display SemiCondensed Light') == 'Noto Sans'
    assert named_alike('Go Mono', 'Go') and not named_alike('Noto Sans', 'Noto Serif')


def test_the_same_letters_under_another_name_are_one_design(fonts: Path, tmp_path: Path) -> None:
    shutil.copy(fonts / 'bars.ttf', tmp_path)
    square_font(tmp_path / 'other.ttf', 'Rods', LETTERS['latin'] + NEEDED)
    square_font(tmp_path / 'more.ttf', 'Blocks', LETTERS['latin'][::-1] + NEEDED)
    read, _ = read_fonts([tmp_path], 'abc')
    design = {font.family: font.design for font in read}
    assert design['Rods'] == design['Bars'] != design['Blocks']


def test_licences_are_those_of_the_name_table_and_the_package(made: Path) -> None:
    licence = {row['family']: row['licence'] for row in rows(made / 'fonts.csv')}
    assert licence['Bars'] == 'OFL-1.1' and 'Bitstream' in licence['DejaVu Sans']


def test_a_broken_font_is_a_problem_and_no_end(fonts: Path, texts: Path, tmp_path: Path) -> None:
    shutil.copytree(fonts, tmp_path / 'fonts')
    (tmp_path / 'fonts' / 'cut.ttf').write_bytes((fonts / 'DejaVuSans.ttf').read_bytes()[:5000])
    (tmp_path / 'fonts' / 'empty.otf').touch()
    square_font(tmp_path / 'fonts' / 'digits.ttf', 'Digits', NEEDED)
    square_font(tmp_path / 'fonts' / 'blank.ttf', 'Blank', LETTERS['latin'] + NEEDED, hollow=LETTERS['latin'][2:40])
    square_font(tmp_path / 'fonts' / 'personal.ttf', 'Personal', LETTERS['latin'] + NEEDED,
                licence='Free for personal, non-commercial, or non-profit use. Other use requires a purchase.')
    prepare_text(tmp_path / 'out', [tmp_path / 'fonts'], [texts], replace(SETTINGS, crops=1, pages=0))
    problems = rows(tmp_path / 'out' / 'problems.csv')
    assert {row['file']: row['problem'] for row in problems} == {
        'fonts/cut.ttf': 'unreadable', 'fonts/empty.otf': 'unreadable', 'fonts/digits.ttf': 'coverage',
        'fonts/blank.ttf': 'coverage', 'fonts/personal.ttf': 'licence',
    }  # fmt: skip
    assert 'Free for personal, non-commercial' in next(row['detail'] for row in problems if row['problem'] == 'licence')
    assert not {'Blank', 'Personal'} & {row['family'] for row in rows(tmp_path / 'out' / 'fonts.csv')}


@pytest.mark.parametrize(('text', 'forbidden'), [
    ('This font is free for personal, non-commercial, or non-profit use.', True), ('for noncommercial use', True),
    ('CC BY-NC 4.0', True), ('Personal use only.', True), ('SIL Open Font License', False), ('', False),
    ('bundling with commercial and non commercial products', False), ('commercial or non-commercial use', False),
])  # fmt: skip
def test_which_licences_forbid_commercial_use(text: str, forbidden: bool) -> None:
    assert non_commercial(text) is forbidden


# ---- Debian packages


needs_dpkg = pytest.mark.skipif(shutil.which('dpkg-deb') is None, reason='dpkg-deb is not installed')


def package(folder: Path, name: str, files: list[Path], version: str = '1.0') -> Path:
    """A .deb in ``folder`` with ``files`` in usr/share/NAME, and a copyright file."""
    root = folder / f'.{name}'
    for part in ('DEBIAN', f'usr/share/{name}', f'usr/share/doc/{name}'):
        (root / part).mkdir(parents=True)
    (root / 'DEBIAN' / 'control').write_text(
        f'Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: X <x@example.org>\nDescription: x\n')
    (root / f'usr/share/doc/{name}/copyright').write_text('Format: x\n\nFiles: *\nLicense: MIT\n')
    for file in files:
        shutil.copy(file, root / f'usr/share/{name}')
    archive = folder / f'{name}_{version}_all.deb'
    subprocess.run(['dpkg-deb', '--build', '--root-owner-group', root, archive], check=True, capture_output=True)
    shutil.rmtree(root)
    return archive


@needs_dpkg
def test_packages_are_unpacked_beside_themselves(fonts: Path, texts: Path, tmp_path: Path) -> None:
    for folder in ('fonts', 'texts'):
        (tmp_path / folder).mkdir()
    for name in ('DejaVuSans', 'DejaVuSerif', 'STIXGeneral', 'bars'):
        package(tmp_path / 'fonts', f'fonts-{name.lower()}', [fonts / f'{name}.ttf'])
    package(tmp_path / 'texts', 'fortunes-xx', sorted(texts.glob('*.txt')))
    prepare_text(tmp_path / 'out', [tmp_path / 'fonts'], [tmp_path / 'texts'], replace(SETTINGS, crops=2, pages=0))
    table = {row['family']: row for row in rows(tmp_path / 'out' / 'fonts.csv')}
    assert table['Bars']['first'] == 'fonts-bars/usr/share/fonts-bars/bars.ttf'
    assert table['Bars']['licence'] == 'OFL-1.1 | MIT' and len(table) == 4
    documents = rows(tmp_path / 'out' / 'documents.csv')
    assert len(documents) == 10 and {row['licence'] for row in documents} == {'MIT'}
    assert documents[0]['document'] == 'texts/fortunes-xx/usr/share/fortunes-xx/0.txt'


@needs_dpkg
def test_a_package_is_unpacked_once_and_whole(tmp_path: Path) -> None:
    (tmp_path / 'a.txt').write_text('a')
    archive = package(tmp_path, 'one', [tmp_path / 'a.txt'])
    (tmp_path / '.one.part').mkdir()  # of a run that was killed
    (tmp_path / '.one.part' / 'rest').touch()
    unpack(tmp_path)
    text = tmp_path / 'one' / 'usr' / 'share' / 'one' / 'a.txt'
    assert text.read_text() == 'a' and not (tmp_path / 'one' / 'rest').exists()
    assert not (tmp_path / '.one.part').exists()
    text.write_text('mine')
    unpack(tmp_path)
    assert text.read_text() == 'mine'
    shutil.copy(archive, tmp_path / 'one_2.0_all.deb')
    with pytest.raises(DataError, match=r'one_1\.0_all\.deb and one_2\.0_all\.deb are one package: remove one'):
        unpack(tmp_path)
    (tmp_path / 'one_2.0_all.deb').unlink()
    (tmp_path / 'two_1.0_all.deb').write_bytes(b'no package')
    with pytest.raises(DataError, match=r'two_1\.0_all\.deb is not a Debian package'):
        unpack(tmp_path)
    assert not (tmp_path / 'two').exists()


def test_the_list_of_packages_has_each_once_with_its_licence() -> None:
    listed = read_list()
    assert len({row['package'] for row in listed}) == len(listed)
    kinds = [row['kind'] for row in listed]
    assert kinds.count('fonts') >= 100 and kinds.count('texts') >= 60 and {*kinds} == {'fonts', 'texts'}
    assert all(row['licence'] for row in listed)


@pytest.mark.parametrize(('wrong', 'message'), [
    (dict(crops=0), '--crops is 0'), (dict(size=30), r'--scales \[4\] do not divide --size 30'),
    (dict(page_extent=(512, 250)), 'do not divide --page-extent 250'), (dict(test_share=1.0), '--test-share is 1.0'),
    (dict(pages=-1), '--pages is -1'),
])  # fmt: skip
def test_wrong_settings_are_named(wrong: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        TextSettings(**wrong)


def test_folders_without_what_is_needed_are_named(fonts: Path, texts: Path, tmp_path: Path) -> None:
    (tmp_path / 'one').mkdir()
    for given, message in (
        (([tmp_path / 'none'], [texts]), 'none is not a folder of fonts'), (([texts], [texts]), 'No .ttf or .otf'),
        (([fonts], [tmp_path / 'one']), 'No text in UTF-8'), (([fonts], [tmp_path / 'none']), 'not a folder of texts'),
    ):  # fmt: skip
        with pytest.raises(DataError, match=message):
            prepare_text(tmp_path / 'out', *given, SETTINGS)
    shutil.copy(fonts / 'DejaVuSans.ttf', tmp_path / 'one')
    with pytest.raises(DataError, match='No script has two designs'):
        prepare_text(tmp_path / 'out', [tmp_path / 'one'], [texts], SETTINGS)
    with pytest.raises(DataError, match='lie in each other'):
        prepare_text(texts / 'out', [fonts], [texts], SETTINGS)


def test_markup_is_taken_off() -> None:
    page = from_html('<html><head><title>t</title><p>One &amp; two<br>three</p><script>no()</script><p>four')
    assert [block for block in page.split('\n\n') if block] == ['One & two', 'three', 'four']
    manual = from_roff('.TH LS 1\n.SH NAME\n.\\" hidden\nUse \\fBls\\fR \\-l\n.B with care\nalways.\n.nf\n')
    assert [line for line in manual.splitlines() if line] == ['Use ls -l', 'with care', 'always.']


def test_paragraphs_have_one_script_and_drawable_words() -> None:
    text = f'{LATIN[0]} 漢字 words\n\n{CYRILLIC[0]}\n\nshort\n\n{LATIN[1]} {CYRILLIC[0]}\n\nfoo_bar {LATIN[2]}'
    assert paragraphs_of(text) == [('latin', f'{LATIN[0]} words'), ('cyrillic', CYRILLIC[0])]
    assert main_script('Ελληνικά και πολύ λίγα ab') == 'greek'
    assert main_script('1234 5678 ab') is None
    assert paragraphs_of('Cafe\u0301 ' * 20)[0][1].startswith('Caf\u00e9 Caf\u00e9')


def test_pages_are_in_the_language_that_is_read() -> None:
    assert language_of('latin', [LATIN[1]]) == 'eng' and language_of('latin', [GERMAN]) == ''
    assert language_of('cyrillic', CYRILLIC) == 'rus' and language_of('greek', ['Καλημέρα']) == 'ell'
    assert language_of('cyrillic', ['Всі люди народжуються вільними і рівними у своїй гідності та правах, ы']) == ''
    assert readable('latin', [GERMAN, f'{LATIN[1]} Würde 10%']) == [f'{LATIN[1]} 10%']
    assert readable('cyrillic', ['слово word 12, ещё', 'word']) == ['слово 12, ещё']


def test_contrast_is_wcag_s() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((255, 255, 255), (119, 119, 119)) == pytest.approx(4.48, abs=0.01)


def test_photographs_stand_behind_some_of_the_crops(fonts: Path, texts: Path, tmp_path: Path) -> None:
    (tmp_path / 'photos').mkdir()
    Image.new('RGB', (90, 70), (10, 200, 90)).save(tmp_path / 'photos' / 'green.png')
    prepare_text(tmp_path / 'out', [fonts], [texts], replace(SETTINGS, crops=40, pages=0), tmp_path / 'photos')
    behind = [row['photo'] for row in rows(tmp_path / 'out' / 'crops.csv') if row['ground'] == 'photo']
    assert 1 <= len(behind) < 20 and {*behind} == {'green.png'}
    assert not [row for row in rows(tmp_path / 'out' / 'crops.csv') if row['split'] == 'test' and row['photo']]


def test_held_out_photographs_are_not_used(fonts: Path, texts: Path, tmp_path: Path) -> None:
    (tmp_path / 'photos').mkdir()
    for name in ('one', 'other', 'third'):
        Image.new('RGB', (90, 70), (10, 200, 90)).save(tmp_path / 'photos' / f'{name}.png')
    lines = 'file,split,source,licence\none.png,test,,\nother.png,train,,\n'
    (tmp_path / 'photos' / 'sources.csv').write_text(lines)
    prepare_text(tmp_path / 'out', [fonts], [texts], replace(SETTINGS, crops=60, pages=0), tmp_path / 'photos')
    behind = {row['photo'] for row in rows(tmp_path / 'out' / 'crops.csv') if row['ground'] == 'photo'}
    assert behind == {'other.png', 'third.png'}
    (tmp_path / 'photos' / 'sources.csv').write_text(lines.replace('train', 'test') + 'third.png,test,,\n')
    with pytest.raises(DataError, match='No image to train on below .*photos'):
        prepare_text(tmp_path / 'other', [fonts], [texts], SETTINGS, tmp_path / 'photos')


def test_command(fonts: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool = load_tool('prepare_text')
    call = [str(tmp_path / 'out'), '--fonts', str(fonts), '--texts', str(texts), '--crops', '2', '--pages', '1',
            '--test-crops', '1', '--page-sizes', '16', '--workers', '1']  # fmt: skip
    assert tool.main(call) == 0
    told = capsys.readouterr().out
    assert 'Text is shaped by:' in told and 'pages: 2 images' in told and 'Scripts: latin, cyrillic' in told
    assert json.loads((tmp_path / 'out' / 'prepared.json').read_text())['page_sizes'] == [16]
    assert tool.main(['--packages', 'texts']) == 0
    assert capsys.readouterr().out.split() == [row['package'] for row in read_list() if row['kind'] == 'texts']
