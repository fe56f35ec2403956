"""Measure single models on the labelled sets: the second part of docs/choosing-a-model.md."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.labelled import Score, compare_boxes, street
from ocr_onnx.inputs import sources
from ocr_onnx.models import store, zoo
from ocr_onnx.models.metadata import Task
from ocr_onnx.options import DetectionOptions, LineOrientationOptions, RecognitionOptions
from ocr_onnx.runtime.providers import CPU
from ocr_onnx.runtime.threads import cpu_count
from ocr_onnx.stages import geometry
from ocr_onnx.stages.detection import TextDetector
from ocr_onnx.stages.loading import load
from ocr_onnx.stages.orientation import LineClassifier, PageClassifier
from ocr_onnx.stages.recognition import TextRecognizer
from ocr_onnx.types import Image

GROUPS = {
    "Chinese": ("ch",),
    "traditional": ("chinese_traditional",),
    "English": ("en",),
    "Latin": ("french", "german", "italian", "occitan", "portuguese", "serbian_latin", "spanish"),
    "Japanese": ("japan",),
    "Korean": ("korean",),
    "Cyrillic": ("serbian_cyrillic", "belarusian", "bulgarian", "ukranian"),
}
"""Folders of word crops that stand under one heading."""

ROUNDS = 5
TURNS = (0, 90, 180, 270)
EACH = LineOrientationOptions(batch_size=1)


def first(path: Path) -> Image:
    """The first picture of a file."""
    return next(iter(sources.read_pages(path))).image


def here(task: Task) -> list[str]:
    """The models of a task on this machine."""
    return [spec.name for spec in zoo.models().values() if spec.task == task and store.path_of(spec.name).is_file()]


def table(head: str, rows: Iterator[Sequence[Any]]) -> str:
    """A table in Markdown; all columns but the first to the right."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join([f"| {head} |", "|---" + "|--:" * head.count("|") + "|", *lines])


def milliseconds(task: Callable[[], object]) -> float:
    """Of one call on one core, the median of a few: the core's own time, which others on the machine do not add to."""
    task()
    times = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        task()
        times.append((time.process_time() - begun) * 1000)
    return statistics.median(times)


def megabytes(name: str) -> str:
    """Of a model's file."""
    return f"{store.find(name).stat().st_size / 1e6:.1f}"


def recognition(data: Path) -> Iterator[Sequence[Any]]:
    """Words read without a fault, by script; the time of one crop."""
    folder = data / "paddleocr_docimgs"
    lines = (folder / "words_labels.tsv").read_text("utf-8").splitlines()
    words = [
        (name.split("/")[0], first(next(folder.rglob(name))), text) for name, text in (x.split("\t") for x in lines)
    ]
    for name in here("text_recognition"):
        read = TextRecognizer(*load(name, "text_recognition", CPU, 1))
        found = [read([crop], RecognitionOptions())[0].text for _, crop, _ in words]
        cells = []
        for members in GROUPS.values():
            right = [found[i].strip() == text for i, (script, _, text) in enumerate(words) if script in members]
            cells.append(f"{sum(right)}/{len(right)}")
        times = [milliseconds(partial(read, [crop])) for _, crop, _ in words[:8]]
        yield name, *cells, f"{statistics.median(times):.1f}", megabytes(name)


def detection(data: Path) -> Iterator[Sequence[Any]]:
    """Boxes on street photographs; the time of one photograph."""
    images = [(label, first(label.path)) for label in street(data / "icdar2015")]
    for name in here("text_detection"):
        detect = TextDetector(*load(name, "text_detection", CPU, 1))
        score = Score()
        for label, image in images:
            score.add(*compare_boxes([box.quad for box in detect(image, DetectionOptions())], label))
        times = [milliseconds(partial(detect, image)) for _, image in images[:5]]
        yield name, f"{score.f1:.3f}", f"{statistics.median(times):.0f}", megabytes(name)


def orientation(data: Path) -> Iterator[Sequence[Any]]:
    """Pages and lines judged rightly, each turned every way."""
    pages = [
        first(path) for folder in ("sroie", "zh_pdf_pages") for path in sorted((data / folder).glob("*.[jp][pn]g"))
    ]
    for name in here("doc_orientation"):
        classify = PageClassifier(*load(name, "doc_orientation", CPU, 1))
        turned = [(np.rot90(page, -turn // 90), turn) for page in pages for turn in TURNS]
        right = sum(classify(np.ascontiguousarray(page)).angle == turn for page, turn in turned)
        yield name, f"{right}/{len(turned)} pages", f"{milliseconds(partial(classify, pages[0])):.1f}", megabytes(name)
    lines = list(_lines(pages))
    for name in here("textline_orientation"):
        judge = LineClassifier(*load(name, "textline_orientation", CPU, 1))
        right = sum(o.angle == 0 for o in judge(lines, EACH))
        right += sum(o.angle == 180 for o in judge([geometry.rotate(x, 180) for x in lines], EACH))
        time_each = milliseconds(partial(judge, lines[:1], EACH))
        yield name, f"{right}/{2 * len(lines)} lines", f"{time_each:.1f}", megabytes(name)


def _lines(pages: Sequence[Image]) -> Iterator[Image]:
    """Every fifth line that the embedded detector finds."""
    detect = TextDetector(*load("PP-OCRv5_mobile_det", "text_detection", CPU, cpu_count()))
    for page in pages:
        for box in geometry.reading_order(detect(page))[::5]:
            yield geometry.crop(page, box.quad)


def report(data: Path) -> str:
    """The part of the page."""
    parts = [
        "## Single models\n",
        "Times are measured on one core. Recognition: correctly read words of 35 crops, by script; time for one crop.\n",
        table(f"model | {' | '.join(GROUPS)} | ms | MB", recognition(data)),
        "\nDetection: F1 of boxes on the street photographs; time for one photograph (1280 x 720).\n",
        table("model | boxes | ms | MB", detection(data)),
        "\nOrientation: receipts and reports rotated by multiples of 90°; their lines, upright and upside down.\n",
        table("model | correct | ms | MB", orientation(data)),
        "",
    ]
    click.echo("single models: done", err=True)
    return "\n".join(parts)
