"""What speed costs: ways to read the labelled pictures faster, their time and their F1. benchmarks/results/modes.md.

    python -m benchmarks.modes --data ../shared/data

Every picture is read by each way in turn, both orientation stages off, with the embedded models, all cores. A way's time is a
part of standard mode's over the set; F1 is of words or characters whatever their order, and of boxes, as in benchmarks.accuracy.
"""

from __future__ import annotations

import json
import string
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import click

from benchmarks import charts
from benchmarks.labelled import SETS, Labelled, Score, compare_boxes, compare_text
from benchmarks.machine import circumstances
from ocr_onnx import OCR, DetectionOptions, OCROptions, RecognitionOptions, geometry, sources
from ocr_onnx.types import Image, Text, TextBox

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"

OWN, BATCH = RecognitionOptions(padding="own"), RecognitionOptions()
UNSURE = 0.9
"""A line with a lower score is read again, padded as the reference does, in the way that does so."""

Way = Callable[[OCR, Image], tuple[list[TextBox], list[Text]]]


def plain(recognition: RecognitionOptions, side: int | None = None) -> Way:
    """Detection at most so many pixels a side (None: as standard mode), and this way to recognize."""
    detection = DetectionOptions() if side is None else DetectionOptions(limit_side_len=side, limit_type="max")

    def read(ocr: OCR, image: Image) -> tuple[list[TextBox], list[Text]]:
        boxes, crops = find(ocr, image, detection)
        return boxes, ocr.recognize(crops, recognition)

    return read


def find(ocr: OCR, image: Image, detection: DetectionOptions) -> tuple[list[TextBox], list[Image]]:
    """The boxes and what is in them."""
    boxes = geometry.reading_order(ocr.detect(image, detection))
    cut = [(box, geometry.crop(image, box.quad)) for box in boxes]
    kept = [(box, crop) for box, crop in cut if crop.size]
    return [box for box, _ in kept], [crop for _, crop in kept]


def twice(ocr: OCR, image: Image) -> tuple[list[TextBox], list[Text]]:
    """Lines padded by themselves, and again by batch where the score is low."""
    boxes, crops = find(ocr, image, DetectionOptions())
    texts = ocr.recognize(crops, OWN)
    again = [i for i, text in enumerate(texts) if text.score < UNSURE]
    for i, text in zip(again, ocr.recognize([crops[i] for i in again], BATCH), strict=True):
        texts[i] = text
    return boxes, texts


def high_performance(ocr: OCR, image: Image) -> tuple[list[TextBox], list[Text]]:
    """The mode as it is."""
    options = OCROptions.high_performance()
    boxes, crops = find(ocr, image, options.detection)
    return boxes, ocr.recognize(crops, options.recognition)


WAYS: Mapping[str, Way] = {
    "standard mode": plain(BATCH),
    "high-performance mode": high_performance,
    "lines padded by themselves": plain(OWN),
    f"the same, again by batch below a score of {UNSURE}": twice,
    "by themselves, detection at most 1600 a side": plain(OWN, 1600),
    "by themselves, detection at most 1120 a side": plain(OWN, 1120),
    "by themselves, detection at most 960 a side": plain(OWN, 960),
    "by themselves, detection at most 736 a side": plain(OWN, 736),
    "as standard mode, detection at most 960 a side": plain(BATCH, 960),
}


@dataclass(slots=True)
class Outcome:
    """One way on one set."""

    text: Score = field(default_factory=Score)
    boxes: Score = field(default_factory=Score)
    wall: float = 0.0
    cpu: float = 0.0


class Row(NamedTuple):
    """One way on one set, beside standard mode."""

    letter: str
    way: str
    set: str
    f1: float
    change: float
    """In points of F1."""
    wall: float
    cpu: float
    """As parts of standard mode's."""
    boxes: float | None


Outcomes = dict[str, dict[str, Outcome]]
"""By way, then by set."""


def measure(ocr: OCR, data: Path) -> Outcomes:
    """Every labelled picture, every way, in turns."""
    outcomes: Outcomes = {way: {name: Outcome() for name in SETS} for way in WAYS}
    for name, (folder, read, characters) in SETS.items():
        for number, image in enumerate(read(data / folder)):
            (page,) = sources.read_pages(image.path)
            ways = list(WAYS.items())
            for way, take in ways[number % len(ways) :] + ways[: number % len(ways)]:
                begun, used = time.perf_counter(), time.process_time()
                boxes, texts = take(ocr, page.image)
                outcome = outcomes[way][name]
                outcome.wall += time.perf_counter() - begun
                outcome.cpu += time.process_time() - used
                _add(outcome, boxes, texts, image, characters=characters)
        click.echo(f"{name}: done", err=True)
    return outcomes


def _add(outcome: Outcome, boxes: list[TextBox], texts: list[Text], image: Labelled, *, characters: bool) -> None:
    outcome.text.add(*compare_text("\n".join(t.text for t in texts), image.text, characters=characters))
    if image.boxes:
        outcome.boxes.add(*compare_boxes([box.quad for box in boxes], image))


def rows(outcomes: Outcomes) -> Iterator[Row]:
    """Each way beside the first."""
    base = next(iter(outcomes.values()))
    for letter, (way, sets) in zip(string.ascii_lowercase, outcomes.items(), strict=False):
        for name, outcome in sets.items():
            f1, boxes = 100 * outcome.text.f1, 100 * outcome.boxes.f1 if outcome.boxes.expected else None
            change = f1 - 100 * base[name].text.f1
            yield Row(
                letter, way, name, f1, change, outcome.wall / base[name].wall, outcome.cpu / base[name].cpu, boxes
            )


def markdown(measured: Sequence[Row]) -> str:
    """The table."""
    lines = ["| | way | set | F1 | change | time | processor | F1 of boxes |", "|---|---|---|--:|--:|--:|--:|--:|"]
    for row in measured:
        boxes = "" if row.boxes is None else f"{row.boxes:.2f}"
        figures = f"{row.f1:.2f} | {row.change:+.2f} | {row.wall:.2f} | {row.cpu:.2f} | {boxes}"
        lines.append(f"| {row.letter} | {row.way} | {row.set} | {figures} |")
    return "\n".join(lines)


def page(result: Mapping[str, Any]) -> str:
    """modes.md."""
    table = markdown([Row(**row) for row in result["rows"]])
    return f"# Accuracy and speed\n\nWritten by `make bench-modes`. {result['circumstances']}.\n\n{table}\n"


def chart(measured: Sequence[Row]) -> str:
    """Change of F1 over time, by set."""
    series = {name: [(row.cpu, row.change, row.letter) for row in measured if row.set == name] for name in SETS}
    axes = ("processor time, as a part of standard mode's", "change of F1, in points")
    return charts.points("Accuracy and speed of the ways in modes.md", axes, series)


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The folder with the labelled sets.")
def main(data: Path) -> None:
    """Measure, and write modes.md, modes.json and modes.svg."""
    off = OCROptions(use_doc_orientation_classify=False, use_textline_orientation=False)
    measured = list(rows(measure(OCR(off), data)))
    result = {"circumstances": circumstances(), "rows": [row._asdict() for row in measured]}
    text = page(result)
    (RESULTS / "modes.md").write_text(text, "utf-8")
    (RESULTS / "modes.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    (RESULTS / "modes.svg").write_text(chart(measured), "utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
