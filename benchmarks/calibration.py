"""Calibrate the scores of recognizers on labelled lines, and measure chains of them: the tables in docs/chains.md.

python -m benchmarks.calibration --data FOLDER

The lines are words of street photographs, lines of Chinese reports, and word images in many scripts. A logistic curve makes the
logit of a line's score the probability that the line is right, ignoring case and spaces. Each chain is computed from the readings
of its models, with the default threshold.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks import records
from benchmarks.labelled import IGNORED
from ocr_onnx.inputs import sources
from ocr_onnx.models import store
from ocr_onnx.options import RecognitionOptions
from ocr_onnx.runtime.providers import CPU
from ocr_onnx.runtime.threads import cores
from ocr_onnx.stages import geometry, loading
from ocr_onnx.stages.recognition import TextRecognizer
from ocr_onnx.stages.recognizer_chain import CERTAIN, better, goes_on
from ocr_onnx.types import Image, Text

TARGET = Path(__file__).parents[1] / "docs" / "chains.md"
BEGIN, END = "<!-- figures: make calibration -->\n", "<!-- end of figures -->\n"

MODELS = (
    "PP-OCRv6_tiny_rec",
    "PP-OCRv6_small_rec",
    "PP-OCRv5_mobile_rec",
    "korean_PP-OCRv3_mobile_rec",
    "japan_PP-OCRv3_mobile_rec",
    "latin_PP-OCRv3_mobile_rec",
    "chinese_cht_PP-OCRv3_mobile_rec",
)

CHAINS = (MODELS[:2], (MODELS[1], MODELS[3]), (MODELS[5], MODELS[4]), (MODELS[1], MODELS[3], MODELS[4]))

SCRIPTS = {
    "Chinese": ("reports", "ch", "chinese_traditional"),
    "Latin": ("street", "en", "italian", "portuguese", "spanish", "french", "german", "occitan", "serbian_latin"),
    "Korean": ("korean",),
    "Japanese": ("japan",),
}

LEAST_SIDE = 10
"""Pixels; smaller crops are not legible."""

EVERY_PHOTOGRAPH, EVERY_PAGE, EVERY_LINE = 2, 4, 5
"""Every so many of each are used."""

LENGTHS = range(3, 40)
"""Characters of the lines of reports that are used."""

PRIOR, WEIGHT = (0.8, -2.6), 1.0
"""The curve to which the fit is drawn, and how much: as if by so many lines."""

BOUNDS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
"""Of the scores, for the table."""


class Line(NamedTuple):
    """A labelled line."""

    source: str
    image: Image
    text: str


def lines(data: Path) -> Iterator[Line]:
    """Yield the labelled lines of all sets."""
    for crop in (*street(data / "icdar2015"), *reports(data / "zh_pdf_pages"), *words(data / "paddleocr_docimgs")):
        if min(crop.image.shape[:2]) > LEAST_SIDE:
            yield crop


def street(folder: Path) -> Iterator[Line]:
    """Yield words of street photographs."""
    for row in (folder / "labels.txt").read_text("utf-8-sig").splitlines()[::EVERY_PHOTOGRAPH]:
        name, _, labels = row.partition("\t")
        (page,) = sources.read_pages(folder / Path(name).name)
        for word in json.loads(labels):
            if word["transcription"] != IGNORED:
                crop = geometry.crop(page.image, np.array(word["points"], np.int32))
                if crop.size:
                    yield Line("street", crop, word["transcription"])


def reports(folder: Path) -> Iterator[Line]:
    """Yield lines of Chinese reports."""
    for labelled in json.loads((folder / "labels.json").read_text("utf-8"))[::EVERY_PAGE]:
        (page,) = sources.read_pages(folder / labelled["file"])
        for line in labelled["lines"][::EVERY_LINE]:
            text, box = (line["text"], line["box"]) if isinstance(line, dict) else line[:2]
            points = np.array(box, np.float64).reshape(-1, 2).astype(int)
            (left, top), (right, bottom) = (points.min(axis=0) - 3).clip(0), points.max(axis=0) + 3
            crop = np.ascontiguousarray(page.image[top:bottom, left:right])
            if crop.size and len(text) in LENGTHS:
                yield Line("reports", crop, text)


def words(folder: Path) -> Iterator[Line]:
    """Yield word images in many scripts."""
    for row in (folder / "words_labels.tsv").read_text("utf-8").splitlines():
        name, text = row.split("\t")[0], row.split("\t")[-1]
        file = next((path for path in folder.rglob(Path(name).name) if path.as_posix().endswith(name)), None)
        if file is not None:
            (page,) = sources.read_pages(file)
            yield Line(name.split("/")[0], page.image, text)


def plain(text: str) -> str:
    """The text without case and spaces."""
    return "".join(text.lower().split())


def fit(scores: NDArray[np.float64], right: NDArray[np.float64]) -> tuple[float, float]:
    """Fit the logistic curve by Newton's method with step halving; return its slope and offset."""
    clipped = scores.clip(CERTAIN, 1 - CERTAIN)
    inputs = np.stack([np.log(clipped / (1 - clipped)), np.ones_like(clipped)], 1)
    prior = np.array(PRIOR)

    def loss(at: NDArray[np.float64]) -> float:
        logits = inputs @ at
        return float(np.sum(np.logaddexp(0, logits) - right * logits) + WEIGHT / 2 * np.sum((at - prior) ** 2))

    found = prior.copy()
    for _ in range(100):
        share = 1 / (1 + np.exp(-inputs @ found))
        gradient = inputs.T @ (share - right) + WEIGHT * (found - prior)
        hessian = (inputs * (share * (1 - share))[:, None]).T @ inputs + WEIGHT * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        while loss(found - step) > loss(found) and np.abs(step).max() > 1e-9:
            step = step / 2
        found = found - step
    return round(float(found[0]), 2), round(float(found[1]), 2)


