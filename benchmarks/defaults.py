"""Measure the default options against other values on labelled images: docs/defaults.md.

python -m benchmarks.defaults --data FOLDER

Each variant changes one group of the default options. Scores are F1 as in benchmarks.accuracy, and the share of the receipts'
amounts, such as 12.50, that the text contains. Equal inputs of a model are computed once, so no times are measured.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
from numpy.typing import NDArray

from benchmarks import records
from benchmarks.labelled import SETS, Labelled, Score, compare_text, images
from ocr_onnx import OCR, DetectionOptions, OCROptions
from ocr_onnx.inputs import sources
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.options import LineOrientationOptions, PageOrientationOptions, RecognitionOptions
from ocr_onnx.pipeline import DetectedPage
from ocr_onnx.stages import geometry
from ocr_onnx.types import Page, Run, Tensor

TARGET = Path(__file__).parents[1] / "docs" / "defaults.md"
BEGIN, END = "<!-- figures: make defaults -->\n", "<!-- end of figures -->\n"

AMOUNT = re.compile(r"\d+\.\d{2}\b")

FLIPPED = 5
"""Every so many lines one is turned upside down in the condition `lines`."""

BEST = OCROptions()

Change = Callable[[OCR, Page], DetectedPage]


def lines(*, batch_size: int = 1, score_thresh: float = 0.0) -> OCROptions:
    """The defaults with other line orientation."""
    return replace(BEST, line_orientation=LineOrientationOptions(batch_size, score_thresh))


def boxes(thresh: float, box_thresh: float, unclip_ratio: float) -> OCROptions:
    """The defaults with other thresholds of detection."""
    chosen = DetectionOptions(thresh=thresh, box_thresh=box_thresh, unclip_ratio=unclip_ratio)
    return replace(BEST, detection=chosen)


def texts(score_thresh: float) -> OCROptions:
    """The defaults with another threshold of texts."""
    return replace(BEST, recognition=RecognitionOptions(score_thresh=score_thresh))


VARIANTS: Mapping[str, OCROptions] = {
    "the defaults": BEST,
    "PaddleOCR's defaults": OCROptions.paddleocr(),
    "line orientation off": replace(BEST, use_textline_orientation=False),
    "the first line of six decides, as in PaddleOCR": lines(batch_size=6),
    **{f"each line, without comparison from {score}": lines(score_thresh=score) for score in (0.0, 0.9, 0.99)},
    "page orientation off": replace(BEST, use_doc_orientation_classify=False),
    "page orientation at any score": replace(BEST, page_orientation=PageOrientationOptions(0)),
    **{f"all texts from a score of {score}": texts(score) for score in (0.0, 0.3, 0.5, 0.6, 0.7, 0.8)},
    "boxes: 0.3, 0.6, 1.5, as in PaddleOCR": boxes(0.3, 0.6, 1.5),
    "boxes: 0.2, 0.45, 1.4, as in inference.yml": boxes(0.2, 0.45, 1.4),
    "boxes: 0.2, 0.45, 1.6": boxes(0.2, 0.45, 1.6),
    "boxes: 0.2, 0.45, 2": boxes(0.2, 0.45, 2.0),
    "sides of at least 736 pixels, as in RapidOCR": replace(BEST, detection=DetectionOptions(limit_side_len=736)),
}


def turned(ocr: OCR, page: Page) -> DetectedPage:
    """The page upside down."""
    return ocr.detect_page(replace(page, image=geometry.rotate(page.image, 180)), BEST)


def with_lines_turned(ocr: OCR, page: Page) -> DetectedPage:
    """The page with every FLIPPED-th line upside down."""
    found = ocr.detect_page(page, BEST)
    crops = [(box, crop if i % FLIPPED else geometry.rotate(crop, 180)) for i, (box, crop) in enumerate(found.crops)]
    return replace(found, crops=crops)


CONDITIONS: Mapping[str, Change] = {
    "pages upside down": turned,
    "every fifth line upside down": with_lines_turned,
}
"""Changes of the pages, read with the defaults."""


@dataclass(slots=True)
class Outcome:
    """One variant on one set."""

    text: Score = field(default_factory=Score)
    amounts: Score = field(default_factory=Score)

    def add(self, found: str, image: Labelled, *, characters: bool) -> None:
        """Add one page."""
        self.text.add(*compare_text(found, image.text, characters=characters))
        parts = [Counter(AMOUNT.findall(text)) for text in (found, image.text)]
        self.amounts.add(sum((parts[0] & parts[1]).values()), parts[0].total(), parts[1].total())

    def as_json(self) -> dict[str, Any]:
        """The figures."""
        return {"f1": self.text.f1, "amounts": self.amounts.right, "all": self.amounts.expected}


def remembered(run: Run, _: ModelMetadata) -> Run:
    """The same model; equal inputs are computed once."""
    known: dict[bytes, tuple[NDArray[Any], ...]] = {}

    def remember(tensor: Tensor) -> tuple[NDArray[Any], ...]:
        key = hashlib.blake2b(tensor.tobytes() + repr(tensor.shape).encode()).digest()
        if key not in known:
            known[key] = run(tensor)
        return known[key]

    return remember


def measure(ocr: OCR, data: Path, name: str) -> Iterator[tuple[str, Outcome]]:
    """Read a set with each variant, and in each condition with the defaults."""
    _, _, characters = SETS[name]
    outcomes = {way: Outcome() for way in (*VARIANTS, *CONDITIONS)}
    for image in images(data, name):
        (page,) = sources.read_pages(image.path)
        # The inputs of one page do not recur on another.
        fresh = ocr.with_runs(remembered)
        for variant, options in VARIANTS.items():
            outcomes[variant].add(fresh.read(page, options).text, image, characters=characters)
        for condition, change in CONDITIONS.items():
            found = fresh.recognize_page(change(fresh, page), BEST)
            outcomes[condition].add(found.text, image, characters=characters)
    yield from outcomes.items()


def table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures in Markdown."""
    amounts = next((f"amounts of {row['receipts']['all']}" for row in figures.values() if "receipts" in row), "amounts")
    rows = [f"| variant | {' | '.join(SETS)} | {amounts} |", f"|---|{'--:|' * (len(SETS) + 1)}"]
    for variant, row in figures.items():
        scores = [f"{row[name]['f1']:.3f}" if name in row else "" for name in SETS]
        rows.append(f"| {variant} | {' | '.join(scores)} | {row.get('receipts', {}).get('amounts', '')} |")
    return "\n".join(rows) + "\n"


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The folder with the labelled sets.")
@click.option("--set", "names", type=click.Choice(list(SETS)), multiple=True, help="Measure this set only.")
def main(data: Path, names: tuple[str, ...]) -> None:
    """Measure, and write the table of docs/defaults.md."""
    ocr = OCR(BEST)
    figures: dict[str, dict[str, Any]] = {}
    for name in names or SETS:
        for way, outcome in measure(ocr, data, name):
            figures.setdefault(way, {})[name] = outcome.as_json()
        click.echo(table(figures), err=True)
    text = records.with_part(TARGET.read_text("utf-8"), BEGIN, f"\n{table(figures)}\n", END)
    TARGET.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
