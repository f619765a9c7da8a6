"""Reading restored pages: rates against other ways to compute them, the whole tool with a stand-in for Tesseract."""

from __future__ import annotations

import functools
import itertools
import json
import os
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from glean_plus.analysis.errors import OCRError
from glean_plus.analysis.ocr import tesseract
from glean_plus.analysis.ocr.benchmark import TRUTH, Reading, Setting, legible, read_all
from glean_plus.analysis.ocr.pages import choose_pages, read_pages, read_words
from glean_plus.analysis.ocr.rates import Counts, aligned, bare, count, distance, interval, normalized, rate
from glean_plus.analysis.ocr.report import as_json, draw, markdown
from glean_plus.analysis.peers.degradations import DEGRADATIONS
from glean_plus.analysis.peers.entries import ENTRIES, Entry

from conftest import load_tool

# Reads the text that belongs to the gray value of a flat image; a darker image is read as the page before.
STAND_IN = """#!{python}
import io, json, sys
from pathlib import Path
if '--version' in sys.argv:
    print('tesseract 9.8.7')
elif '--list-langs' in sys.argv:
    print('List of available languages (2):\\neng\\nell')
else:
    from PIL import Image
    image = Image.open(io.BytesIO(sys.stdin.buffer.read()))
    assert sys.argv[1:] == ['stdin', 'stdout', '-l', 'eng', '--psm', '6'], sys.argv
    texts = json.loads(Path(__file__).with_suffix('.json').read_text())
    value = sum(image.convert('L').getdata()) / (image.width * image.height)
    print(texts[min(max(int(value / 10) - 1, 0), len(texts) - 1)])
"""
TOY = """
from glean_plus.analysis.peers.runners import Runner

def darker(scale, threads):
    return Runner(lambda image: (image - 10).repeat(scale, 0).repeat(scale, 1), 5)
"""
TEXTS = ['the old house stood there', 'the cold horse stood here', 'a bold nurse stood there']


@pytest.fixture
def stand_in(tmp_path: Path) -> str:
    path = tmp_path / 'bin' / 'tesseract'
    path.parent.mkdir()
    path.write_text(STAND_IN.format(python=sys.executable))
    path.chmod(0o755)
    path.with_suffix('.json').write_text(json.dumps(TEXTS))
    return str(path)


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """Three flat pages of gray values 15, 25 and 35, whose texts the stand-in reads."""
    folder = tmp_path / 'pages'
    (folder / 'GT').mkdir(parents=True)
    rows = []
    for index, words in enumerate(text.split() for text in TEXTS):
        Image.new('RGB', (128, 64), (15 + 10 * index,) * 3).save(folder / 'GT' / f'{index}.png')
        rows.append(dict(name=str(index), script='latin', language='eng', font_size=20 + 4 * (index // 2),
                         lines=[' '.join(words[:2]), ' '.join(words[2:])]))  # fmt: skip
    (folder / 'pages.json').write_text(json.dumps(rows))
    (folder / 'words_eng.txt').write_text('the\nold\ncold\nhouse\nhorse\nstood\nthere\nhere\n')
    return folder


def brute_force(a: str, b: str) -> int:
    @functools.cache
    def of(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(of(i - 1, j) + 1, of(i, j - 1) + 1, of(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    return of(len(a), len(b))


def test_distance_is_levenshtein_s() -> None:
    assert distance('kitten', 'sitting') == 3 and distance('', 'abc') == 3 and distance('abc', '') == 3
    assert distance([], []) == 0 and distance(['a', 'b'], ['b']) == 1
    generator = random.Random(0)
    for _ in range(60):
        a, b = (''.join(generator.choices('abc', k=generator.randrange(12))) for _ in range(2))
        assert distance(a, b) == brute_force(a, b), (a, b)


def test_aligned_words_are_those_of_a_least_edit() -> None:
    assert aligned('the cat sat'.split(), 'the hat sat'.split()) == [('the', 'the'), ('cat', 'hat'), ('sat', 'sat')]
    assert aligned('the sat'.split(), 'the hat sat'.split()) == [('the', 'the'), ('sat', 'sat')]
    for a, b in itertools.product((['x', 'y', 'z'], ['y', 'z'], []), repeat=2):
        pairs = aligned(a, b)
        edits = sum(one != other for one, other in pairs) + len(a) + len(b) - 2 * len(pairs)
        assert edits == distance(a, b)


def test_texts_differ_only_where_a_reader_could_tell() -> None:
    assert normalized('“fi”\n ‘don’t’ – \u00a0x') == '"fi" \'don\'t\' - x'
    assert normalized('é') == normalized('e\u0301')
    assert normalized('a') != normalized('а')  # Cyrillic
    assert bare('(Word),') == 'word' and bare('--') == ''


def test_counts_of_a_page() -> None:
    words = {'form', 'from', 'the', 'sea'}
    found = count('he came form tne sca.', 'he came from the sea.', words)
    assert found == Counts(4, 21, 3, 5, 1)  # only "form" is another word
    assert count('he came from the sea.', 'he came from the sea.', words) == Counts(0, 21, 0, 5, 0)
    assert count('', 'he came', words) == Counts(7, 7, 2, 2, 0)


def test_rates_are_of_all_pages_together_and_intervals_cover() -> None:
    counts = [Counts(1, 10, 1, 2, 0), Counts(9, 90, 2, 18, 1)]
    assert rate(counts, 'character error rate') == 0.1 and rate(counts, 'word error rate') == 3 / 20
    assert interval([Counts(1, 10, 0, 1, 0)] * 5, 'character error rate') == (0.1, 0.1)
    generator = np.random.default_rng(0)
    many = [Counts(int(generator.binomial(100, 0.2)), 100, 0, 1, 0) for _ in range(40)]
    low, high = interval(many, 'character error rate')
    spread = np.std([each.character_errors / 100 for each in many], ddof=0) / 40**0.5
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.05)  # as of the normal approximation
    better = [Counts(each.character_errors - 5, 100, 0, 1, 0) for each in many]
    assert interval(better, 'character error rate', many) == pytest.approx((-0.05, -0.05))  # paired


def read_toy(
    stand_in: str, pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: tuple[int, ...] = ()
) -> Reading:
    (tmp_path / 'toys.py').write_text(TOY)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get('PYTHONPATH')]))
    monkeypatch.setenv('PYTHONPATH', path)
    setting = Setting(pages, read_pages(pages), read_words(pages, ['eng']), ['clean', 'jpeg50'], threads=1)
    return read_all(setting, [ENTRIES['bicubic'], Entry('darker', 'toys:darker')], tmp_path, stand_in, shown)