def chained(models: Sequence[str], readings: Mapping[str, Sequence[Text]], line: int) -> Text:
    """The text that a chain returns for a line, from the readings of its models."""
    best = readings[models[0]][line]._replace(model=models[0])
    for step, name in enumerate(models[1:]):
        if not goes_on(best, RecognitionOptions(), step):
            break
        best = better(best, readings[name][line]._replace(model=name))
    return best


def calibration_table(readings: Mapping[str, Sequence[Text]], labelled: Sequence[Line]) -> Iterator[str]:
    """Yield the rows of the curves, with the share of right lines by score."""
    bins = list(itertools.pairwise(BOUNDS))
    yield f"| model | slope, offset | {' | '.join(f'{low:g} to {high:g}' for low, high in bins)} |"
    yield f"|---|---|{'--:|' * len(bins)}"
    for name, texts in readings.items():
        scores = np.array([text.score for text in texts])
        right = np.array([plain(t.text) == plain(line.text) for t, line in zip(texts, labelled, strict=True)], float)
        within = [(scores >= low) & ((scores < high) | (high == 1)) for low, high in bins]
        shares = [f"{right[each].mean():.2f} of {each.sum()}" if each.any() else "" for each in within]
        slope, offset = fit(scores, right)
        yield f"| {name} | {slope}, {offset} | {' | '.join(shares)} |"


def chain_table(readings: Mapping[str, Sequence[Text]], labelled: Sequence[Line]) -> Iterator[str]:
    """Yield the rows of right lines by script, of each model and each chain."""
    yield f"| recognition | {' | '.join(SCRIPTS)} |"
    yield f"|---|{'--:|' * len(SCRIPTS)}"
    for models in (*((name,) for name in readings), *CHAINS):
        if set(models) <= readings.keys():
            found = [chained(models, readings, i) for i in range(len(labelled))]
            equal = [plain(text.text) == plain(line.text) for text, line in zip(found, labelled, strict=True)]
            of_script = [[i for i, line in enumerate(labelled) if line.source in names] for names in SCRIPTS.values()]
            counts = " | ".join(f"{sum(equal[i] for i in each)} of {len(each)}" for each in of_script)
            yield f"| {', then '.join(models)} | {counts} |"


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The folder with the labelled sets.")
def main(data: Path) -> None:
    """Read all lines with every model on this machine, and write the tables."""
    labelled = list(lines(data))
    readings: dict[str, list[Text]] = {}
    for name in MODELS:
        if store.is_missing(name):
            click.echo(f"SKIPPED: ocr-onnx models pull {name}", err=True)
            continue
        recognize = TextRecognizer(*loading.load(name, "text_recognition", CPU, 1), cores(None))
        readings[name] = recognize([line.image for line in labelled])
        click.echo(f"{name}: done", err=True)
    tables = "\n".join([*calibration_table(readings, labelled), "", *chain_table(readings, labelled)])
    TARGET.write_text(records.with_part(TARGET.read_text("utf-8"), BEGIN, f"\n{tables}\n\n", END), "utf-8")
    click.echo(tables)


if __name__ == "__main__":
    main()
