"""Measure the latency of every model on this machine, and of whole pages: benchmarks/results/latency.md.

    python -m benchmarks.latency

Batch size 1, on the pages of tests/pages, in both modes. The latency of a model is that of its stage: preprocessing, the model,
and postprocessing; the latency of the model only is also listed. As in the pipeline, detection, page orientation and unwarping use
all cores, and a line uses one.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks import cold, records
from benchmarks.accuracy import PAIRS
from benchmarks.machine import circumstances
from benchmarks.runners.protocol import Clock
from benchmarks.versions import VERSION_5
from ocr_onnx import OCR, Models, OCROptions
from ocr_onnx.inputs import sources
from ocr_onnx.models import store, zoo
from ocr_onnx.models.metadata import Task
from ocr_onnx.runtime import profiling
from ocr_onnx.runtime.providers import CPU
from ocr_onnx.runtime.threads import cpu_count
from ocr_onnx.stages import geometry, loading
from ocr_onnx.stages.detection import TextDetector
from ocr_onnx.stages.orientation import LineClassifier, PageClassifier
from ocr_onnx.stages.recognition import TextRecognizer
from ocr_onnx.stages.unwarping import TextImageUnwarper
from ocr_onnx.types import Image

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "ocr_onnx" / "sample.png"
PAGES = tuple(
    ROOT / "tests" / "pages" / name
    for name in ("cjk.png", "dense.png", "letter.png", "mixed.png", "noisy.jpg", "receipt.png")
)

MODES = {"standard": OCROptions(), "high-performance": OCROptions.high_performance()}
"""Ways to run the models, each with columns of its own."""

DIFFER = frozenset({"text_detection", "text_recognition"})
"""The tasks that the modes do each in its own way."""

STAGES = {
    "classify_page": "page orientation",
    "detect": "detection",
    "classify_lines": "line orientation",
    "recognize": "recognition",
}
"""Parts of OCR, and what they are called in the table."""

LINES = 4
"""Taken of each page."""
ROUNDS = 5
COLD_RUNS = 5
BUDGET = 10.0
"""Seconds a model is given in each mode: a slow one does fewer rounds, at least one."""


@dataclass(slots=True)
class Times:
    """Seconds, a call each."""

    stage: list[float] = field(default_factory=list)
    model: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def pages() -> list[Image]:
    """The pictures to measure with."""
    return [page.image for path in PAGES for page in sources.read_pages(path)]


def lines(images: Sequence[Image]) -> list[Image]:
    """Some lines of each page, as detection finds them."""
    detect = TextDetector(*loading.load("PP-OCRv5_mobile_det", "text_detection", CPU, cpu_count()))
    found: list[Image] = []
    for image in images:
        crops = [geometry.crop(image, box.quad) for box in geometry.reading_order(detect(image))]
        found += [crop for crop in crops if crop.size][:: max(1, len(crops) // LINES)][:LINES]
    return found


def stage(name: str, task: Task, clock: Clock, mode: OCROptions) -> Callable[[Image], object]:
    """A stage of one model that takes one picture; its runs are timed as `model`."""
    whole = task not in {"text_recognition", "textline_orientation"}
    session, metadata = loading.load(name, task, CPU, cpu_count() if whole else 1)
    run = clock.timed("model", session)
    if task == "text_detection":
        detect = TextDetector(run, metadata)
        return lambda image: detect(image, mode.detection)
    if task == "text_recognition":
        recognize = TextRecognizer(run, metadata)
        return lambda image: recognize([image], mode.recognition)
    if task == "textline_orientation":
        classify_lines = LineClassifier(run, metadata)
        return lambda image: classify_lines([image])
    return PageClassifier(run, metadata) if task == "doc_orientation" else TextImageUnwarper(run, metadata)


def measure_model(spec: zoo.ModelSpec, images: Sequence[Image], mode: OCROptions) -> tuple[float, Times]:
    """Seconds to load the model, and what it took for each picture, each once in advance."""
    clock = Clock()
    begun = time.perf_counter()
    call = stage(spec.name, spec.task, clock, mode)
    loaded = time.perf_counter() - begun
    for image in images:
        call(image)
    times, end = Times(), time.perf_counter() + BUDGET
    for _ in range(ROUNDS):
        for image in images:
            clock.take()
            wall, cpu = time.perf_counter(), time.process_time()
            call(image)
            times.stage.append(time.perf_counter() - wall)
            times.cpu.append(time.process_time() - cpu)
            times.model.append(clock.take()["model"])
        if time.perf_counter() > end:
            break
    return loaded, times


def model_row(spec: zoo.ModelSpec, images: Sequence[Image]) -> dict[str, Any]:
    """A model's line of the table, in milliseconds."""
    modes = {
        name: measure_model(spec, images, mode)
        for name, mode in MODES.items()
        if name == "standard" or spec.task in DIFFER
    }
    return {
        "model": spec.name,
        "task": spec.task,
        "bytes": store.path_of(spec.name).stat().st_size,
        "accuracy": spec.accuracy,
        "loaded": 1e3 * modes["standard"][0],
        "modes": {
            mode: {name: quantiles(values) for name, values in asdict(times).items()}
            for mode, (_, times) in modes.items()
        },
    }


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile in milliseconds."""
    return {"median": 1e3 * statistics.median(seconds), "p95": 1e3 * float(np.percentile(seconds, 95))}


def measure_pages(models: Models, options: OCROptions, paths: Sequence[Path]) -> dict[str, Any]:
    """Whole pages from file to text, and their stages."""
    clock = Clock()
    ocr: Any = OCR(options, models=models)
    for name in STAGES:
        if getattr(ocr, name) is not None:
            setattr(ocr, name, clock.timed(name, getattr(ocr, name)))
    taken: dict[str, list[float]] = {}
    count = 0
    for turn in range(ROUNDS + 1):
        for path in paths:
            clock.take()
            wall, cpu = time.perf_counter(), time.process_time()
            (result,) = ocr.predict(path)
            measured = clock.take() | {"page": time.perf_counter() - wall, "processor": time.process_time() - cpu}
            if turn:
                count += len(result.lines)
                for name, seconds in measured.items():
                    taken.setdefault(name, []).append(seconds)
    return {"lines": count // ROUNDS, "stages": {name: quantiles(seconds) for name, seconds in taken.items()}}


def in_models(options: OCROptions, paths: Sequence[Path]) -> float:
    """The part of the process's time on one core that is spent within the models' runs, once they are warm."""
    ocr = OCR(options, models=VERSION_5, cpu_threads=1)
    ocr.predict(list(paths))
    with profiling.record() as profile:
        ocr.predict(list(paths))
    return sum(span.own for span in profile.spans if span.name.endswith(": session")) / profile.cpu


def whole_pages() -> Iterator[dict[str, Any]]:
    """Pages by the default pipeline in each mode, then by each pair of models without orientation."""
    for name, mode in MODES.items():
        row = measure_pages(VERSION_5, mode, PAGES)
        yield {
            "models": f"default, with page and line orientation, {name} mode",
            **row,
            "in_models": in_models(mode, PAGES),
        }
    off = OCROptions(use_doc_orientation_classify=False, use_textline_orientation=False)
    for pair in PAIRS:
        if all(store.path_of(name).is_file() for name in pair):
            yield {"models": " + ".join(pair), **measure_pages(Models(*pair), off, PAGES)}


def markdown(result: Mapping[str, Any]) -> str:
    """All tables."""
    rows, whole, started = result["models"], result["pages"], result["cold"]
    heads = " | ".join(f"{mode}: median ms | p95 | model only | processor time" for mode in MODES)
    table = [f"| model | task | MB | published accuracy | {heads} | load time, ms |"]
    table += [f"|---|---|--:|--:|{'--:|--:|--:|--:|' * len(MODES)}--:|", *map(_model_line, rows)]
    names = [name for name in STAGES if name in whole[0]["stages"]]
    titles = " | ".join(STAGES[name] for name in names)
    pages_table = [f"| models | page: median ms | p95 ms | processor ms | {titles} | in ONNX Runtime |"]
    pages_table += [f"|---|--:|--:|--:|{'--:|' * len(names)}--:|", *(_page_line(each, names) for each in whole)]
    cold_table = ["| command | median s | minimum | maximum | peak MB |", "|---|--:|--:|--:|--:|"]
    for name, run in started.items():
        peak = statistics.median(run["peak"]) * 1024 / 1e6
        wall = run["wall"]
        cold_table.append(
            f"| {name} | {statistics.median(wall):.2f} | {min(wall):.2f} | {max(wall):.2f} | {peak:.0f} |"
        )
    return f"""# Latency

