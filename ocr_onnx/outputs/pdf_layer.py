"""The layer of invisible text of a PDF page: the operators that show each line at its place.

Programs that extract text find lines and columns again by the places and the size of characters. The sizes below fit pdftotext, which
makes a column of lines whose sizes differ by less than 5 % and whose baselines are at most 1.5 sizes apart, and of words that are at most 0.7
sizes apart; a line ends where the baseline differs by half a size. `python -m benchmarks.copied` measures what is read.
"""

from __future__ import annotations

import math
import statistics
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.inputs.pdf_text import INVISIBLE
from ocr_onnx.outputs.pdf_font import ASCENT, DESCENT, UNITS, GlyphlessFont
from ocr_onnx.outputs.placed import PlacedBlock, PlacedPage, PlacedWord
from ocr_onnx.stages.page_frame import RIGHT_TO_LEFT
from ocr_onnx.stages.words import visual_order

if TYPE_CHECKING:
    import pikepdf

FONT_NAME = "/OcrOnnx"

MIDDLE = (ASCENT + DESCENT) / 2 / UNITS
"""The middle of the characters above the baseline, in font sizes."""

SIZE_OF_LINE, SIZE_OF_PITCH = 0.8, 0.74
"""The font size relative to the height of a line, and to the distance of the lines of a block."""

SIZES = (0.4, 0.96)
"""The least and largest font size of a block with several lines, relative to the height of a line."""

SAME_ROW = 0.3
"""The distance up to which two lines are beside each other, relative to the height of a line."""

MAX_TILT = math.radians(3)
MAX_RISE, MAX_SHIFT = 0.2, 0.4
"""The words of a line that is tilted by less than MAX_TILT are level. Baselines of the first and the last word differ by at most MAX_RISE font
sizes; a line in which a word would be moved by more than MAX_SHIFT stays tilted."""

MAX_SPACE, MAX_GAP = 0.6, 1.2
"""The widest space between two words, in font sizes. The word before it is extended, unless the gap is wider than MAX_GAP."""

MIN_WIDTH = 0.01
"""Points of a space between two words whose boxes touch."""

MAX_OFF = 0.1
"""Points by which a word may be beside its place, so that it needs no place of its own: a quarter of a pixel of 200 in an inch."""

LEVEL = 0.5
"""The least cosine of the angle between a line and the x axis of a line that is level."""

Matrix = tuple[float, float, float, float, float, float]

Point = NDArray[np.float64]


class Frame(NamedTuple):
    """A page as viewers show it."""

    width: float
    """In points."""
    height: float
    matrix: Matrix
    """From points from the lower left corner of the page that is shown to the coordinates of its content."""


class Track(NamedTuple):
    """Where the baseline of a line is."""

    start: Point
    direction: Point
    """Of the characters."""
    step: Point
    """From one character to the next, for each point along the line."""


class Span(NamedTuple):
    """A word or a space of a line."""

    text: str
    start: float
    end: float
    """Its ends along the line, in points."""


def frame_of(page: pikepdf.Page) -> Frame:
    """Return how viewers show a page: its crop box within its media box, rotated."""
    media, crop = ([float(value) for value in box] for box in (page.mediabox, page.cropbox))
    media, crop = ([min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3])] for b in (media, crop))
    left, bottom = (max(pair) for pair in zip(media[:2], crop[:2], strict=True))
    right, top = (min(pair) for pair in zip(media[2:], crop[2:], strict=True))
    if right <= left or top <= bottom:
        left, bottom, right, top = media
    turns = round(_rotation(page) / 90) % 4
    matrices: tuple[Matrix, ...] = (
        (1, 0, 0, 1, left, bottom),
        (0, 1, -1, 0, right, bottom),
        (-1, 0, 0, -1, right, top),
        (0, -1, 1, 0, left, top),
    )
    width, height = right - left, top - bottom
    return Frame(*((width, height) if turns % 2 == 0 else (height, width)), matrices[turns])


def _rotation(page: pikepdf.Page) -> float:
    """Return the degrees by which viewers rotate a page clockwise, which it may inherit."""
    node: Any = page.obj
    while "/Rotate" not in node and "/Parent" in node:
        node = node["/Parent"]
    return float(node.get("/Rotate", 0))


def layer(placed: PlacedPage, frame: Frame, font: GlyphlessFont) -> Iterator[str]:
    """Yield the operators of a page's text."""
    width, height = placed.size
    scale = np.array([frame.width / width, -frame.height / height])
    origin = np.array([0.0, frame.height])
    yield f"q {numbers(frame.matrix)} cm BT {INVISIBLE} Tr"
    for block in placed.blocks:
        size = frame.height / height * font_size(block)
        for line in block.lines:
            corners = line.quad * scale + origin
            words = [(word, word.quad * scale + origin) for word in line.words]
            yield from _line(corners, words, size, frame, font)
    yield "ET Q"


def font_size(block: PlacedBlock) -> float:
    """Return the size of the font of a block in pixels, which is the same in all of its lines."""
    if not block.rows:
        return 0.0
    height = statistics.median(line.size for line in block.lines)
    corners = block.rows[0][0].quad
    up = (corners[0] - corners[3]) / max(math.hypot(*(corners[0] - corners[3])), 1)
    places = sorted(float((row[0].quad[0] + row[0].quad[3]) @ up) / 2 for row in block.rows)
    pitches = [after - before for before, after in pairwise(places) if after - before > SAME_ROW * height]
    if not pitches:
        return SIZE_OF_LINE * height
    least, largest = (share * height for share in SIZES)
    return min(max(SIZE_OF_PITCH * statistics.median(pitches), least), largest)


