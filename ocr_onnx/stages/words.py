"""The words and characters of a line, with a box and a confidence each, from the columns in which recognition found the characters.

Words are divided at white space, as programs that read hOCR, ALTO and PDF expect; Unicode's word boundaries (UAX 29) also divide
before a comma. A Chinese or Japanese character is a word. Boxes follow the direction of the text: the first corner of the box of an
upside-down word is its lower right corner on the page.
"""

from __future__ import annotations

import math
import statistics
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.stages import geometry
from ocr_onnx.types import Character, Columns, Quad, TextLine, Word

SINGLE = ("CJK ", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "BOPOMOFO", "KANGXI")
"""Beginnings of the Unicode names of characters of which each is a word."""

FULL_WIDTH = "FULLWIDTH"
"""The beginning of the Unicode names of Latin characters as wide as a Chinese one. Their letters and digits form words."""

STAND_INS = {
    "L": "ab",
    "R": "\u05d0\u05d1",
    "AL": "\u0627\u0628",
    "EN": "01",
    "AN": "\u0660\u0661",
    "ES": "+-",
    "ET": "#$",
    "CS": ",.",
    "NSM": "\u0300\u0301",
    "WS": " \u2003",
}
"""Two characters of each bidirectional class that order depends on, which are not mirrored."""

NEUTRAL = "!&"
"""Two characters for the other bidirectional classes."""

SECOND = frozenset(pair[1] for pair in (*STAND_INS.values(), NEUTRAL))

MARKS = frozenset({"Mn", "Mc", "Me"})
"""Unicode's categories of marks, which belong to the character before them."""


class Glyph(NamedTuple):
    """A character of a line."""

    text: str
    column: float
    """The middle of its column."""
    probability: float


def find_words(columns: Columns, quad: Quad, text: str, *, upside_down: bool = False) -> tuple[Word, ...]:
    """Return the words of a line in the box `quad`, in the order of its `text`.

    Boxes of characters meet in the middle between two columns; a character without a neighbor has the line's usual width.
    """
    glyphs = _glyphs(columns, text)
    if not glyphs:
        return ()
    corners, edges = geometry.text_corners(quad, upside_down=upside_down), _edges(glyphs, columns.total)
    found = []
    for members in divide([glyph.text for glyph in glyphs]):
        characters = tuple(Character(glyphs[i].text, _part(corners, *edges[i]), glyphs[i].probability) for i in members)
        start, end = min(edges[i][0] for i in members), max(edges[i][1] for i in members)
        last = members[-1] + 1
        found.append(
            Word(
                "".join(glyphs[i].text for i in members),
                _part(corners, start, end),
                statistics.fmean(glyphs[i].probability for i in members),
                characters,
                space_after=last < len(glyphs) and glyphs[last].text.isspace(),
            )
        )
    return tuple(found)


def with_words(line: TextLine) -> TextLine:
    """Return the line with its words, unless it has them."""
    if line.words:
        return line
    words = find_words(line.columns, line.box.quad, line.text, upside_down=bool(line.box.upside_down))
    return replace(line, words=words or _whole(line))


def _whole(line: TextLine) -> tuple[Word, ...]:
    """Return a line whose characters have no known places as one word."""
    if not line.text.strip():
        return ()
    box = np.rint(geometry.text_corners(line.box.quad, upside_down=bool(line.box.upside_down))).astype(np.int32)
    return (Word(line.text.strip(), box, line.score),)


def _part(corners: NDArray[np.float64], start: float, end: float) -> Quad:
    """Return the part of a line from one share of its length to another."""
    a, b, c, d = corners
    return np.rint((a + (b - a) * start, a + (b - a) * end, d + (c - d) * end, d + (c - d) * start)).astype(np.int32)


def _edges(glyphs: Sequence[Glyph], total: float) -> list[tuple[float, float]]:
    """Return the start and the end of each character along its line, as shares of the length."""
    order = sorted(range(len(glyphs)), key=lambda i: glyphs[i].column)
    steps = [
        glyphs[j].column - glyphs[i].column
        for i, j in pairwise(order)
        if not glyphs[i].text.isspace() and not glyphs[j].text.isspace()
    ]
    half = (statistics.median(steps) if steps else total / len(glyphs)) / 2
    found = [(0.0, 0.0)] * len(glyphs)
    middles = [-math.inf, *((glyphs[i].column + glyphs[j].column) / 2 for i, j in pairwise(order)), math.inf]
    for i, before, after in zip(order, middles, middles[1:], strict=False):
        column = glyphs[i].column
        start, end = max(before, column - half, 0.0), min(after, column + half, total)
        found[i] = start / total, max(start, end) / total
    return found


def divide(characters: Sequence[str]) -> Iterator[list[int]]:
    """Yield the indices of the characters of each word."""
    word: list[int] = []
    for i, character in enumerate(characters):
        if unicodedata.category(character) in MARKS and word:
            word.append(i)
            continue
        if word and (character.isspace() or is_single(character) or is_single(characters[word[0]])):
            yield word
            word = []
        if not character.isspace():
            word.append(i)
    if word:
        yield word


@lru_cache(maxsize=4096)
def is_single(character: str) -> bool:
    """Return whether a character is a word by itself."""
    name = unicodedata.name(character, "")
    return name.startswith(SINGLE) or (name.startswith(FULL_WIDTH) and not character.isalnum())


def _glyphs(columns: Columns, text: str) -> list[Glyph]:
    """Return the characters in the order of the text; none if they are not those of the text."""
    probabilities = columns.probabilities or (0.0,) * len(columns.characters)
    seen = [
        Glyph(point, column + 0.5, probability)
        for characters, column, probability in zip(columns.characters, columns.positions, probabilities, strict=True)
        for point in characters
    ]
    visual = "".join(columns.characters)
    if visual == text:
        return seen
    order = _bidirectional_order(visual)
    if len(order) != len(text):
        return []
    return [seen[i]._replace(text=character) for i, character in zip(order, text, strict=True)]


def visual_order(text: str) -> str:
    """Return a text reordered with the Unicode bidirectional algorithm, from left to right."""
    import bidi
    from bidi.algorithm import get_display

    try:
        return str(get_display(text))
    except AssertionError:
        # The implementation that PaddleX uses has neither isolates nor characters that are not assigned.
        return str(bidi.get_display(text))


def _bidirectional_order(text: str) -> list[int]:
    """Return the places of the characters of `text` after reordering with the Unicode bidirectional algorithm.

    The library returns text alone. Each bit of a character's place is therefore sent through it as one of two characters of
    the same class.
    """
    from bidi.algorithm import get_display

    classes = [STAND_INS.get(unicodedata.bidirectional(character), NEUTRAL) for character in text]
    order = [0] * len(text)
    shown = ""
    for bit in range(len(text).bit_length()):
        marked = "".join(pair[i >> bit & 1] for i, pair in enumerate(classes))
        shown = str(get_display(marked))
        order = [place | (character in SECOND) << bit for place, character in zip(order, shown, strict=False)]
    return order[: len(shown)]
