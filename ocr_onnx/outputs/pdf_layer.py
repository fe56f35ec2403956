"""The layer of invisible text of a PDF page: the operators that show each line at its place."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.outputs.pdf_font import DESCENT, UNITS, GlyphlessFont
from ocr_onnx.outputs.pdf_text import INVISIBLE
from ocr_onnx.outputs.placed import PlacedWord, placed_blocks, size_of
from ocr_onnx.stages.page_frame import RIGHT_TO_LEFT
from ocr_onnx.stages.words import visual_order

if TYPE_CHECKING:
    import pikepdf

    from ocr_onnx.types import RecognizedPage

FONT_NAME = "/OcrOnnx"

BELOW_BASELINE = -DESCENT / UNITS
"""The share of the height of a line that is below its baseline."""

MIN_WIDTH = 0.01
"""Points of a space between two words whose boxes touch."""

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


def layer(result: RecognizedPage, frame: Frame, font: GlyphlessFont) -> Iterator[str]:
    """Yield the operators of a page's text."""
    width, height = size_of(result)
    scale = np.array([frame.width / width, -frame.height / height])
    origin = np.array([0.0, frame.height])
    yield f"q {numbers(frame.matrix)} cm BT {INVISIBLE} Tr"
    for block in placed_blocks(result):
        for line in block.lines:
            corners = line.quad * scale + origin
            words = [(word, word.quad * scale + origin) for word in line.words]
            yield from _line(corners, words, frame, font)
    yield "ET Q"


def numbers(values: Iterable[float]) -> str:
    """Return numbers as a PDF has them."""
    return " ".join(f"{value:.4f}".rstrip("0").rstrip(".") for value in values)


def _line(
    corners: Point, words: Sequence[tuple[PlacedWord, Point]], frame: Frame, font: GlyphlessFont
) -> Iterator[str]:
    """Yield the operators of a line in a box whose corners begin with the top left corner of the text."""
    side, up = corners[2] - corners[3], corners[0] - corners[3]
    length, size = math.hypot(*side), math.hypot(*up)
    if not length or not size:
        return
    along = side / length
    spans = list(_spans([(word, (quad - corners[3]) @ along) for word, quad in words]))
    if not spans:
        return
    baseline = corners[3] + up * BELOW_BASELINE

    def place(distance: float) -> str:
        x, y = baseline + along * distance
        return f"{numbers((along[0], along[1], -along[1], along[0]))} {x:.2f} {y:.2f} Tm"

    yield f"{FONT_NAME} {size:.2f} Tf"
    if _is_sorted_wrongly(along, frame.matrix):
        yield place(spans[0].start) + _together(spans, size, font)
    else:
        for text, start, end in spans:
            width = 100 * max(end - start, MIN_WIDTH) / (len(text) * size)
            yield f"{place(start)} {width:.2f} Tz <{font.encoded(text)}> Tj"


def _is_sorted_wrongly(along: Point, matrix: Matrix) -> bool:
    """Return whether PDFium can exchange the words of a line in this direction, unless one operator shows them.

    It does so in lines that are upside down, and in level lines of a rotated page.
    """
    in_content = float(along @ np.array([matrix[0], matrix[2]]))
    return bool(along[0] < -LEVEL or (along[0] > LEVEL and in_content < LEVEL))


def _together(spans: Sequence[Span], size: float, font: GlyphlessFont) -> str:
    """Return one operator that shows a line in characters of equal width."""
    text = "".join(span.text for span in spans)
    width = 100 * max(spans[-1].end - spans[0].start, MIN_WIDTH) / (len(text) * size)
    return f" {width:.2f} Tz <{font.encoded(text)}> Tj"


def _spans(words: Sequence[tuple[PlacedWord, Point]]) -> Iterator[Span]:
    """Yield the words and spaces of a line; `words` have the places of their corners along the line."""
    placed = [(word, float(places.min()), float(places.max())) for word, places in words]
    if any(unicodedata.bidirectional(character) in RIGHT_TO_LEFT for word, _ in words for character in word.text):
        placed = list(_from_left_to_right(placed))
    for (word, start, end), following in zip_longest(placed, placed[1:]):
        after = end if following is None else following[1]
        # Readers see a space in a gap between two Chinese characters.
        reach = after if not word.space_after and after > start else end
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
