"""Measure the speed of a GPU, and compare its texts with PaddleOCR's: benchmarks/results/gpu.md.

    python -m benchmarks.gpu --reference FOLDER
    python -m benchmarks.gpu --provider TensorrtExecutionProvider --provider CUDAExecutionProvider --reference FOLDER

Three variants take turns: the CPU, and the GPU in both modes, each warmed up. Texts are compared with PaddleOCR's recorded texts.
Models are run on usual shapes. Pictures are read from file to text without orientation, with detection at 960 pixels, one call
per picture and all in one call. RapidOCR on CUDA with default settings reads them too, one call per picture, if its environment is
given. Then the GPU reads pictures of new sizes twice in both modes: the stall is the extra time of the first reading. TensorRT builds
missing engines first, which can take minutes and is not counted.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np

from benchmarks import fidelity, records
from benchmarks.labelled import spread
from benchmarks.machine import circumstances
from benchmarks.modes import without_orientation
from benchmarks.peers import PICTURES, SIDE
from benchmarks.runners.process import ROOT, Peer, Runner
from benchmarks.runners.protocol import Settings
from ocr_onnx import OCR, DetectionOptions, Models, OCROptions
from ocr_onnx.runtime import libraries
from ocr_onnx.runtime.batching import Batch, Shapes
from ocr_onnx.runtime.provider_specs import Mode
from ocr_onnx.runtime.selection import choose_placement
from ocr_onnx.runtime.threads import cpu_count
from ocr_onnx.types import Page, Run

OPTIONS: Mapping[Mode, OCROptions] = {
    "standard": OCROptions(),
    "high-performance": OCROptions.high_performance(),
}
SIZE = DetectionOptions(limit_side_len=SIDE, limit_type="max")

LINES, WIDTH = 48, 320
"""Of a page of text: how many lines, and of which width, recognition and line orientation are timed on."""
WARM_UP = 3
"""Pictures, and runs of a model, that are not counted."""
LEAST, MOST = 100, 1600
"""Sides of the pictures of unseen sizes, in pixels."""
STALL = 0.1
"""Seconds that no first reading may take longer than the second."""

PUBLISHED = {"text_detection": "10.67 / 6.36", "text_recognition": "5.43 / 1.46"}
"""PaddleOCR's own figures of PP-OCRv5 mobile models on a Tesla T4, in milliseconds, normal / high-performance mode:
https://www.paddleocr.ai/latest/en/version3.x/module_usage/text_detection.html and text_recognition.html there."""


@dataclass(frozen=True, slots=True)
class Way:
    """What pictures are read on."""

    name: str
    device: str | None
    providers: tuple[str, ...] = ()
    mode: Mode = "standard"

    def ocr(self, options: OCROptions, models: Models | None = None) -> OCR:
        """An engine that runs so, warm."""
        made = OCR(
            options, models=models, device=choose_placement(self.device, self.providers, self.mode, build_missing=True)
        )
        made.warm_up()
        return made

    def for_race(self) -> OCR:
        """One that reads pictures as all that take part do."""
        return self.ocr(without_orientation(replace(OPTIONS[self.mode], detection=SIZE)))


def ways(device: str, providers: tuple[str, ...]) -> list[Way]:
    """The processor, and the GPU in both modes."""
    named = None if providers else device
    on = " and ".join(name.partition(":")[0] for name in providers) or device
    gpu = [Way(f"{on}, {mode}", named, providers, mode) for mode in OPTIONS]
    return [Way(f"processor, {cpu_count()} cores", "cpu"), *gpu]


def compare(way: Way, reference: Path | None, pictures: int | None) -> dict[str, Any]:
    """Equal texts and all texts of each recording; of each so many pictures at most."""
    rows = {}
    for recording in fidelity.recordings(reference, None):
        ocr = way.ocr(recording.options, recording.models)
        tally = fidelity.compare(recording, ocr, pictures)
        rows[recording.file.stem] = {"texts": tally.texts, "equal": tally.texts_equal}
    return rows


