"""The web page in a real Chromium: upload, restore, slider, download, what goes wrong, and a telephone's window."""

from __future__ import annotations

import importlib.util
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from web_pages import Page, endless, served

from glean_plus import Restorer
from glean_plus.web import jobs as web_jobs
from glean_plus.web.settings import Settings

from small_restorers import generator_config, photo, write_checkpoint

CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason='there is no Chromium: apt-get install chromium'),
    pytest.mark.skipif(importlib.util.find_spec('playwright') is None, reason='playwright is not installed'),
]
ARGUMENTS = [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
]  # fmt: skip
DESKTOP, TELEPHONE = (1280, 800), (390, 844)


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp('model') / 'light.pth', generator_config(True))


@pytest.fixture(scope='module')
def page(model: Path) -> Iterator[Page]:
    with served(Settings(models=(str(model),), device='cpu', max_upload=2**20, max_pixels=100_000)) as page:
        yield page


@pytest.fixture(scope='module')
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def tab(page: Page, browser: Any) -> Iterator[Callable[..., Any]]:
    """Function: size of a window -> a tab with the page in it. Nothing is asked elsewhere, and no script fails."""
    elsewhere, broken, contexts = [], [], []

    def opened(size: tuple[int, int] = DESKTOP, touch: bool = False) -> Any:
        context = browser.new_context(viewport=dict(width=size[0], height=size[1]), has_touch=touch, is_mobile=touch)
        context.set_default_timeout(60_000)
        contexts.append(context)
        tab = context.new_page()
        tab.on('request', lambda request: elsewhere.append(request.url) if not request.url.startswith(
            (page.address, 'data:', 'blob:')) else None)  # fmt: skip
        tab.on('pageerror', lambda error: broken.append(str(error)))
        tab.on('response', lambda answer: broken.append(answer.url) if answer.status == 404 else None)
        tab.goto(page.address)
        tab.wait_for_selector('#limits:not(:empty)')
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert not elsewhere and not broken


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.fromarray(photo('astronaut', 60, 80, 0, 180)).save(tmp_path / 'portrait.png')
    return tmp_path / 'portrait.png'


def upload(tab: Any, path: Path, says: str) -> None:
    """Choose an image; the last of the list says how it went."""
    tab.set_input_files('#choose', str(path))
    tab.wait_for_selector(f'#images li:last-child:has-text("{path.name}"):has-text("{says}")')


def restore(tab: Any) -> None:
    """Until both images are there. The page forbids eval, which Playwright's wait_for_function needs to look again."""
    tab.get_by_role('button', name='Restore', exact=True).click()
    tab.wait_for_selector('#compare')
    tab.locator('#compare img').evaluate_all('images => Promise.all(images.map(image => image.decode()))')


def divider(tab: Any) -> float:
    """Where the line of the slider is, as a share of the picture's width."""
    figure, line = (tab.locator(name).bounding_box() for name in ('#compare', '#line'))
    return (line['x'] + line['width'] / 2 - figure['x']) / figure['width']


def seen(tab: Any) -> Image.Image:
    """The slider as it is drawn."""
    return Image.open(io.BytesIO(tab.locator('#compare').screenshot())).convert('RGB')


def shrunk(image: Image.Image) -> np.ndarray:
    """To the input's size, where it does not matter how it was enlarged."""
    return np.asarray(image.resize((80, 60), Image.BOX)).astype(float)


def test_upload_restore_slide_and_download(
    tab: Callable[..., Any], model: Path, picture: Path, tmp_path: Path
) -> None:
    window = tab()
    upload(window, picture, '80 x 60 pixels')
    restore(window)
    assert '80 x 60 → 160 x 120 pixels' in window.inner_text('#facts')
    assert abs(divider(window) - 0.5) < 0.01

    slider = window.get_by_role('slider', name='How much of the input')
    box = window.locator('#compare').bounding_box()
    window.mouse.move(box['x'] + box['width'] / 2, box['y'] + box['height'] / 2)
    window.mouse.down()
    window.mouse.move(box['x'] + 0.8 * box['width'], box['y'] + box['height'] / 2, steps=5)
    window.mouse.up()
    assert abs(divider(window) - 0.8) < 0.02
    slider.focus()
    window.keyboard.press('ArrowLeft')
    assert abs(divider(window) - 0.79) < 0.02
    window.keyboard.press('Home')
    assert divider(window) == pytest.approx(0, abs=0.01)
    after = seen(window)
    window.keyboard.press('End')
    assert divider(window) == pytest.approx(1, abs=0.01)
    before = seen(window)
    # What is seen is the input, enlarged, and the result; neither the other. Tags and line are at the edges.
    expected = Restorer(model, device='cpu')(picture)
    for drawn, own, other in ((after, expected, Image.open(picture)), (before, Image.open(picture), expected)):
        near, far = (np.abs(shrunk(drawn) - shrunk(each))[4:-10, 8:-8].mean() for each in (own, other))
        assert far > 2 * near

    for name, kind in (('PNG', 'PNG'), ('JPEG', 'JPEG'), ('WebP', 'WEBP')):
        with window.expect_download() as download:
            window.get_by_role('link', name=name, exact=True).click()
        assert download.value.suggested_filename.startswith('portrait_result.')
        download.value.save_as(tmp_path / name)
        with Image.open(tmp_path / name) as image:
            assert image.format == kind and image.size == (160, 120)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / 'PNG')), np.asarray(expected))


