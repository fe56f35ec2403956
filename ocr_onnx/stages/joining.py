"""Join the text of lines: with a space or none, as the script requires, and without hyphens at line ends."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

HYPHENS = "-\u2010\u00ad"
"""Characters at the end of a line that can mark a word's division: hyphen-minus, hyphen, soft hyphen."""

DASHES = "\u2014/"
"""Characters after which a line continues without a space, unless there is one before them."""

UNSPACED = ("CJK ", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC", "FULLWIDTH", "BOPOMOFO", "THAI", "LAO", "KHMER", "MYANMAR")
"""Beginnings of the Unicode names of characters that are written without spaces between words."""

CONJUNCTIONS = frozenset(
    {"and", "or", "und", "oder", "et", "ou", "y", "o", "e", "en", "of", "och", "og", "i", "to", "bis"}
)
"""A hyphen before one of these words is kept: it stands for a part of the next word, as in "pre- and postwar"."""

COMPOUNDING = frozenset(
    [
        "self",
        "twenty",
        "thirty",
        "forty",
        "fifty",
        "sixty",
        "seventy",
        "eighty",
        "ninety",
        "third",
        "fourth",
        "fifth",
        "sixth",
        "seventh",
        "eighth",
        "ninth",
        "tenth",
    ]
)
"""English words that form compounds with a hyphen, and are no first part of a divided word."""

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
LAST_PART = re.compile(r"([\w'’-]*?)([^\W\d_]+)$")


def vocabulary(texts: Iterable[str]) -> frozenset[str]:
    """Return the words of a page in lower case, and its hyphenated compounds, without the first and last word of each line, which can be divided."""
    found: set[str] = set()
    for text in texts:
        words = text.lower().split()
        for word in words[1:-1]:
            found.update(WORD.findall(word))
            if "-" in word:
                found.add(word.strip(".,;:!?()[]\"'"))
    return frozenset(found)


def join(before: str, after: str, words: frozenset[str] = frozenset()) -> str:
    """Join two lines of a paragraph. `words` is the vocabulary of the page, which decides about hyphens in compounds."""
    if not before or not after:
        return before + after
    if before[-1] in HYPHENS and (closed := _closed(before, after, words)) is not None:
        return closed
    if before[-1] in DASHES and not before[-2:-1].isspace():
        return before + after
    return before + ("" if is_unspaced(before[-1]) and is_unspaced(after[0]) else " ") + after


def _closed(before: str, after: str, words: frozenset[str]) -> str | None:
    """Join a word that is divided at a line end; None if the hyphen does not divide a word."""
    stem = before[:-1]
    head, tail = LAST_PART.search(stem), WORD.match(after)
    if before[-1] == "\u00ad" and tail:
        return stem + after
    if tail and tail[0] in CONJUNCTIONS:
        return None
    if head is None or tail is None or not after[0].islower():
        # "1990-" and "2000", or "A-" and "Z": one term, without a space.
        return before + after if head is not None or stem[-1:].isdigit() else None
    compound, part = head.groups()
    first, second = part.lower(), tail[0].lower()
    if first + second in words:
        return stem + after
    known = (first in words) + (second in words)
    if first in COMPOUNDING or f"{first}-{second}" in words or compound.count("-") + known >= 2:
        return before + after
    return stem + after


@lru_cache(maxsize=4096)
def is_unspaced(character: str) -> bool:
    """Return whether the character's script is written without spaces between words; False for an empty string."""
    return bool(character) and unicodedata.name(character, "").startswith(UNSPACED)


def text_width(text: str) -> int:
    """Return the width of a text in a font of constant width: Chinese, Japanese and Korean characters count twice."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
