"""The text that the pages of a PDF have: whether a page has some, and its lines, if they can be trusted."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from ctypes import byref, c_int
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ocr_onnx.options import PDFText
from ocr_onnx.types import Columns, Quad, TextBox, TextLine

if TYPE_CHECKING:
    import pypdfium2

READ_BEFORE = frozenset({"skip", "redo", "auto"})
"""The values of pdf_text that depend on the text of a page."""

INVISIBLE = 3
"""The text rendering mode without fill and stroke."""

MAX_CHARACTERS = 100_000
"""A page with more is read: its text would take longer than that."""

MAX_IMPLAUSIBLE = 0.05
"""The largest share of characters without a Unicode value or meaning, or not in level lines, in text that can be trusted."""

LEVEL = 0.9
"""The least cosine of the angle between the x axis and the direction of a character that is level."""

LENGTH = 100
"""Points by which the direction of a character is measured."""

MEANINGLESS = frozenset({"Cc", "Cn", "Co", "Cs"})
"""Unicode's categories of control, unassigned, private and surrogate characters."""

REPLACEMENT = "\ufffd"

HYPHENS = frozenset("\x02\ufffe")
"""What PDFium has instead of a hyphen at the end of a line."""

LINE_ENDS = HYPHENS | frozenset("\r\n")

HIGH_SURROGATES, LOW_SURROGATES = range(0xD800, 0xDC00), range(0xDC00, 0xE000)

FIRST_ASTRAL = 0x10000
"""The first character that UTF-16 encodes as two surrogates."""

WIDE_GAP, LEAST_SPACE = 1.5, 0.02
"""The least gap between two columns of a line, and between two words, relative to the height of a line. Words have gaps from 0.08; some
programs write a space of no width between two syllables."""

MIN_COVERED_TEXT, MIN_SEEN_TEXT = 0.9, 0.7
"""The least share of detected boxes that have text of the PDF, and of lines of the PDF in which text is detected, by their widths."""

MAX_PLACE = 2**24
"""Pixels; no page is so wide or high."""


class _Character(NamedTuple):
    text: str
    is_level: bool
    """Whether it is upright in the image."""
    left: int
    top: int
    right: int
    bottom: int

    @property
    def is_meaningless(self) -> bool:
        return self.text == REPLACEMENT or unicodedata.category(self.text) in MEANINGLESS


class _View(NamedTuple):
    """The image of a page."""

    page: pypdfium2.PdfPage
    width: int
    height: int

    @classmethod
    def of(cls, page: pypdfium2.PdfPage, scale: float) -> _View:
        """Return the image at `scale` pixels per point."""
        width, height = page.get_size()
        return cls(page, math.ceil(width * scale), math.ceil(height * scale))

    def place(self, x: float, y: float) -> tuple[int, int]:
        """Return where a point of the page is in the image."""
        import pypdfium2

        found = c_int(), c_int()
        pypdfium2.raw.FPDF_PageToDevice(
            self.page, 0, 0, self.width, self.height, 0, x, y, byref(found[0]), byref(found[1])
        )
        return found[0].value, found[1].value

    def shows(self, character: _Character) -> bool:
        """Return whether the middle of a character is in the image."""
        x, y = (character.left + character.right) // 2, (character.top + character.bottom) // 2
        return 0 <= x < self.width and 0 <= y < self.height


def own_lines(page: pypdfium2.PdfPage, policy: PDFText | None, scale: float) -> tuple[TextLine, ...] | None:
    """Return the lines of a page that `policy` (pdf_text) takes from the PDF, in pixels; empty if the page is not read; None if it is."""
    if policy not in READ_BEFORE:
        return None
    text = page.get_textpage()
    try:
        if not text.get_text_range().strip():
            return None
        if policy == "auto":
            return _sound_lines(page, text, scale)
        return () if policy == "skip" or _is_visible(page) else None
    finally:
        text.close()


