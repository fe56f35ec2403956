"""Draw charts as SVG: bars, curves on logarithmic axes, and points on linear axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from xml.sax.saxutils import escape

COLORS = ("#1f6feb", "#8b949e", "#d29922", "#2da44e", "#cf222e", "#8250df")
WIDTH = 760
ROW = 30
LABELS = 250
"""Pixels left for the names of bars."""
PLOT = (70, 62, 640, 300)
"""Left, top, width and height of a plot with axes."""


def bars(title: str, values: Mapping[str, float], unit: str) -> str:
    """Horizontal bars, the first in a color of its own."""
    longest = max(values.values())
    parts = [_text(12, 24, title, bold=True)]
    for row, (name, value) in enumerate(values.items()):
        top = 42 + row * ROW
        length = value / longest * (WIDTH - LABELS - 80)
        parts += [
            _text(LABELS - 8, top + 15, name, anchor="end"),
            f'<rect x="{LABELS}" y="{top}" width="{length:.1f}" height="20" rx="3" fill="{COLORS[row > 0]}"/>',
            _text(LABELS + length + 6, top + 15, f"{value:.2f}{unit}"),
        ]
    return _svg(WIDTH, 54 + len(values) * ROW, parts)


def curves(title: str, axes: tuple[str, str], series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Lines through points, both axes logarithmic."""
    points = [point for line in series.values() for point in line]
    spans = [_span([p[axis] for p in points]) for axis in (0, 1)]
    left, top, width, height = PLOT

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x, y = (math.log(v / low) / math.log(high / low) for v, (low, high) in zip(point, spans, strict=True))
        return left + x * width, top + (1 - y) * height

    parts = [_text(12, 24, title, bold=True), *_grid(spans, axes)]
    for number, (name, line) in enumerate(series.items()):
        color = COLORS[number % len(COLORS)]
        placed = [place(point) for point in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in placed]
        parts.append(_text(left + 12, top + 18 + 18 * number, name, color=color))
    return _svg(WIDTH, top + height + 56, parts)


def points(title: str, axes: tuple[str, str], series: Mapping[str, Sequence[tuple[float, float, str]]]) -> str:
    """Named points (x, y, name), both axes linear, with a line where y is 0."""
    left, top, width, height = PLOT
    xs, ys = [x for line in series.values() for x, _, _ in line], [y for line in series.values() for _, y, _ in line]
    (low, high), (bottom, ceiling) = ((min(v) - 0.08 * _range(v), max(v) + 0.08 * _range(v)) for v in (xs, [*ys, 0.0]))

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (x - low) / (high - low) * width, top + (ceiling - y) / (ceiling - bottom) * height

    parts = [
        _text(12, 24, title, bold=True),
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#8b949e"/>',
        f'<line x1="{left}" y1="{place(0, 0)[1]:.1f}" x2="{left + width}" y2="{place(0, 0)[1]:.1f}" stroke="#8b949e"/>',
        _text(left + width / 2, top + height + 42, axes[0], anchor="middle"),
        _text(left, top - 6, axes[1]),
    ]
    tenths = range(math.ceil(low * 10), math.floor(high * 10) + 1)
    parts += [_text(place(t / 10, 0)[0], top + height + 18, f"{t / 10:g}", anchor="middle") for t in tenths]
    levels = range(math.ceil(bottom), math.floor(ceiling) + 1)
    parts += [_text(left - 6, place(0, y)[1] + 4, f"{y:+d}" if y else "0", anchor="end") for y in levels]
    for number, (name, line) in enumerate(series.items()):
        color = COLORS[number % len(COLORS)]
        parts.append(_text(left + width - 12, top + 18 + 18 * number, name, anchor="end", color=color))
        for x, y, letter in line:
            at = place(x, y)
            parts.append(f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="4" fill="{color}"/>')
            parts.append(_text(at[0] + 6, at[1] - 5, letter, color=color))
    return _svg(WIDTH, top + height + 56, parts)


def _range(values: Sequence[float]) -> float:
    return max(values) - min(values) or 1.0


def _span(values: Sequence[float]) -> tuple[float, float]:
    return min(values) / 1.1, max(values) * 1.1


def _grid(spans: Sequence[tuple[float, float]], axes: tuple[str, str]) -> Iterator[str]:
    left, top, width, height = PLOT
    yield f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#8b949e"/>'
    for tick in _ticks(*spans[0]):
        x = left + math.log(tick / spans[0][0]) / math.log(spans[0][1] / spans[0][0]) * width
        yield f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{top + height}" stroke="#8b949e" stroke-opacity="0.3"/>'
        yield _text(x, top + height + 18, f"{tick:g}", anchor="middle")
    for tick in _ticks(*spans[1]):
        y = top + (1 - math.log(tick / spans[1][0]) / math.log(spans[1][1] / spans[1][0])) * height
        yield f'<line x1="{left}" y1="{y:.1f}" x2="{left + width}" y2="{y:.1f}" stroke="#8b949e" stroke-opacity="0.3"/>'
        yield _text(left - 6, y + 4, f"{tick:g}", anchor="end")
    yield _text(left + width / 2, top + height + 42, axes[0], anchor="middle")
    yield _text(left, top - 6, axes[1])


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [tick for power in powers for tick in (1 * 10**power, 2 * 10**power, 5 * 10**power) if low <= tick <= high]


def _text(x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False, color: str = "#57606a") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}"{weight}>{escape(text)}</text>'


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return f'{head} font-family="sans-serif" font-size="13">\n' + "\n".join(parts) + "\n</svg>\n"