def test_every_page_is_restored_and_read(
    stand_in: str, pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = read_toy(stand_in, pages, tmp_path, monkeypatch, shown=(1,))
    clean = reading.counts['clean']
    assert [*clean] == [TRUTH, 'bicubic', 'darker'] and reading.reader == 'tesseract 9.8.7'
    assert all(each.character_errors == each.word_errors == 0 for each in clean[TRUTH] + clean['bicubic'])
    # The darker page 1 is read as page 0: cold -> old, horse -> house and here -> there are words, all three.
    assert clean['darker'][0] == Counts(0, 25, 0, 5, 0)
    assert clean['darker'][1] == Counts(3, 25, 3, 5, 3)
    assert clean['darker'][2].wrong_words == 3  # "the" for "a", which is a letter, does not count
    assert [each.characters for each in reading.cell('clean', 'darker', 'latin', 20)] == [25, 25]
    assert len(reading.cell('jpeg50', TRUTH, 'latin')) == 3
    text = markdown(reading)
    assert '| latin: character error rate | 20 px | 24 px |' in text and '### jpeg50' in text
    assert f'| darker | {3 / 50:.4f} [+0.0000, +0.1200] |' in text
    content = json.loads(json.dumps(as_json(reading), allow_nan=False))
    (cell,) = [each for each in content['degradations']['clean']['cells']
               if (each['entry'], each['font_size']) == ('darker', 20)]  # fmt: skip
    assert cell['rates']['wrong words'] == 0.3 and cell['pages'] == 2
    assert content['degradations']['clean']['pages']['darker'][1] == [3, 25, 3, 5, 3]
    area = [int((np.asarray(draw(reading))[..., 0] == value).sum()) // (128 * 64) for value in (15, 25, 35)]
    assert area == [1, 4, 0]  # page 1: clean input, bicubic and darker, the ground truth twice


def test_command_writes_what_is_asked_for(
    stand_in: str, pages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool = load_tool('benchmark_ocr')
    call = [str(pages), '--tesseract', stand_in, '--entries', 'bicubic', '--sizes', '20', '--threads', '1']
    assert tool.main(call) in (None, 0)
    assert '2 pages of' in capsys.readouterr().out
    outputs = [tmp_path / name for name in ('o.md', 'o.json', 'o.png')]
    assert tool.main([*call, '--out', str(outputs[0]), '--json', str(outputs[1]), '--images', '0', '--out-images',
                      str(outputs[2])]) in (None, 0)  # fmt: skip
    assert all(path.stat().st_size for path in outputs)


def test_pages_that_cannot_be_read_at_full_resolution_are_left_out(
    stand_in: str, pages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = json.loads((pages / 'pages.json').read_text())
    rows[0]['lines'] = ['the odd house', 'stood there']  # it is read with two errors in 25 characters
    (pages / 'pages.json').write_text(json.dumps(rows))
    listed = read_pages(pages)
    assert legible(pages, listed, stand_in, 0.01) == (listed[1:], 1)
    assert legible(pages, listed, stand_in, 0.09, threads=2) == (listed, 0)
    assert legible(pages, listed, stand_in, 0.01, limit=1, threads=2) == (listed[1:], 1)
    assert legible(pages, listed[1:] + listed[:1], stand_in, 0.01, limit=1) == (listed[1:], 0)  # it is not reached
    with pytest.raises(OCRError, match=r'every page of latin at 20 px \(1 pages\): raise --misread'):
        legible(pages, listed[:1], stand_in, 0.01)
    tool = load_tool('benchmark_ocr')
    call = [str(pages), '--tesseract', stand_in, '--entries', 'bicubic', '--threads', '1']
    for options, sentence, left_out in (
        ([], '2 pages of', '1 pages are left out, because more than 0.01'), (['--misread', '1'], '3 pages of', ''),
        (['--limit', '1'], '2 pages of', 'left out'), (['--limit', '1', '--misread', '1'], '2 pages of', ''),
    ):  # fmt: skip
        assert tool.main([*call, *options]) in (None, 0)
        printed = capsys.readouterr().out
        assert sentence in printed and (left_out in printed if left_out else 'left out' not in printed)
    with pytest.raises(SystemExit):
        tool.main([*call, '--misread', '1.5'])
    assert 'it must be 0 to 1, but is 1.5' in capsys.readouterr().err


def test_a_missing_tesseract_is_a_sentence_that_says_where_to_get_it(
    pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(SystemExit, match="There is no command 'tesseract'.*apt-get install tesseract-ocr"):
        load_tool('benchmark_ocr').main([str(pages)])


def test_what_cannot_be_read_is_named(stand_in: str, pages: Path, tmp_path: Path) -> None:
    with pytest.raises(OCRError, match='no data for deu, rus.*tesseract-ocr-deu tesseract-ocr-rus'):
        tesseract.check_languages(stand_in, {'eng', 'rus', 'deu'})
    with pytest.raises(OCRError, match='has failed with 1'):
        tesseract.recognize(stand_in, np.zeros((8, 8, 3), np.uint8), 'ell')
    with pytest.raises(OCRError, match=r'no .*pages\.json'):
        read_pages(tmp_path)
    listed = read_pages(pages)
    with pytest.raises(OCRError, match='no pages of greek, only of latin'):
        choose_pages(listed, ['greek'])
    with pytest.raises(OCRError, match='no pages of 32, only of 20, 24'):
        choose_pages(listed, sizes=[32])
    assert [page.name for page in choose_pages(listed, limit=1)] == ['0', '2']
    (pages / 'GT' / '1.png').unlink()
    setting = Setting(pages, listed, {'eng': ()})
    with pytest.raises(OCRError, match=r'no .*1\.png'):
        read_all(setting, [ENTRIES['bicubic']], tmp_path, stand_in)
    (pages / 'pages.json').write_text('[{"name": "x"}]')
    with pytest.raises(OCRError, match="KeyError: 'script'"):
        read_pages(pages)


@pytest.mark.skipif(shutil.which('tesseract') is None, reason='there is no tesseract')
def test_tesseract_reads_a_page() -> None:
    import matplotlib

    font = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / 'fonts' / 'ttf' / 'DejaVuSans.ttf'), 28)
    image = Image.new('RGB', (512, 96), 'white')
    text = 'The quick brown fox jumps\nover the lazy dog, twice.'
    ImageDraw.Draw(image).multiline_text((16, 12), text, 'black', font)
    command = tesseract.find()
    tesseract.check_languages(command, {'eng'})
    assert count(tesseract.recognize(command, np.asarray(image), 'eng'), text, ()).character_errors <= 1


@pytest.mark.parametrize('name', ['scan', 'screenshot'])
def test_degradations_of_pages_keep_large_letters_and_leave_traces(name: str) -> None:
    from glean_plus.analysis.peers.degradations import degrade

    gt = np.full((128, 256, 3), 255, np.uint8)
    gt[32:96, 64:192] = 0
    clean, worse = (degrade(gt, 4, DEGRADATIONS[each], 'page', 0).astype(int) for each in ('clean', name))
    assert worse.shape == (32, 64, 3) and 0.1 < np.abs(worse - clean).mean() < 25
    assert worse[16, 32].max() < 60 and worse[4, 4].min() > 200
    assert (degrade(gt, 4, DEGRADATIONS[name], 'page', 0) == worse).all()


