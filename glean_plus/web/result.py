"""What the page says: a result with its slider and downloads, or a sentence; and the same for programs."""

from __future__ import annotations

from dataclasses import asdict
from html import escape
from typing import Any

from glean_plus.inference.ood import FIGURES
from glean_plus.web.settings import PICTURES
from glean_plus.web.work import BEFORE, HEAT, RESULT, Result

LABELS = {'.png': 'PNG', '.jpg': 'JPEG', '.webp': 'WebP'}


def error_html(why: str) -> str:
    """A sentence, which a screen reader says at once."""
    return f'<p class="gp-error" role="alert">{escape(why)}</p>'


def result_html(result: Result, prefix: str) -> str:
    """The slider, the status, the downloads, and the report if there is one.

    Args:
        result: What was made.
        prefix: Before the paths of the page's routes.
    """
    place = f'{prefix}{PICTURES}/{result.key}'
    parts = [_status(result), _slider(result, place), _downloads(result, place)]
    if result.report:
        parts.append(_report(result, place))
    return '\n'.join(parts)


def _slider(result: Result, place: str) -> str:
    height, width = result.after
    return f"""
<figure class="gp-compare" style="--width: {width}px; --ratio: {width / height:.6g}">
  <img class="gp-after" src="{place}/{RESULT}" alt="Restored" draggable="false">
  <img class="gp-before" src="{place}/{BEFORE}" alt="Input, enlarged" draggable="false">
  <span class="gp-tag gp-left" aria-hidden="true">Before</span>
  <span class="gp-tag gp-right" aria-hidden="true">After</span>
  <span class="gp-line" aria-hidden="true"></span>
  <input type="range" min="0" max="100" value="50" step="1"
         aria-label="How much of the input is shown beside the result, in percent">
</figure>"""


def _status(result: Result) -> str:
    (height, width), (tall, wide) = result.before, result.after
    says = [f'{width} x {height} &rarr; {wide} x {tall} pixels', f'{result.seconds:.1f} s', escape(result.model)]
    if result.lr_psnr is not None:
        says.append(
            '<span title="How well the result, shrunk, meets the input">' f'LR-PSNR {result.lr_psnr:.1f} dB</span>'
        )
    if result.faces is not None:
        says.append('no face was found: enlarged only' if not result.faces else
                    f'{result.faces} face{"s" if result.faces > 1 else ""} restored')  # fmt: skip
    return f'<p class="gp-status" role="status">{" &middot; ".join(says)}</p>'


def _downloads(result: Result, place: str) -> str:
    links = ''.join(
        f'<a class="gp-button" href="{place}/result{ending}?save=true" download>{LABELS[ending]}</a>'
        for ending in result.endings
    )
    said = (*result.lost, *result.notes)
    lost = f'<small>{escape(" ".join(said))}</small>' if said else ''
    return f'<p class="gp-downloads"><span>Download</span>{links}{lost}</p>'


def _report(result: Result, place: str) -> str:
    verdict, missing = str(result.report['verdict']), result.report['missing']
    rows = ''.join(
        f'<tr><th scope="row" title="{escape(what)}">{name}</th><td>'
        f'{escape(missing[name]) if name in missing else format(result.report[name], ".3g")}</td></tr>'
        for name, what in FIGURES.items()
    )
    heat = (
        f'<figure class="gp-heat"><img src="{place}/{HEAT}" alt="Heat map"><figcaption>Brighter: the model is less '
        'sure, what it drew depends on its noise.</figcaption></figure>'
    ) if result.heat else ''  # fmt: skip
    return (
        f'<section class="gp-report"><h3>Report</h3><p>{escape(verdict[:1].upper() + verdict[1:])}.</p>'
        f'<div><table>{rows}</table>{heat}</div></section>'
    )


def facts(result: Result, prefix: str) -> dict[str, Any]:
    """For programs that call the page's API."""
    place = f'{prefix}{PICTURES}/{result.key}'
    files = {ending[1:]: f'{place}/result{ending}' for ending in result.endings}
    return dict(asdict(result), files=files, error=None)
