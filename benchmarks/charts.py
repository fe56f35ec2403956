"""Draw charts as SVG: bars, curves on logarithmic axes, and points on linear axes."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

COLORS = ("#1f6feb", "#8b949e", "#d29922", "#2da44e", "#cf222e", "#8250df")

STYLE: Any = {
    "axes.edgecolor": "#8b949e",
    "axes.labelcolor": "#57606a",
    "figure.titlesize": "medium",
    "figure.titleweight": "bold",
    "legend.frameon": False,
    "legend.labelcolor": "linecolor",
    "svg.fonttype": "none",
    # The same data gives the same bytes.
    "svg.hashsalt": "ocr-onnx",
    "text.color": "#57606a",
    "xtick.color": "#57606a",
    "ytick.color": "#57606a",
}


class _Drawing:
    """A chart and, once it is complete, its SVG."""

    svg = ""


@contextmanager
def _drawing(title: str, height: float) -> Iterator[tuple[_Drawing, Axes]]:
    """Axes with a title, 7.6 inches wide and `height` inches high."""
    with mpl.rc_context(STYLE):
        drawing, figure, file = _Drawing(), Figure((7.6, height), layout="constrained"), io.StringIO()
        axes = figure.add_subplot()
        axes.set_prop_cycle(color=COLORS)
        figure.suptitle(title, x=0.01, horizontalalignment="left", wrap=True)
        yield drawing, axes
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        drawing.svg = file.getvalue()


def bars(title: str, values: Mapping[str, float], unit: str) -> str:
    """Horizontal bars, the first in a color of its own."""
    with _drawing(title, 0.8 + 0.3 * len(values)) as (drawing, axes):
        drawn = axes.barh(list(values), list(values.values()), color=[COLORS[row > 0] for row in range(len(values))])
        axes.bar_label(drawn, fmt=f"{{:.2f}}{unit}", padding=4)
        axes.margins(x=0.12)
        axes.invert_yaxis()
        axes.xaxis.set_visible(False)
        axes.spines[:].set_visible(False)
    return drawing.svg


def curves(title: str, names: tuple[str, str], series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Lines through points, both axes logarithmic; `names` are those of the axes."""
    with _drawing(title, 4.2) as (drawing, axes):
        for name, line in series.items():
            axes.loglog(*zip(*line, strict=True), "o-", label=name)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_locator(NullLocator())
        axes.grid(alpha=0.3)
        axes.set(xlabel=names[0], ylabel=names[1])
        axes.legend()
    return drawing.svg


def points(title: str, names: tuple[str, str], series: Mapping[str, Sequence[tuple[float, float, str]]]) -> str:
    """Points (x, y, name), both axes linear, with a line where y is 0; `names` are those of the axes."""
    with _drawing(title, 4.2) as (drawing, axes):
        axes.axhline(0, color="#8b949e", linewidth=0.8)
        for color, (name, line) in zip(COLORS, series.items(), strict=False):
            axes.plot([x for x, _, _ in line], [y for _, y, _ in line], "o", color=color, label=name)
            for x, y, letter in line:
                axes.annotate(letter, (x, y), (4, 4), textcoords="offset points", color=color)
        axes.set(xlabel=names[0], ylabel=names[1])
        axes.legend()
    return drawing.svg
