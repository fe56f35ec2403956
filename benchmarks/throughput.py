"""Compare the rate of `ocr-onnx batch` with that of the bare engine on the same cores: benchmarks/results/throughput.md.

    python -m benchmarks.throughput --data ../shared/data --pages 200
    python -m benchmarks.throughput --data ../shared/data --pages 2000 --preset fast --workers 2 --rounds 1
    python -m benchmarks.throughput --data ../shared/data --pages 300 --preset fast --ray

The pages are made of the pictures in the folder: scaled to 50 to 100 %, rotated by up to 2 degrees, and compressed as JPEG with a
quality of 40 to 95. The bare engine is one process for each worker, which decodes and reads pages one after the other on one core
and keeps nothing. Both are measured in turn, the engine after all models are loaded, and the batch after its first worker has loaded
them. Processor time is that of all processes, and says more than the rate if the machine has other work.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median
from typing import Any

import click
import cv2

from benchmarks import records
from benchmarks.machine import circumstances

SCALES, DEGREES, QUALITIES = (0.5, 1.0), 2.0, (40, 95)
PICTURES = (".jpg", ".png")
TICK = os.sysconf("SC_CLK_TCK")
MEGABYTE = 2**20


@dataclass(frozen=True, slots=True)
class Rate:
    """The speed of one run."""

    workers: int
    pages_per_second: float
    cpu_seconds: float
    """Of all processes, per page."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The processes of a batch at one time."""

    seconds: float
    pages: int
    cpu: dict[str, float]
    """Seconds of processor time: of the main process, of all workers, of all decoders."""
    memory: dict[str, int]
    """Bytes of resident memory: of the main process, of the largest worker, of the largest decoder."""


