"""What travels between the stages: arrays whose shape, order and unit are stated here once, and records of results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.options import OCROptions

Image: TypeAlias = NDArray[np.uint8]
"""A picture: (height, width, 3), blue-green-red, 0 to 255."""

Quad: TypeAlias = NDArray[np.int32]
"""Corners of a box: (4, 2) points (x, y) in whole pixels, clockwise from the top left one; (n, 2) around a polygon."""

Tensor: TypeAlias = NDArray[np.float32]
"""What a model takes: (batch, channel, height, width)."""

Run: TypeAlias = Callable[[Tensor], "tuple[NDArray[Any], ...]"]
"""A model: one tensor in, its outputs in the graph's order. A session, a recording, or one line in a test."""


class Orientation(NamedTuple):
    """What a classifier says of a picture."""

    angle: int
    """The degrees by which to turn it counter-clockwise so that it stands upright."""
    score: float
    """The probability of that, 0 to 1."""


class Difference(NamedTuple):
    """How many decisions of two runs of a model differ."""

    differing: int
    decisions: int
    """Texts of lines, pixels of text, orientations of pages or lines."""

    @property
    def share(self) -> float:
        """The differing part of the decisions, 0 to 1."""
        return self.differing / self.decisions


class Columns(NamedTuple):
    """Where in a crop each character was read: recognition cuts it from left to right into columns of one width."""

    characters: tuple[str, ...] = ()
    """As they stand from left to right."""
    positions: tuple[int, ...] = ()
    """The column of each, from 0."""
    total: float = 1.0
    """How many columns the crop fills."""


class Text(NamedTuple):
    """What recognition reads in one crop."""

    text: str
    score: float
    """Mean probability of the characters kept, 0 to 1; 0 where nothing was read."""
    columns: Columns = Columns()


@dataclass(frozen=True, slots=True, eq=False)
class Word:
    """A word of a line: a run of letters and digits, a Chinese character, or what stands between these."""

    text: str
    box: Quad
    """Upright: its sides are the page's, even where the line is tilted."""


@dataclass(frozen=True, slots=True, eq=False)
class TextBox:
    """One piece of text that detection found."""

    quad: Quad
    score: float
    """Mean probability of text inside the box, 0 to 1."""
    upside_down: bool | None = None
    """What line orientation says of it; None where that stage was off."""
    orientation_score: float | None = None
    """The probability of that, 0 to 1."""


@dataclass(frozen=True, slots=True, eq=False)
class TextLine:
    """A box and what stands in it."""

    text: str
    score: float
    box: TextBox
    words: tuple[Word, ...] | None = None
    """From left to right, or from top to bottom; None where they were not asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """One picture of the input and where it came from."""

    image: Image
    path: str | None = None
    """The file it was read from; None for an array."""
    index: int | None = None
    """Its number in a PDF or TIFF, from 0; None for a single picture."""
    count: int | None = None
    """How many pages that file has."""


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
    """All boxes that detection found, in reading order."""
    lines: tuple[TextLine, ...]
    """The recognized lines, without those below score_thresh."""
    options: OCROptions

    @property
    def angle(self) -> int | None:
        """The degrees by which the page was rotated counter-clockwise; None if that stage was off."""
        return None if self.orientation is None else self.orientation.angle

    @property
    def text(self) -> str:
        """The text of the lines, one line each, without empty lines."""
        return "\n".join(line.text for line in self.lines if line.text)
