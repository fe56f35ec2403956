"""Measure the latency of every model on this machine, and of whole pages: benchmarks/results/latency.md.

    python -m benchmarks.latency
    python -m benchmarks.latency --made-up FOLDER --device gpu

Batch size 1, on the pages of tests/pages, in both modes. The latency of a model is that of its stage: preprocessing, the model,
and postprocessing. As in the pipeline, detection, page orientation and unwarping use all cores of a CPU, and a line uses one.
`--made-up` has models with made-up weights (benchmarks.made_up_models), for the models that are not on this machine. The table is
written only if it has at least as many models as the one before.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np

from benchmarks import cold, records
from benchmarks.accuracy import PAIRS
from benchmarks.machine import circumstances
from benchmarks.runners.protocol import Clock
from ocr_onnx import OCR, Models, OCROptions
from ocr_onnx.inputs import sources
from ocr_onnx.models import store, zoo
from ocr_onnx.models.metadata import Task
from ocr_onnx.runtime import batching, profiling
from ocr_onnx.runtime.provider_specs import Mode
from ocr_onnx.runtime.providers import CPU, Placement
from ocr_onnx.runtime.selection import choose_placement
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

ABSENT = "\N{EN DASH}"
"""In the place of a figure that was not measured."""

TASKS: Mapping[Task, str] = {
    "doc_orientation": "Page orientation",
    "image_unwarping": "Unwarping",
    "textline_orientation": "Line orientation",
    "text_detection": "Detection",
    "text_recognition": "Recognition",
}
"""The tasks in the order of the table, with their names there."""

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


def stage(model: str | Path, task: Task, clock: Clock, mode: OCROptions, where: Placement) -> Callable[[Image], object]:
    """A stage of one model that takes one picture; its runs are timed as `model`."""
    whole = task not in {"text_recognition", "textline_orientation"}
    session, metadata = loading.load(model, task, where, cpu_count() if whole else 1)
    shapes = batching.shapes_for(where.for_model(metadata.name), metadata, masked=session.masked)
    run = clock.timed("model", session)
    if task == "text_detection":
        detect = TextDetector(run, metadata, shapes)
        return lambda image: detect(image, mode.detection)
    if task == "text_recognition":
        recognize = TextRecognizer(run, metadata, 1, shapes)
        return lambda image: recognize([image], mode.recognition)
    if task == "textline_orientation":
        classify_lines = LineClassifier(run, metadata, 1, shapes)
        return lambda image: classify_lines([image])
    return PageClassifier(run, metadata) if task == "doc_orientation" else TextImageUnwarper(run, metadata)


def measure_model(
    model: str | Path, task: Task, images: Sequence[Image], mode: OCROptions, where: Placement
) -> tuple[float, Times]:
    """Seconds to load the model, and what it took for each picture, each once in advance."""
    clock = Clock()
    begun = time.perf_counter()
    call = stage(model, task, clock, mode, where)
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


def model_row(
    spec: zoo.ModelSpec, model: str | Path | None, images: Sequence[Image], devices: Mapping[str, Sequence[Placement]]
) -> dict[str, Any]:
    """A model's line of the table, in milliseconds; `model` is None if it is not on this machine."""
    row = {
        "model": spec.name,
        "task": spec.task,
        "size": spec.size,
        "accuracy": spec.accuracy,
        "made_up": isinstance(model, Path),
    }
    measured: dict[str, dict[str, Any]] = {}
    if model is None:
        return {**row, "devices": measured}
    for device, placements in devices.items():
        for (name, mode), where in zip(MODES.items(), placements, strict=True):
            loaded, times = measure_model(model, spec.task, images, mode, where)
            quick = {part: quantiles(values) for part, values in asdict(times).items()}
            measured.setdefault(device, {})[name] = {**quick, "loaded": 1e3 * loaded}
    return {**row, "devices": measured}


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile in milliseconds."""
    return {"median": 1e3 * statistics.median(seconds), "p95": 1e3 * float(np.percentile(seconds, 95))}


def measure_pages(ocr: OCR, paths: Sequence[Path]) -> dict[str, Any]:
    """Whole pages from file to text."""
    taken: dict[str, list[float]] = {"page": [], "processor": []}
    count = 0
    for turn in range(ROUNDS + 1):
        for path in paths:
            wall, cpu = time.perf_counter(), time.process_time()
            (result,) = ocr.predict(path)
            measured = {"page": time.perf_counter() - wall, "processor": time.process_time() - cpu}
            if turn:
                count += len(result.lines)
                for name, seconds in measured.items():
                    taken[name].append(seconds)
    return {"lines": count // ROUNDS, **{name: quantiles(seconds) for name, seconds in taken.items()}}


def in_models(paths: Sequence[Path]) -> float:
    """The part of the process's time on one core that is spent within the models' runs, once they are warm."""
    ocr = OCR(cpu_threads=1)
    ocr.predict(list(paths))
    with profiling.record() as profile:
        ocr.predict(list(paths))
    return sum(span.own for span in profile.spans if span.name.endswith(": session")) / profile.cpu


def whole_pages() -> Iterator[dict[str, Any]]:
    """Pages by the default pipeline in each mode, then by each pair of models without orientation."""
    for mode in get_args(Mode):
        row = measure_pages(OCR(mode=mode), PAGES)
        # The threads of OpenVINO are not seen.
        share = {"in_models": in_models(PAGES)} if mode == "standard" else {}
        yield {"models": f"default, with page and line orientation, {mode} mode", **row, **share}
    off = OCROptions(use_doc_orientation_classify=False, use_textline_orientation=False)
    for pair in PAIRS:
        if all(store.path_of(name).is_file() for name in pair):
            yield {"models": " + ".join(pair), **measure_pages(OCR(off, models=Models(*pair)), PAGES)}


def markdown(result: Mapping[str, Any]) -> str:
    """All tables."""
    cold_table = ["| command | median s | minimum | maximum | peak MB |", "|---|--:|--:|--:|--:|"]
    for name, run in result["cold"].items():
        peak, wall = statistics.median(run["peak"]) * 1024 / 1e6, run["wall"]
        cold_table.append(
            f"| {name} | {statistics.median(wall):.2f} | {min(wall):.2f} | {max(wall):.2f} | {peak:.0f} |"
        )
    whole = result["pages"]
    pages_table = ["| models | median ms | p95 ms | processor ms | in the models |", "|---|--:|--:|--:|--:|"]
    pages_table += map(_page_line, whole)
    placements = "; ".join(f"{device}: {' and '.join(names)}" for device, names in result["placements"].items())
    return f"""# Latency