def test_what_goes_wrong_is_said(tab: Callable[..., Any], picture: Path, tmp_path: Path) -> None:
    window = tab()
    window.get_by_role('button', name='Restore', exact=True).click()
    window.wait_for_selector('#message[role=alert]:has-text("Choose an image first.")')
    (tmp_path / 'text.png').write_text('no image')
    upload(window, tmp_path / 'text.png', 'This is no image in a known format')
    (tmp_path / 'large.png').write_bytes(bytes(2**20 + 1))
    upload(window, tmp_path / 'large.png', 'The file is too large: at most 1 MB')
    Image.new('L', (400, 400)).save(tmp_path / 'wide.png')
    upload(window, tmp_path / 'wide.png', 'The image has 400 x 400 pixels')
    assert 'The image has 400 x 400 pixels' in window.inner_text('#error[role=alert]')
    (tmp_path / 'cut.png').write_bytes(picture.read_bytes()[:2000])
    upload(window, tmp_path / 'cut.png', '80 x 60 pixels')
    window.get_by_role('button', name='Restore', exact=True).click()
    window.wait_for_selector('#error:has-text("This image cannot be restored: it is broken")')
    assert not window.is_visible('#compare')
    upload(window, picture, '80 x 60 pixels')  # and it goes on
    restore(window)
    assert not window.is_visible('#error')


def test_a_batch_is_restored_one_after_another(
    tab: Callable[..., Any], page: Page, model: Path, picture: Path, tmp_path: Path
) -> None:
    window = tab()
    Image.fromarray(photo('coffee', 40, 50)).save(tmp_path / 'cup.png')
    (tmp_path / 'text.png').write_text('no image')
    window.set_input_files('#choose', [str(picture), str(tmp_path / 'text.png'), str(tmp_path / 'cup.png')])
    window.get_by_role('button', name='Restore', exact=True).click()  # while they are uploaded
    window.wait_for_selector('#images li.done:has-text("cup.png")')
    assert window.locator('#images li').evaluate_all('rows => rows.map(row => row.className)') == [
        'done', 'failed', 'done']  # fmt: skip
    assert '80 x 60 → 160 x 120' in window.inner_text('#facts')
    window.get_by_role('button', name='cup.png', exact=False).first.click()
    assert '50 x 40 → 100 x 80' in window.inner_text('#facts')
    with window.expect_download() as download:
        window.get_by_role('link', name='PNG', exact=True).click()
    download.value.save_as(tmp_path / 'got.png')
    expected = Restorer(model, device='cpu')(tmp_path / 'cup.png')
    saved = []
    window.on('download', lambda download: saved.append(download.suggested_filename))
    window.get_by_role('button', name='All as PNG').click()
    while len(saved) < 2:
        window.wait_for_timeout(50)
    assert saved == ['portrait_result.png', 'cup_result.png']
    window.get_by_role('button', name='Restore', exact=True).click()
    window.wait_for_selector('#message:has-text("All images are restored with these options.")')
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / 'got.png')), np.asarray(expected))
    for name in ('portrait.png', 'text.png', 'cup.png'):
        window.get_by_role('button', name=f'Remove {name}').click()
    assert window.is_visible('#hint') and not window.is_visible('#result')
    window.wait_for_selector('#images li', state='detached')


def test_a_restoration_is_stopped_by_its_button_and_by_leaving(
    tab: Callable[..., Any], picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_jobs, 'LEFT', 600)  # so that only the page stops it
    begun, ended = endless(monkeypatch)
    window = tab()
    upload(window, picture, '80 x 60')
    for stop in (lambda: window.get_by_role('button', name='Stop').click(), lambda: window.goto('about:blank')):
        begun.clear()
        ended.clear()
        window.get_by_role('button', name='Restore', exact=True).click()
        assert begun.wait(60)
        window.wait_for_selector('#images li:has-text("restoring ...")')  # the page knows the job
        stop()
        assert ended.wait(60)