def numbers(values: Iterable[float]) -> str:
    """Return numbers as a PDF has them."""
    return " ".join(f"{value + 0.0:.4f}".rstrip("0").rstrip(".") for value in values)


def _line(
    corners: Point, words: Sequence[tuple[PlacedWord, Point]], size: float, frame: Frame, font: GlyphlessFont
) -> Iterator[str]:
    """Yield the operators of a line in a box whose corners begin with the top left corner of the text."""
    side, up = corners[2] - corners[3], corners[0] - corners[3]
    length = math.hypot(*side)
    if not length or not up.any() or not size or not words:
        return
    along = side / length
    spans = list(_spans([(word, (quad - corners[3]) @ along) for word, quad in words], size))
    if not spans:
        return
    if _is_sorted_wrongly(along, frame.matrix):
        spans = [Span("".join(span.text for span in spans), spans[0].start, spans[-1].end)]
    yield f"{FONT_NAME} {size:.2f} Tf"
    yield from _shown(spans, _track(corners, size), size, font)


def _shown(spans: Iterable[Span], track: Track, size: float, font: GlyphlessFont) -> Iterator[str]:
    """Yield the operators that show spans.

    In a level line, a span that begins where the one before it ends needs no place, and continues it if its characters have the same
    width. In other lines, PDFium would exchange lines.
    """
    pen, last, codes = None, "", ""
    is_level = track.direction[0] == 1
    for text, start, end in spans:
        width = f"{100 * max(end - start, MIN_WIDTH) / (len(text) * size):.1f}"
        place = track.start + track.step * start
        is_next = is_level and pen is not None and math.hypot(*(place - pen)) <= MAX_OFF
        if codes and not (is_next and width == last):
            yield f"<{codes}> Tj"
            codes = ""
        if pen is None or not is_next:
            (x, y), (cosine, sine), pen = place, track.direction, place
            yield f"{numbers((cosine, sine, -sine, cosine))} {x:.1f} {y:.1f} Tm"
        if width != last:
            yield f"{width} Tz"
        codes += font.encoded(text)
        pen, last = pen + track.direction * (len(text) * size * float(width) / 100), width
    yield f"<{codes}> Tj"


def _track(corners: Point, size: float) -> Track:
    """Return where the baseline of a line is: in the middle of its box, level if that moves no word far."""
    side, up = corners[2] - corners[3], corners[0] - corners[3]
    length = math.hypot(*side)
    along, axis = side / length, np.rint(side / length)
    across = np.array([-axis[1], axis[0]])
    rise = abs(float(along @ across)) * length
    kept = min(MAX_RISE * size / rise, 1) if rise else 1.0
    middle = corners[3] + side / 2 + up * (0.5 - MIDDLE * size / math.hypot(*up))
    if rise > math.sin(MAX_TILT) * length or rise * (1 - kept) / 2 > MAX_SHIFT * size:
        return Track(middle - side / 2, along, along)
    step = axis * float(along @ axis) + across * float(along @ across) * kept
    return Track(middle - step * length / 2, axis, step)


def _is_sorted_wrongly(along: Point, matrix: Matrix) -> bool:
    """Return whether PDFium can exchange the words of a line in this direction, unless one operator shows them.

    It does so in lines that are upside down, and in level lines of a rotated page.
    """
    in_content = float(along @ np.array([matrix[0], matrix[2]]))
    return bool(along[0] < -LEVEL or (along[0] > LEVEL and in_content < LEVEL))


def _spans(words: Sequence[tuple[PlacedWord, Point]], size: float) -> Iterator[Span]:
    """Yield the words and spaces of a line in a font size; `words` have the places of their corners along the line."""
    placed = [(word, float(places.min()), float(places.max())) for word, places in words]
    if any(unicodedata.bidirectional(character) in RIGHT_TO_LEFT for word, _ in words for character in word.text):
        placed = list(_from_left_to_right(placed))
    for (word, start, end), following in zip_longest(placed, placed[1:]):
        after = end if following is None else following[1]
        # Readers see a space in a gap between two Chinese characters.
        reach = after if not word.space_after and after > start else end
        if word.space_after and MAX_SPACE * size < after - end < MAX_GAP * size:
            reach = after - MAX_SPACE * size
        # Of a word of control characters alone, nothing is shown.
        if word.text:
            yield Span(word.text, start, reach)
        if word.space_after and following is not None:
            yield Span(" ", reach, after)


def _from_left_to_right(placed: Sequence[tuple[PlacedWord, float, float]]) -> Iterator[tuple[PlacedWord, float, float]]:
    """Yield the words of a line with right-to-left text as they stand on the page: readers of PDFs reorder them."""
    order = sorted(range(len(placed)), key=lambda i: placed[i][1])
    for place, following in zip_longest(order, order[1:]):
        word, start, end = placed[place]
        first = place if following is None else min(place, following)
        yield word._replace(text=visual_order(word.text), space_after=placed[first][0].space_after), start, end
