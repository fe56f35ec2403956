"""PaddleOCR's words of a line, computed from the columns in which recognition found its characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from ocr_onnx.stages.geometry import CORNERS, rectangle
from ocr_onnx.types import Columns, Quad

VERTICAL_RATIO = 1.5
"""A line with a height / width above this is vertical: its words follow each other from top to bottom."""

FIRST_HAN, LAST_HAN = "\u4e00", "\u9fff"

DIGITS = frozenset("0123456789")

Kind: TypeAlias = Literal["han", "latin", "other"]
Group: TypeAlias = tuple[Kind, tuple[str, ...], tuple[int, ...]]
"""A run of characters of one kind: the kind, the characters, and their columns."""


class PaddleWord(NamedTuple):
    """A run of ASCII letters and digits, a Chinese character, or a run of other characters."""

    text: str
    box: Quad
    """An axis-aligned box, even if the line is tilted."""


def find_words(columns: Columns, quad: Quad) -> tuple[PaddleWord, ...]:
    """Return the words of a line in the box `quad`, each with its own box, in the order of their columns.

    This follows PaddleX 3.7.2, except that PaddleX sorts the boxes again, but not the words.
    """
    corners = quad if len(quad) == CORNERS else rectangle(quad)[0].astype(np.int32)
    (left, top), (right, _), (_, bottom) = corners[:3].tolist()
    width, height = np.ptp(quad, axis=0).tolist()
    words = []
    if height > VERTICAL_RATIO * width:
        for text, start, end in _spans(columns, bottom - top):
            first, last = top + start, top + end
            words.append(_word(text, ((left, first), (left, last), (right, last), (right, first))))
    else:
        for text, start, end in _spans(columns, right - left):
            first, last = left + start, left + end
            words.append(_word(text, ((first, top), (last, top), (last, bottom), (first, bottom))))
    return tuple(words)


def _word(text: str, corners: tuple[tuple[int, int], ...]) -> PaddleWord:
    return PaddleWord(text, np.array(corners, np.int32))


def _spans(columns: Columns, length: int) -> Iterator[tuple[str, int, int]]:
    """Yield (word, start, end) along a line of `length` pixels, in pixels from its start.

    A Chinese character has the average width of the line's Chinese characters, centered on its column.
    """
    cell = length / columns.total
    groups = list(_groups(columns))
    sizes = [
        (positions[-1] - positions[0] + 1) * cell / (len(positions) - 1)
        for kind, _, positions in groups
        if kind == "han" and len(positions) > 1
    ]
    half = (float(np.mean(sizes)) if sizes else length / max(len(columns.characters), 1)) / 2
    for kind, characters, positions in groups:
        if kind == "han":
            for character, position in zip(characters, positions, strict=True):
                center = (position + 0.5) * cell
                yield character, max(int(center - half), 0), min(int(center + half), length)
        else:
            yield "".join(characters), int(positions[0] * cell), int((positions[-1] + 1) * cell)


def _groups(columns: Columns) -> Iterator[Group]:
    """Yield the runs of characters of one kind."""
    ends = zip(_kinds(columns.characters), columns.characters, columns.positions, strict=True)
    for kind, members in groupby(ends, key=lambda member: member[0]):
        _, characters, positions = zip(*members, strict=True)
        yield kind, characters, positions


def _kinds(characters: Sequence[str]) -> list[Kind]:
    """Return the kind of each character; a hyphen after a letter or digit has its kind, and so has a point before a digit."""
    found: list[Kind] = []
    for character, following in zip(characters, [*characters[1:], ""], strict=False):
        joins = character == "-" or (character == "." and following in DIGITS)
        found.append("latin" if joins and found[-1:] == ["latin"] else _kind(character))
    return found


def _kind(character: str) -> Kind:
    if FIRST_HAN <= character <= LAST_HAN:
        return "han"
    return "latin" if character.isascii() and character.isalnum() else "other"