Written by `make bench`. {result["circumstances"]}. {placements}. Batch size 1, on
{len(PAGES)} pages of tests/pages ({whole[0]["lines"]} lines) and on {result["lines"]} lines of them.

## Models

The models of PaddleOCR's page, with its figures for size and accuracy, and the models of PP-OCRv6. Latency in milliseconds,
standard / high-performance mode: the median of the whole stage, with preprocessing and postprocessing; detection, page orientation and
unwarping on all cores of a CPU, one line on one core.
\\*: with made-up weights, because the real ones could not be downloaded; the time does not depend on them. {ABSENT}: not measured. The accuracy of UVDoc is an error rate. Speed on a
GPU: [gpu.md](gpu.md).

{chr(10).join(_model_tables(result["models"]))}

## Pages

Milliseconds per page, from the file to the text. The last column is the share of the processor time that is spent in runs of the
models, for warm pages on one core.

{chr(10).join(pages_table)}

## Cold start

Whole commands, {COLD_RUNS} runs in turns.

{chr(10).join(cold_table)}
"""


def _model_tables(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The models, in one table with a section for each task."""
    yield "| model | size, MB | accuracy, % | GPU, ms | CPU, ms | loading, ms |"
    yield "|---|--:|--:|--:|--:|--:|"
    for task, title in TASKS.items():
        yield f"| **{title}** | | | | | |"
        for row in rows:
            if row["task"] == task:
                cpu = row["devices"].get("CPU", {}).get("standard")
                loading_ = f"{cpu['loaded']:.0f}" if cpu else ABSENT
                cells = [
                    _number(row["size"]),
                    _number(row["accuracy"]),
                    _modes(row, "GPU"),
                    _modes(row, "CPU"),
                    loading_,
                ]
                yield f"| {row['model']}{chr(92) + '*' if row['made_up'] else ''} | {' | '.join(cells)} |"


