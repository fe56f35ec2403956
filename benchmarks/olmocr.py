"""Check a page's text with the assertions of olmOCR-bench, by its rules.

The rules are those of olmocr/bench/tests.py of https://github.com/allenai/olmocr: white space and typographic characters are
normalized, texts are found by fuzzy search with up to `max_diffs` differences.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzzysearch import find_near_matches
from rapidfuzz import fuzz

SPLITS = ("multi_column", "long_tiny_text", "old_scans")
"""The splits about text. headers_footers is left out: it asks that running heads are removed."""

TYPOGRAPHIC: dict[str, str | int | None] = {
    **dict.fromkeys("\u2018\u2019\u201a", "'"),
    **dict.fromkeys("\u201c\u201d\u201e", '"'),
    **dict.fromkeys("\u2013\u2014\u2011\u2012\u2212", "-"),
    "\uff3f": "_",
    "\u00b5": "\u03bc",
}

MARKUP = (
    (r"<br/?>", " "),
    (r"\*\*(.*?)\*\*", r"\1"),
    (r"__(.*?)__", r"\1"),
    (r"</?[bi]>", ""),
    (r"(\*|_)(.*?)\1", r"\2"),
    (r"\s+", " "),
)
"""Markup that the rules remove, as regular expressions and replacements."""


def normalized(text: str) -> str:
    """The text as it is compared."""
    for pattern, replacement in MARKUP:
        text = re.sub(pattern, replacement, text)
    return unicodedata.normalize("NFC", text).translate(str.maketrans(TYPOGRAPHIC))


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a split, with its assertions."""

    path: Path
    assertions: tuple[Mapping[str, Any], ...]

    def passed(self, text: str) -> int:
        """The number of assertions that a text passes."""
        content = normalized(text)
        return sum(holds(each, content) for each in self.assertions)

    def attainable(self, text: str) -> int:
        """The number of assertions whose texts are in a text in any order, or not in it if they must not; spaces are ignored."""
        content = "".join(normalized(text).split())
        return sum(_is_attainable(each, content) for each in self.assertions)


def pages(folder: Path) -> list[Page]:
    """The pages of a split, by name."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for line in (folder / "tests.jsonl").read_text("utf-8").splitlines():
        assertion = json.loads(line)
        found.setdefault(assertion["pdf"], []).append(assertion)
    return [Page(folder / name, tuple(found[name])) for name in sorted(found)]


def holds(assertion: Mapping[str, Any], content: str) -> bool:
    """Whether an assertion holds for a normalized text."""
    most = assertion.get("max_diffs") or 0
    if assertion["type"] == "order":
        before, after = (
            [match.start for match in find_near_matches(normalized(assertion[key]), content, max_l_dist=most)]
            for key in ("before", "after")
        )
        return bool(before) and bool(after) and min(before) < max(after)
    return _is_present(assertion, content, most) is bool(assertion["type"] == "present")


def _is_attainable(assertion: Mapping[str, Any], content: str) -> bool:
    texts = [assertion[key] for key in ("before", "after", "text") if key in assertion]
    most = assertion.get("max_diffs") or 0
    found = all(find_near_matches("".join(normalized(text).split()), content, max_l_dist=most) for text in texts)
    return found is (assertion["type"] != "absent")


def _is_present(assertion: Mapping[str, Any], content: str, most: int) -> bool:
    wanted = normalized(assertion["text"])
    if not assertion.get("case_sensitive", True):
        wanted, content = wanted.lower(), content.lower()
    first, last = assertion.get("first_n"), assertion.get("last_n")
    if first or last:
        content = (content[:first] if first else "") + (content[-last:] if last else "")
    if len(content) < len(wanted) - most:
        return False
    ratio: float = fuzz.partial_ratio(wanted, content) / 100
    return ratio >= 1 - most / len(wanted)
