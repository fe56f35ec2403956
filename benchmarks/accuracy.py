"""How well do models read? On labelled images, several pairs of models taking turns: docs/choosing-a-model.md.

    python -m benchmarks.accuracy --data ../shared/data

- street: words on street photographs (ICDAR 2015): F1 of boxes (intersection over union of 0.5), and of words, whatever
  their order.
- receipts: words of receipts (SROIE), F1 whatever their order.
- reports: characters of pages of Chinese reports against the PDF's text, F1 whatever their order.

Upper and lower case count as equal, as the receipts' labels are in capitals.
"""

from __future__ import annotations

import csv
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_onnx import OCR, Models, OCROptions, OCRResult, store

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "choosing-a-model.md"
ADVICE = ROOT / "benchmarks" / "advice.md"

PAIRS = (
    ("PP-OCRv5_mobile_det", "PP-OCRv5_mobile_rec"),
    ("PP-OCRv6_small_det", "PP-OCRv6_small_rec"),
    ("PP-OCRv6_tiny_det", "PP-OCRv6_tiny_rec"),
    ("PP-OCRv4_mobile_det", "PP-OCRv4_mobile_rec"),
    ("PP-OCRv3_mobile_det", "PP-OCRv3_mobile_rec"),
    ("PP-OCRv3_mobile_det", "en_PP-OCRv3_mobile_rec"),
)
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


@dataclass(slots=True)
class Outcome:
    """What one pair of models did."""

    text: dict[str, Score] = field(default_factory=dict)
    boxes: Score = field(default_factory=Score)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """A page, by set."""


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


SETS: dict[str, tuple[str, Callable[[Path], Iterator[Labelled]], bool]] = {
    "street": ("icdar2015", street, False),
    "receipts": ("sroie", receipts, False),
    "reports": ("zh_pdf_pages", reports, True),
}
"""Folder, reader, and whether single characters are compared in place of words."""


def compare_text(found: str, expected: str, *, characters: bool) -> tuple[int, int, int]:
    """(equal, found, expected) words or characters, whatever their order."""
    parts = [Counter(t.lower().split() if not characters else "".join(t.lower().split())) for t in (found, expected)]
    return sum((parts[0] & parts[1]).values()), sum(parts[0].values()), sum(parts[1].values())


def compare_boxes(found: Sequence[NDArray[np.int32]], image: Labelled) -> tuple[int, int, int]:
    """(matched, found, expected) boxes, those over illegible text left out."""
    kept = [quad for quad in found if not any(_shared(quad, i) / _area(quad) > OVERLAP for i in image.ignored)]
    free = list(kept)
    matched = 0
    for expected in image.boxes:
        best = max(free, key=lambda quad: _union_share(quad, expected), default=None)
        if best is not None and _union_share(best, expected) >= OVERLAP:
            free = [quad for quad in free if quad is not best]
            matched += 1
    return matched, len(kept), len(image.boxes)


def _union_share(a: NDArray[np.int32], b: NDArray[np.float32]) -> float:
    shared = _shared(a, b)
    return shared / max(_area(a) + _area(b) - shared, 1e-9)


def _shared(a: NDArray[np.int32], b: NDArray[np.float32]) -> float:
    return float(cv2.intersectConvexConvex(a.astype(np.float32), b)[0])


def _area(quad: NDArray[np.int32] | NDArray[np.float32]) -> float:
    return max(float(cv2.contourArea(quad.astype(np.float32))), 1e-9)


def measure(engines: dict[tuple[str, str], OCR], data: Path) -> dict[tuple[str, str], Outcome]:
    """Read every image with every pair, taking turns image by image."""
    outcomes = {pair: Outcome() for pair in engines}
    for name, (folder, read, characters) in SETS.items():
        for image in read(data / folder):
            for pair, ocr in engines.items():
                begun = time.perf_counter()
                (result,) = ocr.predict(image.path)
                outcomes[pair].seconds.setdefault(name, []).append(time.perf_counter() - begun)
                _add(outcomes[pair], name, image, result, characters=characters)
        click.echo(f"{name}: done", err=True)
    return outcomes


def _add(outcome: Outcome, name: str, image: Labelled, result: OCRResult, *, characters: bool) -> None:
    score = outcome.text.setdefault(name, Score())
    score.add(*compare_text(result.text, image.text, characters=characters))
    if image.boxes:
        outcome.boxes.add(*compare_boxes([box.quad for box in result.boxes], image))


def table(outcomes: dict[tuple[str, str], Outcome]) -> str:
    """The outcomes in Markdown; times as a multiple of the first pair's, image by image."""
    base = next(iter(outcomes.values()))
    rows = []
    for (detection, recognition), outcome in outcomes.items():
        megabytes = sum(store.find(name).stat().st_size for name in (detection, recognition)) / 1e6
        scores = " | ".join(f"{outcome.text[name].f1:.3f}" for name in SETS)
        slower = [
            statistics.median(a / b for a, b in zip(outcome.seconds[name], base.seconds[name], strict=True))
            for name in SETS
        ]
        times = " | ".join(f"{ratio:.2f}" for ratio in slower)
        rows.append(f"| {detection} + {recognition} | {outcome.boxes.f1:.3f} | {scores} | {times} | {megabytes:.1f} |")
    measures = "street: boxes | street: words | receipts: words | reports: characters"
    head = f"| models | {measures} | time: street | receipts | reports | MB |"
    return "\n".join([head, "|---|--:|--:|--:|--:|--:|--:|--:|--:|", *rows])


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The folder with the labelled sets.")
def main(data: Path) -> None:
    """Measure every pair that is on this machine and write the page."""
    here = [pair for pair in PAIRS if all(store.path_of(name).is_file() for name in pair)]
    for pair in set(PAIRS) - set(here):
        click.echo(f"SKIPPED: ocr-onnx models pull {' '.join(pair)}", err=True)
    off = OCROptions(use_doc_orientation_classify=False, use_textline_orientation=False)
    engines = {pair: OCR(off, models=Models(*pair)) for pair in here}
    outcomes = measure(engines, data)
    base = next(iter(outcomes.values())).seconds
    seconds = ", ".join(f"{statistics.median(values):.2f} s a page of {name}" for name, values in base.items())
    text = ADVICE.read_text("utf-8").replace("TABLE", table(outcomes)).replace("SECONDS", seconds)
    TARGET.write_text(text, "utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