Written by `make bench`. {result["circumstances"]}. Batch size 1, on
{len(PAGES)} pages of tests/pages ({whole[0]["lines"]} lines) and on {result["lines"]} lines of them. Published accuracy is
PaddleOCR's own figure, as in README.md.

## Models

Latency of the whole stage in milliseconds: detection, page orientation and unwarping on all cores, one line on one core. If
the modes do not differ, there is one figure.

{chr(10).join(table)}

## Pages

Milliseconds per page, from the file to the text; stages are medians. The last column is the share of the processor time that is spent
in runs of ONNX Runtime, for warm pages on one core (where a profile can distinguish all threads).

{chr(10).join(pages_table)}

## Cold start

Whole commands, {COLD_RUNS} runs in turns.

{chr(10).join(cold_table)}
"""


def _model_line(row: Mapping[str, Any]) -> str:
    accuracy = "" if row["accuracy"] is None else f"{row['accuracy']:g}"
    cells = [row["model"], row["task"], f"{row['bytes'] / 1e6:.1f}", accuracy]
    for mode in MODES:
        taken = row["modes"].get(mode)
        if taken is None:
            cells += [""] * 4
            continue
        figures = (taken["stage"]["median"], taken["stage"]["p95"], taken["model"]["median"], taken["cpu"]["median"])
        cells += [f"{figure:.1f}" for figure in figures]
    return f"| {' | '.join(cells)} | {row['loaded']:.0f} |"


def _page_line(row: Mapping[str, Any], names: Sequence[str]) -> str:
    stages = row["stages"]
    figures = [stages["page"]["median"], stages["page"]["p95"], stages["processor"]["median"]]
    shown = [f"{figure:.0f}" for figure in figures]
    shown += [f"{stages[name]['median']:.0f}" if name in stages else "" for name in names]
    shown.append(f"{row['in_models']:.1%}" if "in_models" in row else "")
    return f"| {row['models']} | {' | '.join(shown)} |"


@click.command(help=__doc__)
@click.option("--write/--no-write", default=True, help="Write benchmarks/results.")
def main(write: bool) -> None:
    """Measure everything and write the tables."""
    # First, while this process is small: see cold.Cold.
    ours = [sys.executable, "-m", "ocr_onnx"]
    started = cold.measure(
        {"ocr-onnx --help": [*ours, "--help"], "ocr-onnx run sample.png": [*ours, "run", str(SAMPLE)]}, COLD_RUNS
    )
    images = pages()
    cut = lines(images)
    here = [spec for spec in zoo.models().values() if store.path_of(spec.name).is_file()]
    rows = []
    for spec in here:
        rows.append(model_row(spec, cut if spec.task in {"text_recognition", "textline_orientation"} else images))
        click.echo(f"{spec.name}: {rows[-1]['modes']['standard']['stage']['median']:.1f} ms", err=True)
    result = {
        "circumstances": circumstances(),
        "lines": len(cut),
        "models": rows,
        "pages": list(whole_pages()),
        "cold": {name: asdict(runs) for name, runs in started.items()},
    }
    click.echo(markdown(result))
    if write:
        records.keep("latency", result, markdown(result))


if __name__ == "__main__":
    main()