def write_pages(data: Path, folder: Path, pages: int) -> None:
    """Write pages that are made of the pictures in a folder."""
    sources = sorted(path for path in data.rglob("*") if path.suffix in PICTURES)
    draw = random.Random(0)  # noqa: S311
    draw.shuffle(sources)
    for i in range(pages):
        image = cv2.imread(str(sources[i % len(sources)]))
        if image is None:
            raise click.ClickException(f"{sources[i % len(sources)]} is no picture")
        height, width = image.shape[:2]
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), draw.uniform(-DEGREES, DEGREES), 1)
        turned = cv2.warpAffine(image, turn, (width, height), borderValue=(255, 255, 255))
        scaled = cv2.resize(turned, None, fx=(scale := draw.uniform(*SCALES)), fy=scale, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{i}.jpg"), scaled, [cv2.IMWRITE_JPEG_QUALITY, draw.randint(*QUALITIES)])


def read_bare(paths: list[str], preset: str | None, taken: Any, ready: Barrier, spent: Any) -> None:
    """Read pages with the engine alone, until all are taken."""
    from ocr_onnx import OCR
    from ocr_onnx.inputs.sources import read_pages

    cv2.setNumThreads(1)
    engine = OCR(preset=preset, cpu_threads=1)
    ready.wait()
    begin = time.process_time()
    while True:
        with taken.get_lock():
            i, taken.value = taken.value, taken.value + 1
        if i >= len(paths):
            break
        for page in read_pages(paths[i]):
            engine.read(page, engine.options)
    spent.put(time.process_time() - begin)


def bare(folder: Path, workers: int, preset: str | None) -> Rate:
    """Measure the engine alone."""
    paths = sorted(map(str, folder.iterdir()))
    context = multiprocessing.get_context("spawn")
    taken, ready, spent = context.Value("i", 0), context.Barrier(workers + 1), context.Queue()
    processes = [context.Process(target=read_bare, args=(paths, preset, taken, ready, spent)) for _ in range(workers)]
    for process in processes:
        process.start()
    ready.wait()
    begin = time.monotonic()
    cpu = sum(spent.get() for _ in processes)
    seconds = time.monotonic() - begin
    for process in processes:
        process.join()
    return Rate(workers, len(paths) / seconds, cpu / len(paths))


def command(folder: Path, out: str, workers: int, preset: str | None) -> list[str]:
    """Return the command of a batch."""
    options = ["--workers", str(workers), *(("--preset", preset) if preset else ())]
    return [sys.executable, "-P", "-m", "ocr_onnx", "batch", str(folder), "-o", f"{out}/out", *options]


def with_ray(folder: Path, workers: int, preset: str | None) -> float:
    """Return the pages per second of actors of Ray on this machine, between the first and the last line while they read."""
    with tempfile.TemporaryDirectory() as out:
        engine = [*command(folder, out, workers, preset), "--engine", "ray"]
        process = subprocess.Popen(engine, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None  # noqa: S101 for the type checker
        lines = [(time.monotonic(), json.loads(line)) for line in process.stderr if line.startswith('{"pages"')]
        if process.wait() != 0:
            raise click.ClickException("the batch failed")
    (begin, first), (end, last) = lines[0], lines[-2]  # Ray has ended before the last line.
    if begin == end:
        raise click.ClickException("too few pages for two lines of progress: raise --pages")
    return float((last["pages"] - first["pages"]) / (end - begin))


def batch(folder: Path, workers: int, preset: str | None) -> tuple[Rate, list[Sample]]:
    """Measure the command from its first line of progress, when one worker is ready, to its last one."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as out:
        process = subprocess.Popen(command(folder, out, workers, preset), stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None  # noqa: S101 for the type checker
        samples = [
            sample(process.pid, json.loads(line)["pages"]) for line in process.stderr if line.startswith('{"pages"')
        ]
        if process.wait() != 0:
            raise click.ClickException("the batch failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    first, last, running = samples[0], samples[-1], samples[-2]
    # The processes that decode are killed with their workers, and nobody waits for them.
    cpu = total - sum(first.cpu.values()) + running.cpu["decoder"]
    return Rate(workers, last.pages / (last.seconds - first.seconds), cpu / last.pages), samples[1:-1]


def sample(main: int, pages: int) -> Sample:
    """Sum the processor time, and list the memory, of a process and those that it started."""
    cpu, memory = {"main": 0.0, "worker": 0.0, "decoder": 0.0}, {"main": 0, "worker": 0, "decoder": 0}
    for process, depth in descendants(main):
        try:
            fields = (Path("/proc") / str(process) / "stat").read_text("utf-8").rpartition(")")[2].split()
            command = (Path("/proc") / str(process) / "cmdline").read_bytes()
        except OSError:  # It has just ended.
            continue
        kind = "main" if depth == 0 else "decoder" if b"decoding_process" in command else "worker"
        cpu[kind] += (int(fields[11]) + int(fields[12])) / TICK
        memory[kind] = max(memory[kind], int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))
    return Sample(time.monotonic(), pages, cpu, memory)


def descendants(process: int, depth: int = 0) -> Iterator[tuple[int, int]]:
    """Yield a process and those that it started, each with its distance."""
    yield process, depth
    for task in (Path("/proc") / str(process) / "task").glob("*/children"):
        with suppress(OSError):
            for child in re.findall(r"\d+", task.read_text("ascii")):
                yield from descendants(int(child), depth + 1)


def table(rates: Mapping[str, Mapping[str, list[Mapping[str, float]]]]) -> str:
    """The medians, by the number of workers."""
    lines = [
        "| workers | bare engine, pages/s | batch, pages/s | batch/bare | bare, CPU s/page | batch, CPU s/page | bare/batch, CPU |",
        "|---|---|---|---|---|---|---|",
    ]
    for workers, kinds in rates.items():
        speed = {kind: median(each["pages_per_second"] for each in runs) for kind, runs in kinds.items()}
        cpu = {kind: median(each["cpu_seconds"] for each in runs) for kind, runs in kinds.items()}
        lines.append(
            f"| {workers} | {speed['bare']:.2f} | {speed['batch']:.2f} | {speed['batch'] / speed['bare']:.1%} | {cpu['bare']:.3f} | "
            f"{cpu['batch']:.3f} | {cpu['bare'] / cpu['batch']:.1%} |"
        )
    return "\n".join(lines) + "\n"


def memory_table(samples: Mapping[str, list[Mapping[str, Any]]]) -> str:
    """Resident memory and shares of processor time at a tenth, half and the end of the pages, by the number of workers."""
    lines = [
        "| workers | pages | main process, MB | largest worker, MB | largest decoder, MB | CPU of main process | CPU of decoders |",
        "|---|---|---|---|---|---|---|",
    ]
    for workers, found in samples.items():
        for share in (0.1, 0.5, 1.0):
            each = found[max(0, round(share * len(found)) - 1)]
            memory = " | ".join(str(each["memory"][kind] // MEGABYTE) for kind in ("main", "worker", "decoder"))
            cpu, total = each["cpu"], sum(each["cpu"].values())
            lines.append(
                f"| {workers} | {each['pages']} | {memory} | {cpu['main'] / total:.1%} | {cpu['decoder'] / total:.1%} |"
            )
    return "\n".join(lines) + "\n"


def markdown(result: Mapping[str, Any]) -> str:
    """The page of a result."""
    rates = f"{table(result['rates'])}\n" if result["rates"] else ""
    return (
        f"# Throughput of `ocr-onnx batch`\n\n{result['circumstances']}; {result['pages']} pages, preset {result['preset'] or 'none'}, "
        f"rounds: {result['rounds']}.\n\n`{result['command']}`\n\n{rates}{memory_table(result['samples'])}"
    )


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--pages", default=200)
@click.option("--preset")
@click.option("--workers", "counts", multiple=True, type=int, default=(1, 2))
@click.option("--rounds", default=1)
@click.option("--memory-only", is_flag=True, help="Print the memory of the batch, and measure no rates.")
@click.option(
    "--ray", "only_ray", is_flag=True, help="Print the rates of Ray's actors, as many as --workers, and nothing else."
)
def main(  # noqa: PLR0913, PLR0917 one for each option
    data: Path, pages: int, preset: str | None, counts: tuple[int, ...], rounds: int, memory_only: bool, only_ray: bool
) -> None:
    """Measure both, in turn."""
    rates: dict[int, dict[str, list[Rate]]] = {workers: {"bare": [], "batch": []} for workers in counts}
    samples: dict[int, list[Sample]] = {}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_pages(data, folder, pages)
        if only_ray:
            for workers in counts:
                found = [with_ray(folder, workers, preset) for _ in range(rounds)]
                click.echo(
                    f"{workers} actors: {median(found):.2f} pages/s ({', '.join(f'{each:.2f}' for each in found)})"
                )
            return
        for number in range(1, rounds + 1):
            for workers in counts:
                if not memory_only:
                    rates[workers]["bare"].append(bare(folder, workers, preset))
                rate, samples[workers] = batch(folder, workers, preset)
                rates[workers]["batch"].append(rate)
                click.echo(f"round {number}, {workers} workers: {rates[workers]}")
    result = {
        "circumstances": circumstances(),
        "command": f"python -m benchmarks.throughput {' '.join(sys.argv[1:])}",
        "pages": pages,
        "preset": preset,
        "rounds": rounds,
        "rates": {} if memory_only else {str(workers): _plain(kinds) for workers, kinds in rates.items()},
        "samples": {str(workers): [asdict(each) for each in found] for workers, found in samples.items()},
    }
    if not memory_only:
        records.keep("throughput", result, markdown(result))
    click.echo(markdown(result))


def _plain(kinds: Mapping[str, list[Rate]]) -> dict[str, list[dict[str, float]]]:
    return {kind: [asdict(each) for each in runs] for kind, runs in kinds.items()}


if __name__ == "__main__":
    main()
