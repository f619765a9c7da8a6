"""Figures as image files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from glean_plus.utils.files import whole_or_not_at_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEGEND_LINE = 0.22  # inches


def save_with_legend(figure: Figure, path: Path, columns: int = 3) -> None:
    """Write a PNG with one legend of all axes below them."""
    handles = {label: handle for axis in figure.axes for handle, label in zip(*axis.get_legend_handles_labels())}
    figure.legend([*handles.values()], [*handles], loc='lower center', ncols=columns, fontsize='small', frameon=False)
    room = LEGEND_LINE * -(-len(handles) // columns) / figure.get_figheight()
    figure.tight_layout(rect=(0, room, 1, 1))
    with whole_or_not_at_all(path) as file:
        figure.savefig(file, format='png', dpi=100)