def agrees(layer: Sequence[TextLine], boxes: Sequence[TextBox]) -> bool:
    """Return whether the lines of a PDF are where detection finds text: nearly all of it, and little elsewhere."""
    lines, found = [_bounds(line.box.quad) for line in layer], [_bounds(box.quad) for box in boxes]
    return _covered(found, lines) >= MIN_COVERED_TEXT and _covered(lines, found) >= MIN_SEEN_TEXT


def packed(lines: Iterable[TextLine]) -> bytes:
    """Return the lines of a PDF as JSON, for another process."""
    return json.dumps(
        [(line.columns.characters, line.columns.positions, _bounds(line.box.quad)) for line in lines]
    ).encode()


def unpacked(data: bytes) -> tuple[TextLine, ...]:
    """Return lines that were packed by a process that is not trusted. Raises ValueError or TypeError if they are not valid."""
    found = []
    for characters, positions, bounds in json.loads(data):
        places = [int(place) for place in (*positions, *bounds)]
        if len(characters) != len(positions) or not all(0 <= place < MAX_PLACE for place in places):
            raise ValueError("lines with invalid places")
        found.append(_text_line([str(each) for each in characters], places[:-4], places[-4:]))
    return tuple(line for line in found if line.text)


def _covered(boxes: Sequence[tuple[int, ...]], by: Sequence[tuple[int, ...]]) -> float:
    """Return the share of the width of boxes whose middle is in another box."""
    total = sum(right - left for left, _, right, _ in boxes)
    covered = sum(
        right - left for left, top, right, bottom in boxes if _contains(by, (left + right) / 2, (top + bottom) / 2)
    )
    return covered / total if total else 1.0


def _contains(boxes: Sequence[tuple[int, ...]], x: float, y: float) -> bool:
    return any(left <= x <= right and top <= y <= bottom for left, top, right, bottom in boxes)


def _bounds(quad: Quad) -> tuple[int, ...]:
    return (*quad.min(axis=0).tolist(), *quad.max(axis=0).tolist())


def _is_visible(page: pypdfium2.PdfPage) -> bool:
    """Return whether a page shows text that can be seen."""
    import pypdfium2

    texts = page.get_objects(filter=[pypdfium2.raw.FPDF_PAGEOBJ_TEXT])
    modes = {int(pypdfium2.raw.FPDFTextObj_GetTextRenderMode(text)) for text in texts}
    return modes != {INVISIBLE}


def _sound_lines(page: pypdfium2.PdfPage, text: pypdfium2.PdfTextPage, scale: float) -> tuple[TextLine, ...] | None:
    """Return the lines of a page; None if too many of their characters have no meaning, or are not in level lines."""
    import pypdfium2

    count = text.count_chars()
    if count > MAX_CHARACTERS:
        return None
    lines = list(_lines(_characters(page, text, scale)))
    characters = [character for line in lines for character in line]
    strange = sum(character.is_meaningless for character in characters)
    unmapped = sum(pypdfium2.raw.FPDFText_HasUnicodeMapError(text, i) == 1 for i in range(count))
    turned = sum(len(line) if _is_vertical(line) else sum(not each.is_level for each in line) for line in lines)
    if max(strange, unmapped, turned) > MAX_IMPLAUSIBLE * len(characters):
        return None
    return tuple(found for line in lines if (found := _line(line)).text) or None


def _lines(characters: Iterable[_Character | None]) -> Iterator[list[_Character]]:
    """Yield the characters of each line, which ends at None and at a wide gap, without spaces at its ends."""
    line: list[_Character] = []
    spaces: list[_Character] = []
    for character in (*characters, None):
        if line and (character is None or _is_apart(line[-1], character)):
            yield line
            line, spaces = [], []
        if character is None:
            spaces = []
        elif character.text.isspace():
            spaces.append(character)
        else:
            if line and _gap(line[-1], character) >= LEAST_SPACE:
                line += spaces
            line.append(character)
            spaces = []


def _is_apart(before: _Character, after: _Character) -> bool:
    return not after.text.isspace() and _gap(before, after) > WIDE_GAP


