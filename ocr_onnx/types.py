"""Data that the stages exchange: arrays, with their shape, channel order and unit, and records of results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.options import OCROptions

Image: TypeAlias = NDArray[np.uint8]
"""An image: (height, width, 3), channels blue, green, red, values 0 to 255."""

Quad: TypeAlias = NDArray[np.int32]
"""The corners of a box: (4, 2) points (x, y) in whole pixels, clockwise from the top left corner; (n, 2) for a polygon."""

Tensor: TypeAlias = NDArray[np.float32]
"""A model's input: (batch, channel, height, width)."""

POINTS_PER_INCH = 72
"""The unit of lengths in a PDF."""

Run: TypeAlias = Callable[[Tensor], "tuple[NDArray[Any], ...]"]
"""A model: takes one tensor, returns its outputs in the graph's order. A session, a recording, or one line in a test."""


class Orientation(NamedTuple):
    """The orientation of a page or a line, from a classifier."""

    angle: int
    """The degrees by which to rotate the image counter-clockwise to make it upright."""
    score: float
    """The probability of this orientation, 0 to 1."""


MAX_DIFFERING_SHARE = 0.02
"""The largest share of the decisions on the sample page in which a model on another provider may differ from the CPU. Rounded to
fp16, PP-OCRv5 mobile detection and recognition differ in 0.5 and 0.8 %; rounded to bfloat16, in 13 and 6 %, which loses text on
other pages too (docs/devices.md)."""


class Difference(NamedTuple):
    """The number of decisions in which two runs of a model differ."""

    differing: int
    decisions: int
    """The number of all decisions: texts of lines, text pixels, orientations of pages or lines."""

    @property
    def share(self) -> float:
        """The share of decisions that differ, 0 to 1."""
        return self.differing / self.decisions


class Columns(NamedTuple):
    """The positions of the characters in a crop, which recognition divides from left to right into columns of equal width."""

    characters: tuple[str, ...] = ()
    """The characters from left to right."""
    positions: tuple[float, ...] = ()
    """The column of each character, counted from 0."""
    total: float = 1.0
    """The number of columns that the crop fills."""
    probabilities: tuple[float, ...] = ()
    """The probability of each character, 0 to 1."""


NO_COLUMNS = Columns()


class Text(NamedTuple):
    """The text of one crop."""

    text: str
    score: float
    """The mean probability of the recognized characters, 0 to 1; 0 if there are none."""
    columns: Columns = NO_COLUMNS
    model: str = ""
    """The name of the model that read it, if there are several; else empty."""


@dataclass(frozen=True, slots=True, eq=False)
class Character:
    """A character of a word."""

    text: str
    box: Quad
    """Clockwise from the top left corner of the text, which is the lower right corner if it is upside down."""
    score: float
    """Its probability, 0 to 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Word:
    """A word of a line: the text between two spaces, or a Chinese or Japanese character."""

    text: str
    box: Quad
    """Clockwise from the top left corner of the text, which is the lower right corner if it is upside down."""
    score: float = 0.0
    """The mean probability of its characters, 0 to 1."""
    characters: tuple[Character, ...] = ()
    """The characters in the order of the text."""
    space_after: bool = False
    """Whether white space follows in the line."""


@dataclass(frozen=True, slots=True, eq=False)
class TextBox:
    """A text box from detection."""

    quad: Quad
    score: float
    """The mean probability of text inside the box, 0 to 1."""
    upside_down: bool | None = None
    """Whether line orientation found the line upside down; None if that stage was off."""
    orientation_score: float | None = None
    """The probability of the orientation, 0 to 1; None if the line was not classified, because its text has a high score."""


@dataclass(frozen=True, slots=True, eq=False)
class TextLine:
    """A recognized line: its text and its box."""

    text: str
    score: float
    box: TextBox
    words: tuple[Word, ...] | None = None
    """The words in the order of the text; None if they were not requested."""
    model: str | None = None
    """The name of the model that read it if there are several; else None."""
    columns: Columns = NO_COLUMNS
    """The positions of its characters, from which words are computed."""


BlockKind: TypeAlias = Literal["paragraph", "heading", "list", "table"]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Lines of a page that belong together."""

    kind: BlockKind
    box: Quad
    """The bounding box of the lines."""
    rows: tuple[tuple[TextLine, ...], ...]
    """The visual lines from top to bottom, each with its lines in reading direction; the cells of a table's rows. Of a line
    across two columns, each of the two blocks has the part that is in its column."""
    text: str
    """The text of the rows: a paragraph is one line, without hyphens at line ends; an item of a list and a row of a table is one
    line each."""

    @property
    def lines(self) -> tuple[TextLine, ...]:
        """The lines of all rows."""
        return tuple(line for row in self.rows for line in row)


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """One image of the input, and its origin."""

    image: Image
    path: str | None = None
    """The file that it was read from; None for an array."""
    index: int | None = None
    """The page number in a PDF or TIFF, counted from 0; None for a single image."""
    count: int | None = None
    """The number of pages in that file."""
    warnings: tuple[str, ...] = ()
    """What may be missing in the image, such as text in a font that is not installed, in sentences."""
    resolution: float | None = None
    """Pixels per inch, at which a PDF was rendered or which the image's metadata have; None if they have none."""
    scale: float = 1.0
    """Pixels of `image` per unit of the input: per point of a PDF, else 1."""
    content: bytes | None = None
    """The content of the input's file, if the file has no path on this machine: a searchable PDF is made of it."""
    layer: tuple[TextLine, ...] | None = None
    """The lines that were taken from the page's own text, because of `pdf_text`; empty if the page was not read; None if it was."""


@dataclass(frozen=True, slots=True, eq=False)
class RecognizedPage:
    """One page with its text. Coordinates are pixels of `page.image`."""

    source: Page
    """The page as it was given."""
    page: Page
    """The page as it was recognized: rotated upright and unwarped if those stages were on."""
    orientation: Orientation | None
    """The page's orientation; None if that stage was off."""
    boxes: tuple[TextBox, ...]
    """All boxes that detection found, in PaddleOCR's order."""
    lines: tuple[TextLine, ...]
    """The recognized lines, without those below score_thresh, in the order of `options.reading_order`."""
    options: OCROptions
    blocks: tuple[Block, ...] = ()
    """The paragraphs, headings, lists and tables in reading order, column by column; none in PaddleOCR's order."""
    warnings: tuple[str, ...] = ()
    """What may be missing in the text, in sentences; empty for most pages."""

    @property
    def angle(self) -> int | None:
        """The degrees by which the page was rotated counter-clockwise; None if that stage was off."""
        return None if self.orientation is None else self.orientation.angle