def model_times(way: Way, rounds: int) -> dict[str, float]:
    """Milliseconds of each model: of a page of 960 x 960, or a line of many, run as the pipeline runs them."""
    ocr = way.ocr(OCROptions())
    page = np.random.default_rng(0).random((1, 3, SIDE, SIDE), np.float32)
    if ocr.classify_page is None or ocr.classify_lines is None:
        raise RuntimeError("orientation is on by default")
    small = page[..., : ocr.classify_page.metadata.input_shape[1], : ocr.classify_page.metadata.input_shape[2]]

    def all_lines(kinds: Shapes, run: Run, height: int, width: int) -> None:
        def task(batch: Batch) -> list[None]:
            run(np.resize(page, (batch.size, 3, height, batch.width)))
            return [None] * len(batch.members)

        replace(kinds, widths=()).run_lines(task, [width] * LINES, None)

    classify_lines = ocr.classify_lines
    calls: dict[str, tuple[Callable[[], object], int]] = {
        "text_detection": (lambda: ocr.detect.run(page), 1),
        "text_recognition": (lambda: all_lines(ocr.recognize.shapes, ocr.recognize.run, 48, WIDTH), LINES),
        "doc_orientation": (lambda: ocr.classify_page and ocr.classify_page.run(small), 1),
        "textline_orientation": (
            lambda: all_lines(classify_lines.shapes, classify_lines.run, *classify_lines.metadata.input_shape[1:]),
            LINES,
        ),
    }
    return {task: 1e3 * median_of(call, rounds) / count for task, (call, count) in calls.items()}


def median_of(call: Callable[[], object], rounds: int) -> float:
    """Seconds that a call takes, once it is warm."""
    taken = []
    for turn in range(WARM_UP + rounds):
        begun = time.perf_counter()
        call()
        if turn >= WARM_UP:
            taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def race(taking_part: Sequence[Way], paths: Sequence[Path], rounds: int, rapidocr: Path | None) -> dict[str, float]:
    """Seconds for all pictures, one after the other, by way: the best of each picture's rounds; the ways take turns."""
    with contextlib.ExitStack() as stack:
        readers: dict[str, Callable[[Path], float]] = {way.name: _timed(way.for_race()) for way in taking_part}
        if rapidocr is not None:
            runner = stack.enter_context(_rapidocr(rapidocr))
            readers["RapidOCR on CUDA, as it ships"] = lambda path: float(runner.ask(path)["wall"])
        for path in paths[:WARM_UP]:
            for read in readers.values():
                read(path)
        total = dict.fromkeys(readers, 0.0)
        for path in paths:
            turns = [{name: read(path) for name, read in readers.items()} for _ in range(rounds)]
            for name in readers:
                total[name] += min(turn[name] for turn in turns)
    return total


def in_one_call(taking_part: Sequence[Way], paths: Sequence[Path], rounds: int) -> dict[str, float]:
    """Seconds for all pictures, given to one call, by way: the best of the rounds; the ways take turns."""
    readers = {way.name: _timed(way.for_race()) for way in taking_part}
    turns = [{name: read(paths) for name, read in readers.items()} for _ in range(rounds + 1)]
    return {name: min(turn[name] for turn in turns[1:]) for name in readers}


def _timed(ocr: OCR) -> Callable[[Path | Sequence[Path]], float]:
    def read(given: Path | Sequence[Path]) -> float:
        begun = time.perf_counter()
        ocr.predict(given)
        return time.perf_counter() - begun

    return read


def _rapidocr(environment: Path) -> Runner:
    """RapidOCR's process in an environment with rapidocr and onnxruntime-gpu."""
    models = ROOT / ".cache" / "peers" / "models"
    detection, recognition = (str(models / f"PP-OCRv5_mobile_{task}") for task in ("det", "rec"))
    settings = Settings(detection, recognition, threads=cpu_count(), side=SIDE)
    log = Path(tempfile.gettempdir(), "rapidocr-cuda.log")
    return Runner(Peer("RapidOCR", environment.absolute(), "rapidocr", "onnxruntime-cuda"), settings, log)


def stalls(way: Way, count: int) -> dict[str, float]:
    """Of pictures of unseen sizes: the seconds that the first reading took longer than the second, and the longest first reading."""
    ocr = way.ocr(OPTIONS[way.mode])
    picture = np.asarray(cv2.imread(str(fidelity.OWN / "dense.png")), np.uint8)
    longer, first = [], []
    for width, height in np.random.default_rng(11).integers(LEAST, MOST, (count, 2)).tolist():
        page = Page(np.asarray(cv2.resize(picture, (width, height)), np.uint8))
        times = []
        for _ in range(2):
            begun = time.perf_counter()
            ocr.read(page, ocr.options)
            times.append(time.perf_counter() - begun)
        longer.append(times[0] - times[1])
        first.append(times[0])
    return {"sizes": count, "stall": max(longer), "longest": max(first), "median": statistics.median(first)}