def _gap(before: _Character, after: _Character) -> float:
    """Return the gap between two characters of a line, relative to its height."""
    return max(after.left - before.right, before.left - after.right) / max(before.bottom - before.top, 1)


def _is_vertical(line: Sequence[_Character]) -> bool:
    """Return whether most characters of a line are below the one before them."""
    below = sum(after.top >= before.bottom or after.bottom <= before.top for before, after in pairwise(line))
    return below > len(line) / 2


def _characters(page: pypdfium2.PdfPage, text: pypdfium2.PdfTextPage, scale: float) -> Iterator[_Character | None]:
    """Yield the characters in the image of a page, in pixels, and None at the end of a line."""
    view, points = _View.of(page, scale), _View.of(page, 1)
    for i, character in _decoded(text):
        if character not in LINE_ENDS or character in HYPHENS:
            left, bottom, right, top = text.get_charbox(i, loose=True)
            (x0, y0), (x1, y1) = (view.place(*corner) for corner in ((left, top), (right, bottom)))
            shown = "-" if character in HYPHENS else character
            level = _is_level(text, i, points)
            found = _Character(shown, level, min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
            if view.shows(found):
                yield found
        if character in LINE_ENDS:
            yield None


def _decoded(text: pypdfium2.PdfTextPage) -> Iterator[tuple[int, str]]:
    """Yield each character with its index; one outside the Basic Multilingual Plane has two indices, of which the second is yielded."""
    import pypdfium2

    high = 0
    for i in range(text.count_chars()):
        unit = int(pypdfium2.raw.FPDFText_GetUnicode(text, i))
        if unit in LOW_SURROGATES:
            offset = (high - HIGH_SURROGATES.start) * len(LOW_SURROGATES) + unit - LOW_SURROGATES.start
            yield i, chr(FIRST_ASTRAL + offset) if high else REPLACEMENT
        elif unit not in HIGH_SURROGATES:
            yield i, chr(unit)
        high = unit if unit in HIGH_SURROGATES else 0


def _is_level(text: pypdfium2.PdfTextPage, i: int, points: _View) -> bool:
    import pypdfium2

    matrix = pypdfium2.raw.FS_MATRIX()
    pypdfium2.raw.FPDFText_GetMatrix(text, i, byref(matrix))
    length = math.hypot(matrix.a, matrix.b)
    if not length:
        return True  # A space that PDFium adds.
    start = points.place(0, 0)
    end = points.place(LENGTH * matrix.a / length, LENGTH * matrix.b / length)
    return end[0] - start[0] >= LEVEL * LENGTH


def _line(line: Sequence[_Character]) -> TextLine:
    """Return a line of characters, the first and last of which are no spaces."""
    shown = [each for each in line if not each.text.isspace()]
    left, top = max(min(each.left for each in shown), 0), max(min(each.top for each in shown), 0)
    right, bottom = max(each.right for each in shown), max(each.bottom for each in shown)
    places = [max(place - left, 0) for place in _middles(line)]
    return _text_line([each.text for each in line], places, (left, top, right, bottom))


def _middles(line: Sequence[_Character]) -> Iterator[int]:
    """Yield the middle of each character; a space that the PDF does not contain, and PDFium adds, has no box."""
    for i, each in enumerate(line):
        is_added = each.top == each.bottom and 0 < i < len(line) - 1
        yield (line[i - 1].right + line[i + 1].left if is_added else each.left + each.right) // 2


def _text_line(characters: Sequence[str], places: Sequence[int], bounds: Sequence[int]) -> TextLine:
    """Return a line of those characters that have a meaning, which are at `places` from the left in pixels."""
    left, top, right, bottom = bounds
    quad = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.int32)
    kept = [i for i, each in enumerate(characters) if all(unicodedata.category(c) not in MEANINGLESS for c in each)]
    columns = Columns(
        tuple(characters[i] for i in kept), tuple(places[i] for i in kept), max(right - left, 1), (1.0,) * len(kept)
    )
    return TextLine("".join(columns.characters).strip(), 1.0, TextBox(quad, 1.0), columns=columns)
