"""Read labelled pictures, and score recognized text against the labels."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

OVERLAP = 0.5
IGNORED = "###"


@dataclass(frozen=True, slots=True)
class Labelled:
    """An image and what stands in it."""

    path: Path
    text: str
    boxes: tuple[NDArray[np.float32], ...] = ()
    ignored: tuple[NDArray[np.float32], ...] = ()
    """Boxes whose text nobody can read."""


@dataclass(slots=True)
class Score:
    """Counts from which precision, recall and F1 come."""

    right: int = 0
    found: int = 0
    expected: int = 0

    def add(self, right: int, found: int, expected: int) -> None:
        """Add one image's."""
        self.right, self.found, self.expected = self.right + right, self.found + found, self.expected + expected

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.right / (self.found + self.expected)


def street(folder: Path) -> Iterator[Labelled]:
    """ICDAR 2015's incidental scene text."""
    for line in (folder / "labels.txt").read_text("utf-8-sig").splitlines():
        name, _, labels = line.partition("\t")
        words = json.loads(labels)
        quads = [(np.array(word["points"], np.float32), word["transcription"]) for word in words]
        text = " ".join(word for _, word in quads if word != IGNORED)
        kept = tuple(quad for quad, word in quads if word != IGNORED)
        yield Labelled(folder / Path(name).name, text, kept, tuple(quad for quad, word in quads if word == IGNORED))


def receipts(folder: Path) -> Iterator[Labelled]:
    """SROIE."""
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            lines = [",".join(row[8:]) for row in csv.reader(file, quoting=csv.QUOTE_NONE)]
        yield Labelled(path.with_suffix(".jpg"), " ".join(lines))


def reports(folder: Path) -> Iterator[Labelled]:
    """Pages of Chinese company reports."""
    for page in json.loads((folder / "labels.json").read_text("utf-8")):
        yield Labelled(folder / page["file"], page["page_text"])


def layout_pages(folder: Path) -> Iterator[Labelled]:
    """Pages of DocLayNet, with the text of their cells."""
    for path in sorted(folder.glob("*.json")):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        yield Labelled(path.with_suffix(".pdf"), " ".join(cell["text"] for cell in cells))


SETS: dict[str, tuple[str, Callable[[Path], Iterator[Labelled]], bool]] = {
    "street": ("icdar2015", street, False),
    "receipts": ("sroie", receipts, False),
    "reports": ("zh_pdf_pages", reports, True),
}
"""Folder, reader, and whether single characters are compared in place of words."""

EVERY: Mapping[str, int] = {"reports": 5}
"""Of these sets, `images` has every so many images."""


def images(data: Path, name: str) -> list[Labelled]:
    """Return the images of a set, in `data`; of a large one, some that are spread evenly."""
    folder, read, _ = SETS[name]
    return list(read(data / folder))[:: EVERY.get(name, 1)]


def compare_text(found: str, expected: str, *, characters: bool) -> tuple[int, int, int]:
    """(equal, found, expected) words or characters, whatever their order."""
    parts = [Counter(t.lower().split() if not characters else "".join(t.lower().split())) for t in (found, expected)]
    return sum((parts[0] & parts[1]).values()), sum(parts[0].values()), sum(parts[1].values())


def compare_boxes(found: Sequence[NDArray[np.int32]], image: Labelled) -> tuple[int, int, int]:
    """(matched, found, expected) boxes, those over illegible text left out."""
    ignored = list(map(_polygon, image.ignored))
    boxes = [box for box in map(_polygon, found) if not any(_covered(box, i) > OVERLAP for i in ignored)]
    free = list(boxes)
    matched = 0
    for expected in map(_polygon, image.boxes):
        best = max(free, key=partial(_union_share, expected), default=None)
        if best is not None and _union_share(expected, best) >= OVERLAP:
            free.remove(best)
            matched += 1
    return matched, len(boxes), len(image.boxes)


def _polygon(quad: NDArray[np.int32] | NDArray[np.float32]) -> BaseGeometry:
    """Return a box; a labelled one can cross itself."""
    return shapely.make_valid(shapely.Polygon(quad))


def _covered(box: BaseGeometry, other: BaseGeometry) -> float:
    return box.intersection(other).area / box.area if box.area else 0.0


def _union_share(a: BaseGeometry, b: BaseGeometry) -> float:
    union = a.union(b).area
    return a.intersection(b).area / union if union else 0.0
