"""Measure the speed of a GPU, and compare its texts with the recorded ones of PaddleOCR: benchmarks/results/gpu.md.

    python -m benchmarks.gpu --reference FOLDER
    python -m benchmarks.gpu --provider TensorrtExecutionProvider --provider CUDAExecutionProvider --reference FOLDER

Pictures are read from file to text without orientation, with detection at 960 pixels: one call per picture, and all in one call,
which reads several side by side. Each variant is warmed up first. Then it reads pictures of new sizes twice: the stall is the
extra time of the first reading. Results are written after each step, and steps that do not fit into --seconds are left out.
TensorRT builds missing engines first, which can take minutes and is not counted.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, get_args

import click
import cv2
import numpy as np

from benchmarks import fidelity, records
from benchmarks.labelled import SETS, Score, compare_text
from benchmarks.machine import circumstances
from benchmarks.modes import without_orientation
from benchmarks.peers import PICTURES, SIDE
from benchmarks.pictures import spread
from benchmarks.runners.process import Peer, Runner
from benchmarks.runners.protocol import Settings
from ocr_onnx import OCR, DetectionOptions, OCROptions
from ocr_onnx.models import store
from ocr_onnx.runtime import libraries, profiling
from ocr_onnx.runtime.provider_specs import Mode
from ocr_onnx.runtime.selection import choose_placement
from ocr_onnx.runtime.threads import cpu_count
from ocr_onnx.types import Page

FAMILIES = {
    "PP-OCRv6 small": fidelity.VERSIONS["v6_small"],
    "PP-OCRv5 mobile": fidelity.VERSIONS["v5_mobile"],
    "PP-OCRv6 tiny": fidelity.VERSIONS["v6_tiny"],
}


def options(mode: Mode) -> OCROptions:
    """Return the options of the race."""
    usual = OCROptions() if mode == "standard" else OCROptions.high_performance()
    return replace(without_orientation(usual), detection=DetectionOptions(limit_side_len=SIDE, limit_type="max"))


WARM_UP = 3
"""Pictures that are not counted."""
LEAST, MOST = 100, 1600
"""Sides of the pictures of new sizes, in pixels."""
STALL = 0.1
"""Seconds that no first reading may take longer than the second."""
SAMPLE_MILLISECONDS = 100
"""How often the GPU's use is read."""
RAPIDOCR = "RapidOCR on CUDA, as it ships"
PEER_SECONDS = 40
"""After so many seconds RapidOCR gets no further picture: it may take seconds for each."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What pictures are read on."""

    family: str
    device: str | None
    providers: tuple[str, ...] = ()
    mode: Mode = "standard"

    @property
    def name(self) -> str:
        """Its name in the tables."""
        where = f"{cpu_count()} CPU cores" if self.device == "cpu" else "GPU"
        return f"{self.family}, {where}, {self.mode}"

    def ocr(self) -> OCR:
        """An engine that runs so."""
        placement = choose_placement(self.device, self.providers, self.mode, build_missing=True)
        return OCR(options(self.mode), models=FAMILIES[self.family], device=placement)


class Usage:
    """The GPU's use and memory while a `with` block runs, from nvidia-smi; empty if there is none."""

    def __enter__(self) -> Self:
        query = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits"]
        self._process: subprocess.Popen[str] | None
        try:
            self._process = subprocess.Popen(
                [*query, "-lms", str(SAMPLE_MILLISECONDS)], stdout=subprocess.PIPE, text=True
            )
        except OSError:
            self._process = None
        return self

    def __exit__(self, *error: object) -> None:
        self.percent: float | None = None
        self.megabytes: float | None = None
        if self._process is not None:
            self._process.terminate()
            rows = [line.split(", ") for line in self._process.communicate()[0].splitlines()]
            numbers = [(float(use), float(memory)) for use, memory in (row for row in rows if len(row) == 2)]
            if numbers:
                self.percent = statistics.mean(use for use, _ in numbers)
                self.megabytes = max(memory for _, memory in numbers)


def speed(ocr: OCR, paths: Sequence[Path], rounds: int) -> dict[str, Any]:
    """Return pages/s of one call per picture and of one call, and of the former the milliseconds and the parts."""
    for path in paths[:WARM_UP]:
        ocr.predict(path)
    times = []
    with profiling.record() as profile:
        for path in list(paths) * rounds:
            begun = time.perf_counter()
            ocr.predict(path)
            times.append(1e3 * (time.perf_counter() - begun))
    together = []
    with Usage() as usage:
        for _ in range(rounds):
            begun = time.perf_counter()
            ocr.predict(paths)
            together.append(len(paths) / (time.perf_counter() - begun))
    p50, p99 = np.percentile(times, [50, 99])
    return {
        "one": 1e3 / statistics.mean(times),
        "p50": float(p50),
        "p99": float(p99),
        "together": statistics.median(together),
        "gpu_percent": usage.percent,
        "gpu_megabytes": usage.megabytes,
        "parts": profile.table(),
    }


