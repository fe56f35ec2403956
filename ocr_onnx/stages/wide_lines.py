"""Cut line crops that are wider than the recognizer's largest input, and join the texts of their parts.

Recognition would squeeze such a crop, which makes its characters too narrow to be read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.stages.joining import is_unspaced
from ocr_onnx.types import Columns, Image, Text

SEARCHED = 4
"""A cut is at the widest gap within this distance of its place in equal parts, in line heights: the length of a long word."""

INK = 0.25
"""A column has ink if its pixels vary by more than this share of the largest variation of the line."""

SPACE = 0.15
"""The least width of a space, in line heights; gaps between characters are narrower."""


def cut(crop: Image, longest: float) -> list[tuple[Image, bool]]:
    """Divide a crop that is wider than `longest` times its height; return the parts, and whether a space precedes each."""
    height, width = crop.shape[:2]
    count = math.ceil(width / max(height * (longest - 2 * SEARCHED), 1))
    if width <= longest * height or count < 2:
        return [(crop, False)]
    ink = _ink(crop)
    gaps = [_widest_gap(ink, width * number // count, SEARCHED * height) for number in range(1, count)]
    edges = [0, *((begin + end) // 2 for begin, end in gaps), width]
    spaces = [False, *(end - begin >= SPACE * height for begin, end in gaps)]
    return [(crop[:, a:b], space) for a, b, space in zip(edges, edges[1:], spaces, strict=False)]


def _ink(crop: Image) -> NDArray[np.bool_]:
    """Return which columns have ink."""
    variation = np.ptp(crop.max(axis=2), axis=0)
    return np.asarray(variation > INK * variation.max())


def _widest_gap(ink: NDArray[np.bool_], at: int, distance: int) -> tuple[int, int]:
    """Return begin and end of the widest gap without ink that is at most `distance` from `at`; an empty one if there is none."""
    first = max(at - distance, 1)
    within = np.concatenate(([True], ink[first : at + distance], [True]))
    begins, ends = (
        np.flatnonzero(np.diff(within.astype(np.int8)) < 0),
        np.flatnonzero(np.diff(within.astype(np.int8)) > 0),
    )
    if not begins.size:
        return at, at
    widest = int(np.argmax(ends - begins))
    return first + int(begins[widest]), first + int(ends[widest])


def join(parts: Sequence[Text], spaces: Sequence[bool]) -> Text:
    """Join the texts of the parts of a line, from left to right; the score is the mean of their characters' scores."""
    if len(parts) == 1:
        return parts[0]
    starts = list(accumulate((part.columns.total for part in parts), initial=0.0))
    characters: list[str] = []
    positions: list[int] = []
    probabilities: list[float] = []
    for part, start, space in zip(parts, starts, spaces, strict=False):
        if space and characters and part.text and not (is_unspaced(characters[-1]) and is_unspaced(part.text[0])):
            characters.append(" ")
            positions.append(round(start))
            probabilities.append(1.0)
        characters += part.columns.characters
        positions += [round(start + position) for position in part.columns.positions]
        probabilities += part.columns.probabilities
    weights = [len(part.text) for part in parts]
    score = sum(part.score * weight for part, weight in zip(parts, weights, strict=True)) / max(sum(weights), 1)
    known = tuple(probabilities) if len(probabilities) == len(characters) else ()
    return Text("".join(characters), score, Columns(tuple(characters), tuple(positions), starts[-1], known))
