"""Measure the accuracy of models on labelled images: docs/choosing-a-model.md.

    python -m benchmarks.accuracy --data FOLDER

- street: words on street photographs (ICDAR 2015): F1 of boxes (intersection over union of 0.5), and of words, ignoring
  order.
- receipts: words of receipts (SROIE), F1 ignoring order.
- reports: characters of pages of Chinese reports compared with the PDF's text, F1 ignoring order.

Case is ignored, because the labels of the receipts are in capitals. The pairs of models take turns, image by image.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import click

from benchmarks import single_models
from benchmarks.labelled import SETS, Labelled, Score, compare_boxes, compare_text
from ocr_onnx import OCR, Models, OCROptions, OCRResult
from ocr_onnx.models import store

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


@dataclass(slots=True)
class Outcome:
    """What one pair of models did."""

    text: dict[str, Score] = field(default_factory=dict)
    boxes: Score = field(default_factory=Score)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """A page, by set."""


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
    off = replace(OCROptions.paddleocr(), use_doc_orientation_classify=False, use_textline_orientation=False)
    engines = {pair: OCR(off, models=Models(*pair)) for pair in here}
    outcomes = measure(engines, data)
    base = next(iter(outcomes.values())).seconds
    seconds = ", ".join(f"{statistics.median(values):.2f} s per page of {name}" for name, values in base.items())
    text = ADVICE.read_text("utf-8").replace("TABLE", table(outcomes)).replace("SECONDS", seconds)
    text = text.replace("SINGLE", single_models.report(data))
    TARGET.write_text(text, "utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