def stalls(ocr: OCR, count: int) -> dict[str, float]:
    """Return of pictures of new sizes the seconds that the first reading took longer than the second, and the longest first one."""
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


def accuracy(ocr: OCR, data: Path) -> dict[str, float]:
    """Return the F1 of words or characters on each labelled set."""
    scores = {}
    for name, (folder, read, characters) in SETS.items():
        score = Score()
        for picture in read(data / folder):
            (result,) = ocr.predict(picture.path)
            found = " ".join(line.text for line in result.lines)
            score.add(*compare_text(found, picture.text, characters=characters))
        scores[name] = score.f1
    return scores


def equal_texts(ocr: OCR, family: str, reference: Path) -> dict[str, dict[str, int]]:
    """Return the equal texts and all texts of each of PaddleOCR's recordings with these models, with the recorded options."""
    rows = {}
    for recording in fidelity.recordings(reference, None):
        if recording.models == FAMILIES[family] and recording.options == without_orientation(recording.options):
            alike = ocr.with_stages()
            alike.options = recording.options
            tally = fidelity.compare(recording, alike)
            rows[recording.file.stem] = {"texts": tally.texts, "equal": tally.texts_equal}
    return rows


def rapidocr(environment: Path, paths: Sequence[Path], seconds: float) -> dict[str, Any]:
    """Return RapidOCR's pages/s, one call per picture, of as many pictures as fit into `seconds`."""
    settings = Settings("", "", threads=cpu_count(), side=SIDE)
    peer, log = Peer("RapidOCR", environment.absolute(), "rapidocr", "onnxruntime-cuda"), Path(tempfile.gettempdir())
    times: list[float] = []
    end = time.monotonic() + seconds
    with Runner(peer, settings, log / "rapidocr-cuda.log") as runner:
        for path in [*paths[:WARM_UP], *paths]:
            times.append(float(runner.ask(path)["wall"]))
            if time.monotonic() > end:
                break
    counted = times[WARM_UP:]
    p50, p99 = (1e3 * float(value) for value in np.percentile(counted, [50, 99]))
    return {"pictures": len(counted), "one": 1 / statistics.mean(counted), "p50": p50, "p99": p99}


def markdown(result: Mapping[str, Any]) -> str:
    """Return gpu.md."""
    return "\n".join(_lines(result)) + "\n"


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    yield from ("# GPU", "", f"Written by `make bench-gpu`. {result['circumstances']}; {result['gpu']}.", "")
    yield from (
        f"{result['pictures']} pictures, from file to text, without orientation, detection at {SIDE} pixels.",
        "",
    )
    yield "| variant | pages/s, one call | pages/s, one by one | p50 | p99 | use of the GPU | its memory | warm-up |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    for name, row in result["speed"].items():
        cells = [_cell(row.get(key), form) for key, form in COLUMNS]
        yield f"| {name} | {' | '.join(cells)} |"
    yield from ("", "## Equal texts", "", "Compared with PaddleOCR's recorded texts, at the recorded sizes.", "")
    yield from ("| variant | recording | texts | equal |", "|---|---|--:|--:|")
    for name, rows in result["equal"].items():
        for recording, row in rows.items():
            yield f"| {name} | {recording} | {row['texts']} | {100 * row['equal'] / max(row['texts'], 1):.2f} % |"
    yield from ("", "## Accuracy", "", "F1 of words on street and receipts, of characters on reports.", "")
    yield from (f"| variant | {' | '.join(SETS)} |", "|---|--:|--:|--:|")
    for name, scores in result["accuracy"].items():
        yield f"| {name} | {' | '.join(f'{scores[each]:.4f}' for each in SETS)} |"
    yield from ("", "## New sizes", "", f"Sides of {LEAST} to {MOST} pixels, after the warm-up.", "")
    yield "| variant | sizes | largest excess of the first reading over the second | limit | longest first reading | median |"
    yield "|---|--:|--:|--:|--:|--:|"
    for name, found in result["stalls"].items():
        times = (found["stall"], STALL, found["longest"], found["median"])
        yield f"| {name} | {found['sizes']} | {' | '.join(f'{1e3 * seconds:.0f} ms' for seconds in times)} |"
    yield from ("", "## Parts", "", "Of one call per picture, all rounds together.", "")
    for name, row in result["speed"].items():
        if "parts" in row:
            yield from (f"{name}:", "", "```text", row["parts"], "```", "")


