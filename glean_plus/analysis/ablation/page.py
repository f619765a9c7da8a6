"""The inspection as one HTML page that needs no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from PIL import Image

from glean_plus.analysis.ablation.grid import Group
from glean_plus.analysis.ablation.switches import GROUPS, Switch

# Larger images are shrunk to this side and kept as JPEG, so that the page stays light.
SIDE = 512

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 75rem; padding: 0 1rem 3rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin-top: 2rem; } h3 { font-size: 1rem; margin: 1rem 0 .4rem; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0 .8rem; } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: Canvas; white-space: normal;
  min-width: 8.5rem; }
td[colspan] { text-align: left; }
tr.group th { font-weight: 600; padding-top: .8rem; position: static; }
tr.group span { position: sticky; left: .6rem; display: inline-block; max-width: calc(100vw - 4rem); }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(9rem, 44%), 1fr)); gap: .7rem; }
figure { margin: 0; } figcaption { font-size: .8rem; line-height: 1.3; } figcaption small { opacity: .75; }
.tiles img, .none { width: 100%; aspect-ratio: 1; display: block; border-radius: 3px; }
img.small { image-rendering: pixelated; }
.none { background: #8883; display: grid; place-items: center; font-size: .8rem; }
"""


def embedded(array: np.ndarray) -> str:
    """(H, W, 3) uint8 RGB -> a data URL."""
    image, data = Image.fromarray(array), io.BytesIO()
    if max(image.size) > SIDE:
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        image.save(data, 'JPEG', quality=90)
    else:
        image.save(data, 'PNG')
    kind = 'jpeg' if data.getvalue()[:2] == b'\xff\xd8' else 'png'
    return f'data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}'


def _table(lines: Sequence[Sequence[str]], switches: Sequence[Switch]) -> str:
    head = ''.join(f'<th scope="col">{escape(cell)}</th>' for cell in lines[0])
    rows, group = [], ''
    for switch, line in zip(switches, lines[1:]):
        if switch.group != group:
            group = switch.group
            rows.append(f'<tr class="group"><th colspan="{len(line)}"><span>{escape(GROUPS[group])}</span></th></tr>')
        if switch.applies:
            cells = ''.join(f'<td>{escape(cell)}</td>' for cell in line)
        else:
            cells = f'<td>{escape(line[0])}</td><td colspan="{len(line) - 1}">{escape(line[1])}</td>'
        rows.append(f'<tr data-switch="{escape(switch.key)}">{cells}</tr>')
    body = '\n'.join(rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _notes(switches: Sequence[Switch]) -> str:
    items = []
    for switch in switches:
        text = f'does not apply: {switch.reason}' if switch.reason else switch.note
        if text:
            items.append(f'<li data-note="{escape(switch.key)}"><b>{escape(switch.label)}</b>: {escape(text)}.</li>')
    return f'<ul>{"".join(items)}</ul>'


def image_section(name: str, groups: Sequence[Group]) -> str:
    """An image with every switch."""
    parts = [f'<section><h2>{escape(name)}</h2>']
    for group in groups:
        parts.append(f'<h3>{escape(group.title)}</h3><div class="tiles">')
        for tile in group.tiles:
            if tile.picture is None:
                image = '<div class="none">does not apply</div>'
            else:
                small = ' class="small"' if max(tile.picture.shape) <= SIDE // 2 else ''
                image = f'<img{small} alt="{escape(tile.label)}" src="{embedded(tile.picture)}">'
            numbers = f'<br><small>{escape(tile.numbers)}</small>' if tile.numbers else ''
            parts.append(f'<figure>{image}<figcaption>{escape(tile.label)}{numbers}</figcaption></figure>')
        parts.append('</div>')
    return '\n'.join([*parts, '</section>'])


def page(
    title: str,
    facts: Mapping[str, str],
    lines: Sequence[Sequence[str]],
    switches: Sequence[Switch],
    sections: Sequence[str],
    explanation: str,
) -> str:
    """The whole page.

    Args:
        facts: What was inspected, and how.
        lines: The table, as ``Table.lines`` makes it.
        sections: As :func:`image_section` makes them.
    """
    listed = ''.join(f'<dt>{escape(key)}</dt><dd>{escape(value)}</dd>' for key, value in facts.items())
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<dl>{listed}</dl>
<h2>What each switch changes</h2>
<p>{escape(explanation)}</p>
{_table(lines, switches)}
<h2>Notes</h2>
{_notes(switches)}
{chr(10).join(sections)}
</body>
</html>
"""