def markdown(result: Mapping[str, Any]) -> str:
    """gpu.md."""
    return "\n".join(_lines(result)) + "\n"


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    names = list(result["models"])
    yield from ("# GPU", "", f"Written by `make bench-gpu`. {result['circumstances']}; {result['gpu']}.", "")
    yield from (
        "## Equal texts",
        "",
        "Compared with PaddleOCR's recorded texts. Both modes use the recorded sizes and padding; modes.md has the effect of high-performance mode's own.",
        "",
    )
    yield f"| recording | texts | {' | '.join(result['fidelity'])} |"
    yield "|---|--:|" + "--:|" * len(result["fidelity"])
    recordings = next(iter(result["fidelity"].values()))
    for recording, row in recordings.items():
        shares = (100 * rows[recording]["equal"] / max(row["texts"], 1) for rows in result["fidelity"].values())
        yield f"| {recording} | {row['texts']} | {' | '.join(f'{share:.2f} %' for share in shares)} |"
    yield from (
        "",
        "## Models",
        "",
        f"Milliseconds: pages of {SIDE} x {SIDE}, lines of {WIDTH} pixels, {LINES} of them.",
        "",
    )
    yield f"| task | {' | '.join(names)} | PaddleOCR's, on a T4 |"
    yield "|---|" + "--:|" * len(names) + "---|"
    for task in result["models"][names[0]]:
        times = " | ".join(f"{result['models'][name][task]:.2f}" for name in names)
        yield f"| {task} | {times} | {PUBLISHED.get(task, '')} |"
    yield from (
        "",
        "PaddleOCR's figures are published ones, on its own pictures, normal / high-performance mode; they are for context only.",
        "",
    )
    yield from ("## Pictures", "", f"{result['pictures']} pictures, from file to text, without orientation.", "")
    yield from (
        "| variant | seconds, one call per picture | ratio to the CPU | seconds, one call | ratio to the CPU |",
        "|---|--:|--:|--:|--:|",
    )
    first, at_once = next(iter(result["race"].values())), result["in_one_call"]
    for name, seconds in result["race"].items():
        together = at_once.get(name)
        rest = "|" if together is None else f"{together:.2f} | {together / next(iter(at_once.values())):.2f}"
        yield f"| {name} | {seconds:.2f} | {seconds / first:.2f} | {rest} |"
    if not any(name.startswith("RapidOCR") for name in result["race"]):
        yield from ("", "RapidOCR was not measured: its environment was not given (`--rapidocr`).")
    sizes = next(iter(result["stalls"].values()))["sizes"]
    yield from ("", "## New sizes", "", f"{sizes} pictures of new sizes, after the warm-up.", "")
    yield "| variant | largest excess of the first reading over the second | limit | longest first reading | median |"
    yield "|---|--:|--:|--:|--:|"
    for name, found in result["stalls"].items():
        times = " | ".join(
            f"{1e3 * seconds:.0f} ms" for seconds in (found["stall"], STALL, found["longest"], found["median"])
        )
        yield f"| {name} | {times} |"


@click.command(help=__doc__)
@click.option("--device", default="gpu", show_default=True, help="As of 'ocr-onnx run'.")
@click.option("--provider", "providers", multiple=True, help="As of 'ocr-onnx run', in place of --device.")
@click.option("--reference", type=click.Path(path_type=Path), help="A folder with golden/ and data/.")
@click.option("--rapidocr", type=click.Path(path_type=Path), help="An environment with rapidocr and onnxruntime-gpu.")
@click.option("--pictures", type=click.IntRange(1), help="So many at most, and of each recording; default: all.")
@click.option("--sizes", default=200, show_default=True, type=click.IntRange(1), help="Pictures of unseen sizes.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
def main(device: str, providers: tuple[str, ...], reference: Path | None, rapidocr: Path | None, **limits: Any) -> None:
    """Measure, and write gpu.json and gpu.md."""
    pictures, taking_part = limits["pictures"], ways(device, providers)
    present = reference if reference is not None and (reference / "golden").is_dir() else None
    paths = sorted(fidelity.OWN.glob("*.png")) if present is None else spread(present / "data", PICTURES)
    paths = paths[:: max(1, len(paths) // (pictures or len(paths)))][:pictures]
    placement = choose_placement(None if providers else device, providers)
    number = int(placement.providers[0].options.get("device_id", "0"))
    result = {
        "circumstances": circumstances(),
        "gpu": (libraries.gpu_name(number) if placement.on_gpu else "") or "no GPU that NVIDIA's driver names",
        "placement": str(placement),
        "fidelity": {way.name: compare(way, present, pictures) for way in taking_part[1:]},
        "models": {way.name: model_times(way, limits["rounds"]) for way in taking_part},
        "pictures": len(paths),
        "race": race(taking_part, paths, limits["rounds"], rapidocr),
        "in_one_call": in_one_call(taking_part, paths, limits["rounds"]),
        "stalls": {way.name: stalls(way, limits["sizes"]) for way in taking_part[1:]},
    }
    records.keep("gpu", result, markdown(result))
    click.echo(markdown(result))


if __name__ == "__main__":
    main()
