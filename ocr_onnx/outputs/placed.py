"""The blocks, lines and words of a page with their boxes in the input, for formats with coordinates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ocr_onnx.stages import geometry
from ocr_onnx.stages.blocks import bounds
from ocr_onnx.stages.words import with_words
from ocr_onnx.types import Block

if TYPE_CHECKING:
    from ocr_onnx.types import BlockKind, Quad, RecognizedPage, TextLine

UPRIGHT = 0.5
"""Degrees up to which a line counts as upright."""

PERCENT = 100


class Box(NamedTuple):
    """An upright box, in pixels."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Its width."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Its height."""
        return self.bottom - self.top


class PlacedWord(NamedTuple):
    """A word in the input."""

    text: str
    quad: Quad
    """Clockwise from the top left corner of the text."""
    box: Box
    """The part in the page of the upright box around it."""
    score: float
    space_after: bool

    @property
    def confidence(self) -> int:
        """Its score in percent."""
        return round(PERCENT * self.score)


@dataclass(frozen=True, slots=True)
class PlacedLine:
    """A line in the input."""

    text: str
    quad: Quad
    """Clockwise from the top left corner of the text. The box of a tilted line at an edge of the page can reach over it."""
    box: Box
    """The part in the page of the upright box around it."""
    words: tuple[PlacedWord, ...]

    @property
    def angle(self) -> float:
        """Degrees by which the text is turned counter-clockwise, 0 to 360."""
        (x, y), (right, lower) = self.quad[:2].tolist()
        return math.degrees(math.atan2(y - lower, right - x)) % 360

    @property
    def size(self) -> float:
        """The height of the text, perpendicular to its direction."""
        return float(np.hypot(*(self.quad[3] - self.quad[0])))

    @property
    def is_upright(self) -> bool:
        """Whether the text runs from left to right."""
        return min(self.angle, 360 - self.angle) <= UPRIGHT


@dataclass(frozen=True, slots=True)
class PlacedBlock:
    """A block in the input."""

    kind: BlockKind
    box: Box
    rows: tuple[tuple[PlacedLine, ...], ...]

    @property
    def lines(self) -> Iterator[PlacedLine]:
        """The lines of all rows."""
        return (line for row in self.rows for line in row)


class PageSize(NamedTuple):
    """The size of a page in pixels."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class PlacedPage:
    """The blocks of a page with their boxes in the input, without its pixels."""

    size: PageSize
    """Of the image in which the boxes are."""
    blocks: tuple[PlacedBlock, ...]
    from_pdf: bool = False
    """Whether the text is that of the PDF, or the page was not read."""


def placed_page(page: RecognizedPage) -> PlacedPage:
    """Return what a format with coordinates needs of a page."""
    return PlacedPage(size_of(page), tuple(placed_blocks(page)), page.source.layer is not None)


def placed_blocks(page: RecognizedPage) -> Iterator[PlacedBlock]:
    """Yield the blocks in reading order, without empty lines; each line is a row of one block if the page has no blocks."""
    for block in page.blocks or _block_of_lines(page.lines):
        rows = tuple(tuple(_placed(line, page) for line in row if line.text.strip()) for row in block.rows)
        yield PlacedBlock(block.kind, box_of(on_source(page, block.box)), tuple(row for row in rows if row))


def _block_of_lines(lines: tuple[TextLine, ...]) -> tuple[Block, ...]:
    rows = tuple((line,) for line in lines if line.text.strip())
    return (Block("paragraph", bounds(rows), rows, ""),) if rows else ()


def _placed(line: TextLine, page: RecognizedPage) -> PlacedLine:
    corners = geometry.text_corners(line.box.quad, upside_down=bool(line.box.upside_down))
    words = tuple(
        PlacedWord(word.text, quad, _box_in_page(quad, page), word.score, word.space_after)
        for word in with_words(line).words or ()
        for quad in [on_source(page, word.box)]
    )
    quad = on_source(page, np.rint(corners).astype(np.int32))
    return PlacedLine(line.text, quad, _box_in_page(quad, page), words)


def _box_in_page(quad: Quad, page: RecognizedPage) -> Box:
    return box_of(np.clip(quad, 0, size_of(page)))


def on_source(page: RecognizedPage, quad: Quad) -> Quad:
    """Map points of the recognized page to the input; not if the page was unwarped, which has no inverse."""
    if page.options.use_doc_unwarping:
        return quad
    height, width = page.source.image.shape[:2]
    return geometry.rotate_back(quad, page.angle or 0, (width, height))


def size_of(page: RecognizedPage) -> PageSize:
    """Return the size of the image in which the boxes are."""
    image = page.page.image if page.options.use_doc_unwarping else page.source.image
    return PageSize(image.shape[1], image.shape[0])


def page_number(page: RecognizedPage, place: int) -> int:
    """Return the number of a page in its document, counted from 1; of an image, its place in the output."""
    return place if page.source.index is None else page.source.index + 1


def box_of(quad: Quad) -> Box:
    """Return the upright box around a quad."""
    (left, top), (right, bottom) = quad.min(axis=0).tolist(), quad.max(axis=0).tolist()
    return Box(left, top, right, bottom)