def test_options_are_used(tab: Callable[..., Any], model: Path, picture: Path, tmp_path: Path) -> None:
    window = tab()
    upload(window, picture, '80 x 60')
    window.get_by_text('Options').click()
    window.get_by_label('fit', exact=True).check()
    window.get_by_label('Seed of the noise').fill('7')
    window.get_by_label('Report signs of failure').check()
    restore(window)
    assert 'noise_spread' in window.inner_text('#report') and window.locator('#heat img').count() == 1
    with window.expect_download() as download:
        window.get_by_role('link', name='PNG', exact=True).click()
    download.value.save_as(tmp_path / 'got.png')
    expected = Restorer(model, device='cpu', mode='fit', seed=7)(picture)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / 'got.png')), np.asarray(expected))


@pytest.mark.parametrize('event', ['drop', 'paste'])
def test_images_are_dropped_and_pasted(tab: Callable[..., Any], picture: Path, event: str) -> None:
    window = tab()
    window.evaluate(
        """([kind, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], 'given.png', {type: 'image/png'}));
            const given = {bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data};
            const made = kind === 'drop' ? new DragEvent(kind, given) : new ClipboardEvent(kind, given);
            document.querySelector('#drop').dispatchEvent(made);
        }""", [event, [*picture.read_bytes()]],
    )  # fmt: skip
    window.wait_for_selector('#images li:has-text("given.png"):has-text("80 x 60 pixels")')
    restore(window)


def test_a_telephone(tab: Callable[..., Any], picture: Path) -> None:
    window = tab(TELEPHONE, touch=True)

    def fits() -> None:
        width, height = TELEPHONE
        assert window.evaluate('document.documentElement.scrollWidth') <= width
        wide = window.evaluate(
            'width => [...document.querySelectorAll("button, a, label, input, select, #compare, p")].filter(e => '
            '{ const box = e.getBoundingClientRect(); return box.width && (box.right > width + 1 || box.left < -1); })'
            '.map(e => e.outerHTML.slice(0, 80))', width,
        )  # fmt: skip
        assert not wide

    fits()
    window.get_by_text('Options').tap()
    window.get_by_label('Report signs of failure').tap()
    fits()
    upload(window, picture, '80 x 60')
    restore(window)
    fits()
    window.locator('#compare').scroll_into_view_if_needed()
    box = window.locator('#compare').bounding_box()
    window.touchscreen.tap(box['x'] + box['width'] / 4, box['y'] + box['height'] / 2)
    assert abs(divider(window) - 0.25) < 0.03
    for button in window.get_by_role('link').all():
        assert button.bounding_box()['height'] >= 32  # a finger meets it


def test_by_keyboard(tab: Callable[..., Any], picture: Path) -> None:
    """Each control is reached with Tab, has a name and can be used without a mouse."""
    window = tab()
    upload(window, picture, '80 x 60')
    window.keyboard.press('Tab')
    reached = []
    while len(reached) < 30 and (name := window.evaluate(
        '(e => e === document.body ? "" : (e.labels?.[0]?.innerText || e.getAttribute("aria-label") || e.innerText))'
        '(document.activeElement)'
    )):  # fmt: skip
        reached.append(' '.join(name.split()))
        if name in ('Options', 'Restore'):
            window.keyboard.press('Enter')
        window.keyboard.press('Tab')
    names = ('Choose images', 'portrait.png', 'Remove portrait.png', 'Model', 'About this model', 'Options', 'Fidelity',
             'best', 'Seed of the noise', 'Make the result', 'Report signs', 'Restore')  # fmt: skip
    at = [next(i for i, each in enumerate(reached) if each.startswith(name)) for name in names]
    assert at == sorted(at)
    window.wait_for_selector('#images li.done')
    assert 'portrait.png: 160 x 120 pixels' in window.inner_text('#live')


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_text_is_readable(page: Page, browser: Any, picture: Path, scheme: str) -> None:
    """Contrast of text and ground, by WCAG's formula, is 4.5 or more in both color schemes."""
    context = browser.new_context(color_scheme=scheme)
    window = context.new_page()
    window.goto(page.address)
    window.evaluate('document.querySelectorAll("[hidden]").forEach(each => { each.hidden = false; })')
    pairs = window.evaluate(
        """() => [...document.querySelectorAll('p, label, small, button, summary, legend, a, h1')].map(each => {
            const seen = node => getComputedStyle(node).backgroundColor !== 'rgba(0, 0, 0, 0)';
            let ground = each;
            while (!seen(ground)) ground = ground.parentElement;
            return [each.outerHTML, getComputedStyle(each).color, getComputedStyle(ground).backgroundColor];
        })"""
    )
    context.close()

    def luminance(color: str) -> float:
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
                  for c in (int(each) / 255 for each in color[4:-1].split(','))]  # fmt: skip
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    assert len(pairs) > 20
    for what, text, ground in pairs:
        low, high = sorted((luminance(text), luminance(ground)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (what, text, ground)