def _number(value: float | None) -> str:
    return ABSENT if value is None else f"{value:g}"


def _modes(row: Mapping[str, Any], device: str) -> str:
    """The latency in both modes."""
    modes = row["devices"].get(device)
    return " / ".join(f"{modes[mode]['stage']['median']:.1f}" for mode in MODES) if modes else ABSENT


def _page_line(row: Mapping[str, Any]) -> str:
    figures = (row["page"]["median"], row["page"]["p95"], row["processor"]["median"])
    share = f"{row['in_models']:.1%}" if "in_models" in row else ""
    return f"| {row['models']} | {' | '.join(f'{figure:.0f}' for figure in figures)} | {share} |"


@click.command(help=__doc__)
@click.option("--made-up", "made_up", type=click.Path(path_type=Path), help="The folder with made-up models.")
@click.option("--device", type=click.Choice(["cpu", "gpu"]), default="cpu", help="gpu: a GPU beside the CPU.")
@click.option("--only", multiple=True, help="Only models whose names begin so.")
@click.option("--write/--no-write", default=True, help="Write benchmarks/results.")
def main(made_up: Path | None, device: str, only: tuple[str, ...], write: bool) -> None:
    """Measure everything and write the tables."""
    # First, while this process is small: see cold.Cold.
    ours = [sys.executable, "-m", "ocr_onnx"]
    started = cold.measure(
        {"ocr-onnx --help": [*ours, "--help"], "ocr-onnx run sample.png": [*ours, "run", str(SAMPLE)]}, COLD_RUNS
    )
    devices = {
        name.upper(): [choose_placement(name, mode=mode) for mode in get_args(Mode)]
        for name in dict.fromkeys(("cpu", device))
    }
    images = pages()
    cut = lines(images)
    rows = []
    for spec in zoo.models().values():
        model = _model(spec, made_up) if spec.name.startswith(only or "") else None
        taken = cut if spec.task in {"text_recognition", "textline_orientation"} else images
        rows.append(model_row(spec, model, taken, devices))
        click.echo(f"{spec.name}: {_modes(rows[-1], 'CPU')} ms", err=True)
    result = {
        "circumstances": circumstances(),
        "placements": {name: [str(each) for each in placements] for name, placements in devices.items()},
        "lines": len(cut),
        "models": rows,
        "pages": list(whole_pages()),
        "cold": {name: asdict(runs) for name, runs in started.items()},
    }
    click.echo(markdown(result))
    before = records.known("latency").get("models", [])
    if _measured(rows) < _measured(before):
        click.echo(
            f"Not written: {_measured(rows)} models are here, and the table has {_measured(before)}. `make models` fetches "
            "more, `make made-up` makes the others."
        )
    elif write:
        records.keep("latency", result, markdown(result))


def _model(spec: zoo.ModelSpec, made_up: Path | None) -> str | Path | None:
    """The model on this machine, by name; else with made-up weights, by path."""
    if store.path_of(spec.name).is_file():
        return spec.name
    path = made_up / f"{spec.name}.onnx" if made_up else None
    return path if path and path.is_file() else None


def _measured(rows: Sequence[Mapping[str, Any]]) -> int:
    """The number of models with figures."""
    return sum(bool(row.get("devices")) for row in rows)


if __name__ == "__main__":
    main()
