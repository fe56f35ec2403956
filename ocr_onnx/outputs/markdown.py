"""Write pages as Markdown: headings, paragraphs, lists and tables in reading order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocr_onnx.types import Block, RecognizedPage, TextLine

BETWEEN = "\n---\n\n"
"""A rule between two pages."""

SPECIAL = re.compile(r"[\\`*<\[\]|~]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)")
"""Characters that Markdown would take for markup."""

SPECIAL_AT_START = re.compile(r"^(\d{1,9}(?=[.)](\s|$))|(?=[#>+-](\s|$)|[#>=-]))", re.MULTILINE)
"""Those that it would take for markup at the start of a line; a paragraph can have several lines."""

CLOSING = re.compile(r"(?<=\s)(?=#+$)")
"""Number signs at the end of a heading, which Markdown removes."""

BULLET = re.compile(r"^[•◦▪‣·●○■□–—*+-]\s*")  # noqa: RUF001 a dash can be a bullet

NUMBER = re.compile(r"^(\d{1,9})[.)]\s+")


def page(result: RecognizedPage, _: int) -> str:
    """Return one page."""
    if not result.blocks:
        texts = (line.text.strip() for line in result.lines)
        return "\n\n".join(escaped(text) for text in texts if text) + "\n"
    return "\n".join(f"{_block(block)}\n" for block in result.blocks)


def escaped(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    shown = SPECIAL.sub(lambda found: "\\" + found[0], text)
    return SPECIAL_AT_START.sub(lambda found: f"{found[1]}\\", shown)


def _block(block: Block) -> str:
    if block.kind == "heading":
        return "## " + CLOSING.sub(r"\\", escaped(" ".join(block.text.split())))
    if block.kind == "list":
        return "\n".join(_item(text) for text in block.text.splitlines())
    if block.kind == "table":
        return _table(block.rows)
    return escaped(block.text)


def _item(text: str) -> str:
    number = NUMBER.match(text)
    if number:
        return f"{number[1]}. {escaped(text[number.end() :])}"
    return f"- {escaped(BULLET.sub('', text, count=1))}"


def _table(rows: Sequence[Sequence[TextLine]]) -> str:
    """Return a pipe table whose columns are the horizontal ranges that the cells share; the first row is its head."""
    ranges = _columns([cell for row in rows for cell in row])
    table = []
    for row in rows:
        cells = [""] * len(ranges)
        for cell in row:
            place = _column_of(cell, ranges)
            cells[place] = f"{cells[place]} {escaped(cell.text)}".strip()
        table.append(f"| {' | '.join(cells)} |")
    table.insert(1, "|" + "---|" * len(ranges))
    return "\n".join(table)


def _columns(cells: Sequence[TextLine]) -> list[tuple[int, int]]:
    """Return the ranges in which cells are, from left to right: cells that overlap share one, except a cell across several."""
    found: list[tuple[int, int]] = []
    for left, right in sorted(map(_range, cells), key=lambda each: each[1] - each[0]):
        same = [i for i, (start, end) in enumerate(found) if left < end and start < right]
        if not same:
            found.append((left, right))
        elif len(same) == 1:
            start, end = found[same[0]]
            others = [each for i, each in enumerate(found) if i != same[0]]
            grown = min(left, start), max(right, end)
            if not any(grown[0] < b and a < grown[1] for a, b in others):
                found[same[0]] = grown
    return sorted(found)


def _range(cell: TextLine) -> tuple[int, int]:
    """Return the left and the right end of a cell, which is at least 1 pixel wide so that it overlaps its own column."""
    left, right = int(cell.box.quad[:, 0].min()), int(cell.box.quad[:, 0].max())
    return left, max(right, left + 1)


def _column_of(cell: TextLine, ranges: Sequence[tuple[int, int]]) -> int:
    """Return the first column that a cell overlaps."""
    left, right = _range(cell)
    return next(i for i, (start, end) in enumerate(ranges) if left < end and start < right)
