"""Time and memory over the size of the output, as an image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from glean_plus.analysis.benchmark.compare import Measured
from glean_plus.analysis.plots import save_with_legend

# Width and height of a panel, in inches.
PANEL = (5.0, 4.0)


def plot(found: Mapping[int, Mapping[str, Measured]], path: Path) -> None:
    """Write a PNG with a line for each contender, and a dashed one that grows with the output's pixels.

    Args:
        found: Side of the output -> what each contender took.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(2 * PANEL[0], PANEL[1]))
    sizes = sorted(found)
    panels = {'seconds': lambda each: each.median, 'peak memory, MB': lambda each: each.peak / 1e6}
    axes = figure.subplots(1, 2)
    for axis, (title, value) in zip(axes, panels.items()):
        for name in dict.fromkeys(name for contenders in found.values() for name in contenders):
            values = {size: value(found[size][name]) for size in sizes if name in found[size]}
            axis.plot(list(values), list(values.values()), marker='o', label=name)
        top = max(value(each) for each in found[sizes[-1]].values())
        axis.plot(sizes, [top * (size / sizes[-1]) ** 2 for size in sizes], 'k--', linewidth=1, label='as the pixels')
        axis.set_xscale('log', base=2)
        axis.set_yscale('log')
        axis.yaxis.set_major_formatter('{x:g}')
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.set_xlabel('side of the output')
        axis.set_title(title)
        axis.grid(alpha=0.3)
    save_with_legend(figure, path)
