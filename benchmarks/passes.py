"""Measure how much each replacement in the embedded models saves, by A/B on whole pages: benchmarks/results/passes.md.

    python -m benchmarks.passes --data ../shared/data

A model file holds nodes that replace parts of its graph on a CPU (ocr_onnx.runtime.model_file). For each graph pass that made
such nodes, a variant of the file without them is written to a temporary folder. The pictures of the race (benchmarks.peers) are
read with the files as they are and with each variant, the variants in turn picture by picture, both orientation stages off,
detection at most 960 pixels a side. A saving is 1 - (time with the pass) / (time without it), of the sums over all pictures,
decoding included; the table has the median of the rounds, and their range. Peaks are the kernel's (VmHWM), of a process that
reads one page in full size.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from benchmarks import records
from benchmarks.footprint import PAGES, make_page
from benchmarks.machine import circumstances
from benchmarks.modes import without_orientation
from benchmarks.peers import PICTURES, SIDE
from benchmarks.pictures import spread
from benchmarks.runners.process import ROOT
from benchmarks.runners.protocol import peak
from benchmarks.versions import VERSION_5
from ocr_onnx import OCR, DetectionOptions, Models, OCROptions
from ocr_onnx.converters.passes import blank_bound, pad_columns
from ocr_onnx.models import zoo
from ocr_onnx.models.protobuf import fields
from ocr_onnx.runtime.model_file import CPU_FIELD

OPTIONS = without_orientation(OCROptions(detection=DetectionOptions(limit_side_len=SIDE, limit_type="max")))
DETECTION, RECOGNITION = "PP-OCRv5_mobile_det", "PP-OCRv5_mobile_rec"

PASSES = {
    "blank_bound": (RECOGNITION, blank_bound.PROOF),
    "pad_columns": (RECOGNITION, pad_columns.PREFIX),
}
"""Model that has the pass, and the prefix of the tensors that the pass adds."""

AS_IT_IS = "as it is"
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
PAGE = "A4 at 300 dpi"
PEAK_RUNS = 2


def without(model: bytes, prefix: str) -> bytes:
    """A model file without the replacements for CPUs whose tensors have this prefix. Raises ValueError if there are none."""
    kept, begin = [], 0
    for number, start, end in fields(model, 0, len(model)):
        if number != CPU_FIELD or prefix.encode() not in model[start:end]:
            kept.append(model[begin:end])
        begin = end
    found = b"".join(kept)
    if len(found) == len(model):
        raise ValueError(f"the file has no replacement with tensors named {prefix}*")
    return found


def variants(folder: Path) -> dict[str, Models]:
    """The embedded models, and for each pass the same without its replacements, as files in `folder`."""
    found = {AS_IT_IS: VERSION_5}
    for name, (model, prefix) in PASSES.items():
        path = folder / name / f"{model}.onnx"
        path.parent.mkdir()
        path.write_bytes(without(zoo.spec(model).path.read_bytes(), prefix))
        stage = "text_detection" if model == DETECTION else "text_recognition"
        found[name] = replace(VERSION_5, **{stage: path})
    return found


def measure(engines: Mapping[str, OCR], paths: Sequence[Path], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of each engine, by clock and round; each engine reads a first picture before the rounds."""
    found: dict[str, dict[str, list[float]]] = {name: {clock: [0.0] * rounds for clock in CLOCKS} for name in engines}
    for ocr in engines.values():
        ocr.predict(str(paths[0]))
    for turn in range(rounds):
        for number, path in enumerate(paths):
            first = (turn + number) % len(engines)
            names = list(engines)
            for name in [*names[first:], *names[:first]]:
                begun = {clock: now() for clock, now in CLOCKS.items()}
                engines[name].predict(str(path))
                for clock, now in CLOCKS.items():
                    found[name][clock][turn] += now() - begun[clock]
        said = {name: _share(each["processor"]) for name, each in savings(found, turn + 1).items()}
        click.echo(f"round {turn + 1} of {rounds}: {said}", err=True)
    return found


