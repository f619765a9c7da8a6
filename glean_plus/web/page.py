"""The page, drawn by Gradio, which asks nobody elsewhere for anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'  # before the import, which would tell Gradio's makers of it

import gradio as gr

from glean_plus.inference.faces import detectors
from glean_plus.inference.fidelity import MIDDLE
from glean_plus.inference.tiling import MODES
from glean_plus.web.errors import sentence
from glean_plus.web.restorers import BEST, Choice, Restorers
from glean_plus.web.result import error_html, facts, result_html
from glean_plus.web.settings import PICTURES, Settings, shown_bytes, shown_pixels
from glean_plus.web.store import Store
from glean_plus.web.work import restore

FOLDER = Path(__file__).parent
# Names of fonts that a machine may have: a plain string would be fetched.
FONTS = [gr.themes.Font(name) for name in ('Segoe UI', 'Roboto', 'Helvetica Neue', 'Arial', 'sans-serif')]
DIM = '*neutral_600'  # Gradio's own are too light to be read by everybody
HINT = '<p class="gp-hint">The result comes here, with a slider between before and after.</p>'


def build_page(store: Store, restorers: Restorers, settings: Settings) -> gr.Blocks:
    """The page and its one call, ``/restore``."""

    def run(
        picture: str, model: str, mode: str, fidelity: float, consistent: bool, seed: str, faces: bool,
        report: bool,
    ) -> tuple[str, dict[str, Any]]:  # fmt: skip
        try:
            if not picture:
                return error_html('Choose a picture first.'), dict(error='Choose a picture first.')
            choice = Choice.read(model, mode, fidelity, consistent, seed, faces)
            result = restore(store, restorers, str(picture), choice, bool(report))
        except Exception as error:  # whatever it is, the page says a sentence; the log has what is not said
            why = sentence(error)
            return error_html(why), dict(error=why)
        return result_html(result, settings.prefix), facts(result, settings.prefix)

    theme = gr.themes.Default(primary_hue='indigo', font=FONTS, font_mono=[gr.themes.Font('monospace')]).set(
        body_text_color_subdued=DIM, block_info_text_color=DIM, button_primary_background_fill='*primary_600',
        button_primary_background_fill_hover='*primary_700',
    )  # fmt: skip
    script = f'<script>{(FOLDER / "page.js").read_text(encoding="utf-8")}</script>'
    with gr.Blocks(
        theme=theme, css=(FOLDER / 'page.css').read_text(encoding='utf-8'), head=script, title='GLEAN',
        analytics_enabled=False,
    ) as page:  # fmt: skip
        gr.Markdown('# GLEAN\nPictures enlarged and restored with a GAN as a bank of textures.')
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                gr.HTML(_upload_html(settings), padding=False)
                options = _options(restorers)
                button = gr.Button('Restore', variant='primary')
            with gr.Column(scale=3, min_width=320):
                shown = gr.HTML(HINT, padding=False)
                known = gr.JSON(visible=False)
        picture = gr.Textbox(visible=False)
        button.click(
            run, [picture, *options], [shown, known], api_name='restore', show_progress='full', scroll_to_output=True,
            concurrency_limit=settings.concurrency, js='(_, ...rest) => [window.gleanPlusPicture(), ...rest]',
        )  # fmt: skip
    page.queue(max_size=settings.queue, api_open=False)
    return page


def _upload_html(settings: Settings) -> str:
    size, pixels = shown_bytes(settings.max_upload), shown_pixels(settings.max_pixels)
    place = f'{settings.prefix}{PICTURES}'
    return f"""
<label class="gp-drop" data-to="{place}" data-limit="{settings.max_upload}" data-limit-text="{size}">
  <input type="file" accept="image/*" aria-label="Choose a picture">
  <img alt="The picture that was chosen" hidden>
  <span><b>Choose a picture</b>, drop it here, or paste it.</span>
  <small>At most {size} and {pixels} pixels; it stays {settings.keep / 60:.3g} minutes.</small>
</label>
<p class="gp-picture" role="status"></p>"""


def _options(restorers: Restorers) -> list[gr.components.Component]:
    """In the order of the call."""
    names = [*restorers.offers]
    model = gr.Dropdown(
        names, value=names[0], label='Model', info='Each does well with pictures of the kind that it has learned.',
        filterable=False,
    )  # fmt: skip
    with gr.Accordion('What each model has learned', open=False):
        gr.Markdown('\n'.join(f'- **{name}**: {offer.about}' for name, offer in restorers.offers.items()))
    with gr.Accordion('Options', open=False):
        mode = gr.Radio(
            [('as is best', BEST), *((mode, mode) for mode in MODES)], value=BEST, label="Other sizes than the model's"
        )
        fidelity = gr.Slider(
            0, 1, MIDDLE, step=0.05, label='Fidelity',
            info="0: more of the bank, sharper; 0.5: the model's own; 1: what shrinks to its input",
        )  # fmt: skip
        consistent = gr.Checkbox(label='Bring the result back to what shrinks to its input')
        # Text: an empty number is shown, and sent, as 0.
        seed = gr.Textbox(label='Seed of the noise', value='', placeholder="empty: the model's own", max_lines=1)
        faces = gr.Checkbox(label='Only the faces of a photo, by a model of faces', visible=detectors.is_here())
        report = gr.Checkbox(label='Report signs of failure')
    for each in (model, mode):  # what is not offered is told in a sentence of ours, not by Gradio
        each.preprocess = _as_given  # type: ignore[method-assign]
    return [model, mode, fidelity, consistent, seed, faces, report]


def _as_given(value: Any) -> Any:
    return value
