"""Measure the time and the F1 of faster variants on labelled pictures: benchmarks/results/modes.md.

    python -m benchmarks.modes --data FOLDER
    python -m benchmarks.modes --data FOLDER --models default --way "high-performance mode"
    python -m benchmarks.modes --data FOLDER --models default --way "high-performance mode with OpenVINO"
    python -m benchmarks.modes --data FOLDER --models default --way "high-performance mode with the shapes for GPUs"

The variants take turns, picture by picture, with both orientation stages off, the embedded models and all cores. Times are ratios
to standard mode over the set. F1 is that of words or characters, ignoring order, and of boxes, as in benchmarks.accuracy.

The sets are small: variants that read equally well differ by a point on street photographs. With --altered, each picture is also read
brighter, blurred, compressed and with noise, which makes the figures steadier and takes five times as long.
"""

from __future__ import annotations

import string
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import click
import cv2
import numpy as np

from benchmarks import charts, records
from benchmarks.labelled import SETS, Labelled, Score, compare_boxes, compare_text
from benchmarks.machine import circumstances
from benchmarks.versions import VERSION_5
from ocr_onnx import OCR, DetectionOptions, OCROptions, RecognitionOptions
from ocr_onnx.inputs import sources
from ocr_onnx.runtime.batching import MASKED_SHAPES
from ocr_onnx.stages import geometry
from ocr_onnx.types import Image, Page, TextLine

STANDARD, OWN = OCROptions(), OCROptions(recognition=RecognitionOptions(padding="own"))
UNSURE = 0.9
"""A line with a lower score is read again, padded as the reference does, in the way that does so."""

Way = Callable[[OCR, Page], Sequence[TextLine]]


def without_orientation(options: OCROptions) -> OCROptions:
    """The same, with both stages off."""
    return replace(options, use_doc_orientation_classify=False, use_textline_orientation=False)


def by(options: OCROptions) -> Way:
    """As the pipeline reads with these options."""
    chosen = without_orientation(options)
    return lambda ocr, page: ocr.read(page, chosen).lines


def at_most(side: int, options: OCROptions) -> Way:
    """The same, detection at most so many pixels a side."""
    return by(replace(options, detection=DetectionOptions(limit_side_len=side, limit_type="max")))


def twice(ocr: OCR, page: Page) -> Sequence[TextLine]:
    """Pad each line by itself; recognize lines with a low score again, padded to their batch."""
    lines = list(by(OWN)(ocr, page))
    again = [i for i, line in enumerate(lines) if line.score < UNSURE]
    crops = [geometry.crop(page.image, lines[i].box.quad) for i in again]
    for i, text in zip(again, ocr.recognize(crops), strict=True):
        lines[i] = replace(lines[i], text=text.text, score=text.score)
    return lines


WAYS: Mapping[str, Way] = {
    "standard mode": by(STANDARD),
    "high-performance mode": by(OCROptions.high_performance()),
    "own padding": by(OWN),
    f"own padding, then batch padding below a score of {UNSURE}": twice,
    "own padding, detection at most 1600 pixels a side": at_most(1600, OWN),
    "own padding, detection at most 1120 pixels a side": at_most(1120, OWN),
    "own padding, detection at most 960 pixels a side": at_most(960, OWN),
    "own padding, detection at most 736 pixels a side": at_most(736, OWN),
    "standard mode, detection at most 960 pixels a side": at_most(960, STANDARD),
}


ON_OPENVINO = "high-performance mode with OpenVINO"
"""The same options, with the models placed as the mode places them if OpenVINO is installed (runtime.selection)."""

WITH_GPU_SHAPES = "high-performance mode with the shapes for GPUs"
"""The same options, with the input shapes that a GPU gets, on the CPU: without TensorFloat-32, and without times of a GPU."""


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


def _noisy(image: Image) -> Image:
    noise = np.random.default_rng(0).normal(0, 5, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


ALTERATIONS: tuple[Callable[[Image], Any], ...] = (
    lambda image: cv2.convertScaleAbs(image, alpha=1.1, beta=10),
    lambda image: cv2.GaussianBlur(image, (3, 3), 0.7),
    lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR),
    _noisy,
)
"""Changes of a picture that keep its size and text."""


def altered(page: Page) -> Iterator[Page]:
    """The page, and the page with each change."""
    yield page
    for change in ALTERATIONS:
        yield replace(page, image=np.ascontiguousarray(change(page.image), np.uint8))


Outcomes = dict[str, dict[str, Outcome]]
"""By way, then by set."""


