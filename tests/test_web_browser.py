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
from web_pages import Page, served

from glean_plus import Restorer
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
        context.set_default_timeout(20_000)
        contexts.append(context)
        tab = context.new_page()
        tab.on('request', lambda request: elsewhere.append(request.url) if not request.url.startswith(
            (page.address, 'data:', 'blob:')) else None)  # fmt: skip
        tab.on('pageerror', lambda error: broken.append(str(error)))
        tab.on('response', lambda answer: broken.append(answer.url) if answer.status == 404 else None)
        tab.goto(page.address)
        tab.wait_for_selector('.gp-drop')
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
    tab.set_input_files('.gp-drop input', str(path))
    tab.wait_for_selector(f'.gp-picture:has-text("{says}")')


def restore(tab: Any) -> None:
    tab.get_by_role('button', name='Restore').click()
    tab.wait_for_selector('.gp-compare')
    tab.wait_for_function('[...document.querySelectorAll(".gp-compare img")].every(i => i.complete && i.naturalWidth)')


def divider(tab: Any) -> float:
    """Where the line of the slider is, as a share of the picture's width."""
    figure, line = (tab.locator(name).bounding_box() for name in ('.gp-compare', '.gp-line'))
    return (line['x'] + line['width'] / 2 - figure['x']) / figure['width']


def seen(tab: Any) -> Image.Image:
    """The slider as it is drawn."""
    return Image.open(io.BytesIO(tab.locator('.gp-compare').screenshot())).convert('RGB')


def shrunk(image: Image.Image) -> np.ndarray:
    """To the input's size, where it does not matter how it was enlarged."""
    return np.asarray(image.resize((80, 60), Image.BOX)).astype(float)


def test_upload_restore_slide_and_download(
    tab: Callable[..., Any], model: Path, picture: Path, tmp_path: Path
) -> None:
    window = tab()
    upload(window, picture, 'portrait.png, 80 x 60 pixels')
    restore(window)
    assert '80 x 60 → 160 x 120 pixels' in window.inner_text('.gp-status')
    assert abs(divider(window) - 0.5) < 0.01

    slider = window.get_by_role('slider', name='How much of the input')
    box = window.locator('.gp-compare').bounding_box()
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
    window.get_by_role('button', name='Restore').click()
    window.wait_for_selector('.gp-error:has-text("Choose a picture first.")')
    (tmp_path / 'text.png').write_text('no picture')
    upload(window, tmp_path / 'text.png', 'text.png: This is no picture in a known format')
    (tmp_path / 'large.png').write_bytes(bytes(2**20 + 1))
    upload(window, tmp_path / 'large.png', 'The file is too large: at most 1 MB')
    Image.new('L', (400, 400)).save(tmp_path / 'wide.png')
    upload(window, tmp_path / 'wide.png', 'The picture has 400 x 400 pixels')
    assert window.locator('.gp-picture[role=alert]').count() == 1
    (tmp_path / 'cut.png').write_bytes(picture.read_bytes()[:2000])
    upload(window, tmp_path / 'cut.png', 'cut.png, 80 x 60 pixels')
    window.get_by_role('button', name='Restore').click()
    window.wait_for_selector('.gp-error:has-text("This picture cannot be restored: it is broken")')
    assert window.locator('.gp-compare').count() == 0
    upload(window, picture, 'portrait.png, 80 x 60 pixels')  # and it goes on
    restore(window)
    assert window.locator('.gp-error').count() == 0


def test_options_are_used(tab: Callable[..., Any], model: Path, picture: Path, tmp_path: Path) -> None:
    window = tab()
    upload(window, picture, '80 x 60')
    window.get_by_role('button', name='Options').click()
    window.get_by_label('fit', exact=True).check()
    window.get_by_label('Seed of the noise').fill('7')
    window.get_by_label('Report signs of failure').check()
    restore(window)
    assert 'noise_spread' in window.inner_text('.gp-report') and window.locator('.gp-heat img').count() == 1
    with window.expect_download() as download:
        window.get_by_role('link', name='PNG', exact=True).click()
    download.value.save_as(tmp_path / 'got.png')
    expected = Restorer(model, device='cpu', mode='fit', seed=7)(picture)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / 'got.png')), np.asarray(expected))


@pytest.mark.parametrize('event', ['drop', 'paste'])
def test_pictures_are_dropped_and_pasted(tab: Callable[..., Any], picture: Path, event: str) -> None:
    window = tab()
    window.evaluate(
        """([kind, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], 'given.png', {type: 'image/png'}));
            const given = {bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data};
            const made = kind === 'drop' ? new DragEvent(kind, given) : new ClipboardEvent(kind, given);
            document.querySelector('.gp-drop').dispatchEvent(made);
        }""", [event, [*picture.read_bytes()]],
    )  # fmt: skip
    window.wait_for_selector('.gp-picture:has-text("given.png, 80 x 60 pixels")')
    restore(window)


def test_a_telephone(tab: Callable[..., Any], picture: Path) -> None:
    window = tab(TELEPHONE, touch=True)

    def fits() -> None:
        width, height = TELEPHONE
        assert window.evaluate('document.documentElement.scrollWidth') <= width
        wide = window.evaluate(
            'width => [...document.querySelectorAll("button, a, label, .gp-compare, .gp-error, p")].filter(e => '
            '{ const box = e.getBoundingClientRect(); return box.width && (box.right > width + 1 || box.left < -1); })'
            '.map(e => e.outerHTML.slice(0, 80))', width,
        )  # fmt: skip
        assert not wide

    fits()
    window.get_by_role('button', name='Options').tap()
    window.get_by_label('Report signs of failure').tap()
    fits()
    upload(window, picture, '80 x 60')
    restore(window)
    fits()
    window.locator('.gp-compare').scroll_into_view_if_needed()
    box = window.locator('.gp-compare').bounding_box()
    window.touchscreen.tap(box['x'] + box['width'] / 4, box['y'] + box['height'] / 2)
    assert abs(divider(window) - 0.25) < 0.03
    for button in window.get_by_role('link').all():
        assert button.bounding_box()['height'] >= 32  # a finger meets it