def savings(found: Mapping[str, Mapping[str, Sequence[float]]], rounds: int) -> dict[str, dict[str, list[float]]]:
    """The share of time that each pass saves, by clock and round."""
    base = found[AS_IT_IS]
    return {
        name: {
            clock: [1 - a / b for a, b in zip(base[clock][:rounds], each[clock][:rounds], strict=True)]
            for clock in CLOCKS
        }
        for name, each in found.items()
        if name != AS_IT_IS
    }


def peaks(models: Mapping[str, Models], folder: Path) -> dict[str, list[int]]:
    """The peaks in KiB of processes that read one page with each variant's models, the variants in turn."""
    page = folder / "page.png"
    make_page(page, PAGES[PAGE])
    found: dict[str, list[int]] = {name: [] for name in models}
    for _ in range(PEAK_RUNS):
        for name, each in models.items():
            paths = (str(page), str(each.text_detection), str(each.text_recognition))
            command = [sys.executable, "-m", "benchmarks.passes", "--page", *paths]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
            found[name].append(int(done.stdout))
    return found


def measure_page(page: str, detection: str, recognition: str) -> None:
    """Read a page in full size and print the peak in KiB."""
    models = Models(text_detection=_model(detection), text_recognition=_model(recognition))
    OCR(without_orientation(OCROptions()), models=models).predict(page)
    click.echo(peak())


def _model(name: str) -> str | Path:
    return Path(name) if name.endswith(".onnx") else name


def markdown(result: Mapping[str, Any]) -> str:
    """The result as a page."""
    lines = [
        "# Graph passes for CPUs",
        "",
        (
            f"Written by `make bench-passes`. {result['circumstances']}, processor with{'' if result['amx'] else 'out'} AMX. {result['pictures']} pictures, {result['rounds']} "
            "rounds, the variants in turn picture by picture. A saving is a share of the time without the pass: the median of "
            "the rounds, and their range."
        ),
        "",
        f"| pass | model | processor time saved | wall time saved | peak saved on {PAGE}, MiB | bytes of the model file |",
        "|---|---|--:|--:|--:|--:|",
    ]
    base = statistics.median(result["peaks"][AS_IT_IS])
    for name, each in savings(result["seconds"], result["rounds"]).items():
        saved = " | ".join(_share(each[clock]) for clock in ("processor", "wall"))
        less = (statistics.median(result["peaks"][name]) - base) / 1024
        lines.append(f"| {name} | {result['models'][name]} | {saved} | {less:+.0f} | {result['bytes'][name]:,} |")
    return "\n".join(lines) + "\n"


def _share(values: Sequence[float]) -> str:
    low, middle, high = (100 * value for value in (min(values), statistics.median(values), max(values)))
    return f"{middle:.1f} % ({low:.1f} to {high:.1f})"


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), help="The folder with the pictures.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--every", default=1, show_default=True, help="Only every so many-th picture.")
@click.option("--page", hidden=True, nargs=3)
@click.option("--write/--no-write", default=True, help="Write benchmarks/results.")
def main(data: Path | None, rounds: int, every: int, page: tuple[str, str, str] | None, *, write: bool) -> None:
    """Measure, and write passes.md and passes.json."""
    if page is not None:
        measure_page(*page)
        return
    if data is None:
        raise click.UsageError("--data is missing: the folder with the pictures")
    paths = spread(data.resolve(), PICTURES)[::every]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        models = variants(folder)
        whole = {name: zoo.spec(model).path.stat().st_size for name, (model, _) in PASSES.items()}
        less = {name: (folder / name / f"{model}.onnx").stat().st_size for name, (model, _) in PASSES.items()}
        result = {
            "circumstances": circumstances(),
            "amx": "amx_tile" in Path("/proc/cpuinfo").read_text("utf-8"),
            "models": {name: model for name, (model, _) in PASSES.items()},
            "pictures": len(paths),
            "rounds": rounds,
            "bytes": {name: whole[name] - less[name] for name in PASSES},
            "seconds": measure({name: OCR(OPTIONS, models=each) for name, each in models.items()}, paths, rounds),
            "peaks": peaks(models, folder),
        }
    text = markdown(result)
    click.echo(text)
    if write:
        records.keep("passes", result, text)


if __name__ == "__main__":
    main()