def measure(
    ocr: OCR,
    data: Path,
    taken: Mapping[str, Way] = WAYS,
    copies: Callable[[Page], Iterator[Page]] = lambda page: iter([page]),
) -> Outcomes:
    """The copies of every labelled picture, every way that is taken, in turns."""
    outcomes: Outcomes = {way: {name: Outcome() for name in SETS} for way in taken}
    for name, (folder, read, characters) in SETS.items():
        pictures = ((image, page) for image in read(data / folder) for page in copies(_page(image)))
        for number, (image, page) in enumerate(pictures):
            ways = list(taken.items())
            for way, take in ways[number % len(ways) :] + ways[: number % len(ways)]:
                begun, used = time.perf_counter(), time.process_time()
                lines = take(ocr, page)
                outcome = outcomes[way][name]
                outcome.wall += time.perf_counter() - begun
                outcome.cpu += time.process_time() - used
                _add(outcome, lines, image, characters=characters)
        click.echo(f"{name}: done", err=True)
    return outcomes


def _page(image: Labelled) -> Page:
    (page,) = sources.read_pages(image.path)
    return page


def _add(outcome: Outcome, lines: Sequence[TextLine], image: Labelled, *, characters: bool) -> None:
    outcome.text.add(*compare_text("\n".join(line.text for line in lines), image.text, characters=characters))
    if image.boxes:
        outcome.boxes.add(*compare_boxes([line.box.quad for line in lines], image))


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
    lines = [
        "| | variant | set | F1 | change | time | processor time | F1 of boxes |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for row in measured:
        boxes = "" if row.boxes is None else f"{row.boxes:.2f}"
        figures = f"{row.f1:.2f} | {row.change:+.2f} | {row.wall:.2f} | {row.cpu:.2f} | {boxes}"
        lines.append(f"| {row.letter} | {row.way} | {row.set} | {figures} |")
    return "\n".join(lines)


def page(result: Mapping[str, Any]) -> str:
    """modes.md."""
    table = markdown([Row(**row) for row in result["rows"]])
    return f"# Accuracy and speed\n\nWritten by `make bench-modes`. {result['circumstances']}. Times are ratios to standard mode.\n\n{table}\n"


def chart(measured: Sequence[Row]) -> str:
    """Change of F1 over time, by set."""
    series = {name: [(row.cpu, row.change, row.letter) for row in measured if row.set == name] for name in SETS}
    axes = ("processor time, as a part of standard mode's", "change of F1, in points")
    return charts.points("Accuracy and speed of the variants in modes.md", axes, series)


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The folder with the labelled sets.")
@click.option("--models", "version", type=click.Choice(["v5", "default"]), default="v5", show_default=True)
@click.option(
    "--way",
    "chosen",
    multiple=True,
    type=click.Choice([*WAYS, ON_OPENVINO, WITH_GPU_SHAPES]),
    help=f"Beside standard mode; default: all but {ON_OPENVINO} and {WITH_GPU_SHAPES}.",
)
@click.option("--altered", "with_copies", is_flag=True, help="Also read altered copies of each picture.")
def main(data: Path, version: str, chosen: tuple[str, ...], *, with_copies: bool) -> None:
    """Measure; of PP-OCRv5 mobile and all ways, write modes.md, modes.json and modes.svg."""
    first = next(iter(WAYS))
    taken = {name: way for name, way in WAYS.items() if not chosen or name in {first, *chosen}}
    models = VERSION_5 if version == "v5" else None
    ocr = OCR(without_orientation(STANDARD), models=models)
    high_performance = WAYS["high-performance mode"]
    if ON_OPENVINO in chosen:
        fast = OCR(without_orientation(STANDARD), models=models, mode="high-performance")
        click.echo(str(fast.placement), err=True)
        taken[ON_OPENVINO] = lambda _, page: high_performance(fast, page)
    if WITH_GPU_SHAPES in chosen:
        from benchmarks.batches import forced  # It imports this module.

        masked = forced(ocr, MASKED_SHAPES)
        taken[WITH_GPU_SHAPES] = lambda _, page: high_performance(masked, page)
    measured = list(rows(measure(ocr, data, taken, *([altered] if with_copies else []))))
    result = {"circumstances": circumstances(), "rows": [row._asdict() for row in measured]}
    text = page(result)
    if version == "v5" and taken == WAYS and not with_copies:
        records.keep("modes", result, text)
        records.draw("modes", chart(measured))
    click.echo(text)


if __name__ == "__main__":
    main()