COLUMNS = (
    ("together", "{:.1f}"),
    ("one", "{:.1f}"),
    ("p50", "{:.1f} ms"),
    ("p99", "{:.1f} ms"),
    ("gpu_percent", "{:.0f} %"),
    ("gpu_megabytes", "{:.0f} MB"),
    ("warm_up", "{:.1f} s"),
)


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


class Steps:
    """Measures step by step, and writes the results after each."""

    def __init__(self, result: dict[str, Any], seconds: float) -> None:
        self.result, self._end = result, time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left."""
        return self._end - time.monotonic()

    def add(self, part: str, name: str, needs: float, step: Callable[[], Any]) -> None:
        """Measure one step, unless fewer than `needs` seconds are left."""
        if self.left() < needs:
            click.echo(f"LEFT OUT, for want of time: {part}, {name}", err=True)
            return
        begun = time.perf_counter()
        self.result[part][name] = step()
        click.echo(f"{part}, {name}: {time.perf_counter() - begun:.1f} s", err=True)
        records.keep("gpu", self.result, markdown(self.result))


def measure(variant: Variant, steps: Steps, paths: Sequence[Path], limits: Mapping[str, Any]) -> None:
    """Measure one variant: its speed, new sizes, equal texts and accuracy."""
    ocr = variant.ocr()
    gpu, reference = variant.device != "cpu", limits["reference"]

    def race() -> dict[str, Any]:
        begun = time.perf_counter()
        runs = ocr.warm_up() if gpu else 0
        warm = time.perf_counter() - begun
        found = speed(ocr, paths, limits["rounds"])
        return (
            found | {"warm_up": warm, "warm_up_runs": runs}
            if gpu
            else found | {"gpu_percent": None, "gpu_megabytes": None}
        )

    steps.add("speed", variant.name, 25, race)
    if not gpu:
        return
    steps.add("stalls", variant.name, 12, lambda: stalls(ocr, limits["sizes"]))
    if reference is not None:
        steps.add("accuracy", variant.name, 12, lambda: accuracy(ocr, reference / "data"))
        if variant.mode == "standard":
            steps.add("equal", variant.name, 20, lambda: equal_texts(ocr, variant.family, reference))


def present() -> Iterator[str]:
    """Yield the families whose models are on this machine."""
    for family, models in FAMILIES.items():
        names = (models.text_detection, models.text_recognition)
        if missing := [str(name) for name in names if not store.path_of(str(name)).is_file()]:
            click.echo(f"SKIPPED: {family}, for want of its models: ocr-onnx models pull {' '.join(missing)}", err=True)
        else:
            yield family


@click.command(help=__doc__)
@click.option("--device", default="gpu", show_default=True, help="As of 'ocr-onnx run'.")
@click.option("--provider", "providers", multiple=True, help="As of 'ocr-onnx run', in place of --device.")
@click.option("--reference", type=click.Path(path_type=Path), help="A folder with golden/ and data/.")
@click.option(
    "--rapidocr", "peer", type=click.Path(path_type=Path), help="An environment with rapidocr and onnxruntime-gpu."
)
@click.option("--pictures", type=click.IntRange(1), help="So many at most; default: all.")
@click.option("--sizes", default=200, show_default=True, type=click.IntRange(1), help="Pictures of new sizes.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=240.0, show_default=True, help="Start no step that is expected to end later.")
def main(device: str, providers: tuple[str, ...], peer: Path | None, pictures: int | None, **limits: Any) -> None:
    """Measure, and write gpu.json and gpu.md."""
    reference = limits["reference"]
    if reference is not None and not (reference / "golden").is_dir():
        reference = limits["reference"] = None
    paths = sorted(fidelity.OWN.glob("*.png")) if reference is None else spread(reference / "data", PICTURES)
    paths = paths[:: max(1, len(paths) // (pictures or len(paths)))][:pictures]
    named = None if providers else device
    placement = choose_placement(named, providers)
    number = int(placement.providers[0].options.get("device_id", "0"))
    result: dict[str, Any] = {
        "circumstances": circumstances(),
        "gpu": (libraries.gpu_name(number) if placement.on_gpu else "") or "no GPU that NVIDIA's driver names",
        "placement": str(placement),
        "pictures": len(paths),
    } | {part: {} for part in ("speed", "stalls", "equal", "accuracy")}
    steps = Steps(result, limits["seconds"])
    for family in present():
        for mode in get_args(Mode):
            measure(Variant(family, named, providers, mode), steps, paths, limits)
        measure(Variant(family, "cpu"), steps, paths[::3], limits | {"rounds": 1})
        if peer is not None and RAPIDOCR not in result["speed"]:
            steps.add("speed", RAPIDOCR, 60, lambda: rapidocr(peer, paths, PEER_SECONDS))
    records.keep("gpu", result, markdown(result))
    click.echo(markdown(result))


if __name__ == "__main__":
    main()
