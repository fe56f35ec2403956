"""Measure `ocr-onnx serve` under load: benchmarks/results/service.md.

    python -m benchmarks.service --data FOLDER
    python -m benchmarks.service --data FOLDER --seconds 10 --rounds 1 --only levels --no-write

On loopback, with labelled pictures as Base64 in JSON and no pictures in the answers. There are four parts, and a part that is
skipped keeps its former result: levels (1, 8 and 64 clients), library (the service and predict_iter take turns at the same
pictures), overload (64 clients and a short queue), reference (the service and PaddleX's basic serving take turns). In all parts both
orientation stages are off, and the image size for detection is the same. The clients are a separate process on the same cores.
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import yaml

from benchmarks import records, service_report
from benchmarks.machine import load, machine, today
from benchmarks.pictures import spread
from benchmarks.processes import Server, free_port
from benchmarks.runners.clients import Load
from benchmarks.runners.process import ROOT, Peer, Runner
from benchmarks.runners.protocol import Settings
from ocr_onnx.runtime.threads import cpu_count

SIDE = 960
LEVELS = (1, 8, 64)
CLIENTS = 8
"""Number of clients in the parts in which several servers take turns."""
WARM_UP = 6
"""Pictures that each client sends before the measurement."""

QUEUE = 100
"""Requests that may wait: more than there are clients."""
SHORT_QUEUE = 4

PICTURES = {"icdar2015/*.jpg": 12, "sroie/*.jpg": 6, "zh_pdf_pages/*.png": 3}
"""Street scenes, receipts, pages of Chinese reports."""

OURS, LIBRARY = service_report.OURS, service_report.LIBRARY


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are."""

    paths: tuple[Path, ...]
    """The pictures, in the order in which they are sent."""
    serving: Path
    """The environment of PaddleX's serving."""
    models: Path
    logs: Path


def first(places: Places) -> Places:
    """Including the pictures for the warm-up."""
    return replace(places, paths=places.paths[:WARM_UP])


def ours(places: Places, queue: int = QUEUE) -> Server:
    """Our service."""
    port = free_port()
    command = [sys.executable, "-m", "ocr_onnx", "serve", "--port", str(port), "--queue_size", str(queue)]
    command += ["--text_det_limit_side_len", str(SIDE), "--text_det_limit_type", "max", "--deadline", "600"]
    command += ["--use_doc_orientation_classify", "False", "--use_textline_orientation", "False"]
    return Server(OURS, command, port, places.logs / "serve.log")


def reference(places: Places, engine: str) -> Server:
    """PaddleX's, on the engine `paddle` or `onnxruntime`."""
    port = free_port()
    described = places.logs / f"serving-{engine}.yaml"
    described.write_text(yaml.safe_dump(pipeline_file(places.models, engine)), "utf-8")
    command = [str(places.serving / "bin" / "paddlex"), "--serve", "--pipeline", str(described)]
    command += ["--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    return Server(service_report.REFERENCES[engine], command, port, described.with_suffix(".log"))


def pipeline_file(models: Path, engine: str) -> dict[str, Any]:
    """PaddleX's description of the pipeline that ours is."""
    engines: dict[str, dict[str, Any]] = {
        "paddle": {"run_mode": "mkldnn", "cpu_threads": cpu_count()},
        "onnxruntime": {"intra_op_num_threads": cpu_count()},
    }
    names = {task: f"PP-OCRv5_mobile_{short}" for task, short in (("detection", "det"), ("recognition", "rec"))}
    of_both = {
        f"Text{task.capitalize()}": {
            "module_name": f"text_{task}",
            "model_name": name,
            "model_dir": str(models / name),
        }
        for task, name in names.items()
    }
    of_both["TextDetection"] |= {"limit_side_len": SIDE, "limit_type": "max", "thresh": 0.3, "box_thresh": 0.6}  # type: ignore[dict-item]
    of_both["TextDetection"] |= {"unclip_ratio": 1.5, "max_side_limit": 4000}  # type: ignore[dict-item]
    of_both["TextRecognition"] |= {"batch_size": 6, "score_thresh": 0.0}  # type: ignore[dict-item]
    return {
        "pipeline_name": "OCR",
        "text_type": "general",
        "use_doc_preprocessor": False,
        "use_textline_orientation": False,
        "engine": engine,
        "engine_config": engines[engine],
        "Serving": {"visualize": False},
        "SubModules": of_both,
    }


def loaded(server: Server, wanted: Load) -> dict[str, Any]:
    """What a load did to a server, and what came of it."""
    before = server.cpu()
    command = [sys.executable, "-m", "benchmarks.runners.clients", json.dumps(asdict(wanted))]
    with server.watched() as resident:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    sent: dict[str, Any] = json.loads(done.stdout)
    return sent | {"server_cpu": server.cpu() - before, "resident": list(resident), "peak": server.peak()}


def each_once(server: Server, places: Places) -> dict[str, Any]:
    """All pictures, once each, by CLIENTS clients."""
    files = tuple(map(str, places.paths))
    return loaded(server, Load(server.port, CLIENTS, files, seconds=3600, requests=len(files)))


def levels(places: Places, seconds: float, rounds: int) -> Iterator[dict[str, Any]]:  # noqa: ARG001  (all parts are called alike)
    """From one client to many, all of whose requests may wait."""
    rows = []
    with ours(places) as server:
        each_once(server, places)
        for clients in LEVELS:
            files = tuple(map(str, places.paths))
            rows.append(
                service_report.level(clients, loaded(server, Load(server.port, clients, files, seconds)), cpu_count())
            )
            click.echo(service_report.said(rows[-1]), err=True)
    yield {"rows": rows, "seconds": seconds, "queue": QUEUE}


def overload(places: Places, seconds: float, rounds: int) -> Iterator[dict[str, Any]]:  # noqa: ARG001
    """More clients than may wait, who take no heed of Retry-After."""
    with ours(places, SHORT_QUEUE) as server:
        files = tuple(map(str, places.paths))
        sent = loaded(server, Load(server.port, LEVELS[-1], files, seconds))
        yield {"queue": SHORT_QUEUE, "seconds": seconds, **service_report.level(LEVELS[-1], sent, cpu_count())}


def library(places: Places, seconds: float, rounds: int) -> Iterator[dict[str, Any]]:  # noqa: ARG001
    """The service and the library, taking turns."""
    few, listed = first(places), places.logs / "pictures.json"
    settings = Settings("", "", threads=cpu_count(), side=SIDE)
    peer = Peer(LIBRARY, Path(sys.executable).parents[1], "predict_iter")
    with ours(places) as server, Runner(peer, settings, places.logs / "predict_iter.log") as runner:

        def read(some: Places) -> dict[str, Any]:
            listed.write_text(json.dumps(list(map(str, some.paths))), "utf-8")
            return runner.ask(listed)

        each_once(server, few)
        read(few)
        for turn in turns({OURS: lambda: each_once(server, places), LIBRARY: lambda: read(places)}, rounds):
            yield service_report.beside_library(turn, len(places.paths), cpu_count())


def beside_reference(places: Places, seconds: float, rounds: int) -> Iterator[dict[str, Any]]:  # noqa: ARG001
    """The service and PaddleX's, taking turns; all run, and one is asked at a time."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(ours(places))]
        servers += [stack.enter_context(reference(places, engine)) for engine in service_report.REFERENCES]
        for server in servers:
            each_once(server, first(places))
        calls = {server.name: (lambda server=server: each_once(server, places)) for server in servers}
        for turn in turns(calls, rounds):
            yield service_report.beside_reference(turn, len(places.paths), cpu_count())


def turns(calls: Mapping[str, Callable[[], dict[str, Any]]], rounds: int) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """What each call returned, round after round; in each round another one begins."""
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in calls}
    names = list(calls)
    for turn in range(rounds):
        begin = turn % len(names)
        for name in [*names[begin:], *names[:begin]]:
            taken[name].append(calls[name]())
        seconds = ", ".join(f"{name} {rows[-1]['wall']:.1f} s" for name, rows in taken.items())
        click.echo(f"round {turn + 1} of {rounds}: {seconds}", err=True)
        yield taken


PARTS = {"levels": levels, "library": library, "overload": overload, "reference": beside_reference}


def mixed(paths: Sequence[Path]) -> tuple[Path, ...]:
    """In an order by chance, which is the same each time."""
    return tuple(random.Random(0).sample(paths, len(paths)))  # noqa: S311


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The folder with the pictures.")
@click.option("--home", type=click.Path(path_type=Path), default=ROOT / ".cache" / "peers", help="Models, and logs.")
@click.option("--serving", type=click.Path(path_type=Path), help="Environment of PaddleX; default: serving in --home.")
@click.option("--seconds", default=60.0, show_default=True, help="Of each level, and of the overload.")
@click.option(
    "--rounds", default=5, show_default=True, type=click.IntRange(1), help="Number of rounds; the servers take turns."
)
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="Only these parts.")
@click.option("--write/--no-write", default=True, help="Write benchmarks/results.")
def main(data: Path, home: Path, serving: Path | None, only: tuple[str, ...], write: bool, **given: Any) -> None:
    """Measure, and write what came of it."""
    home = home.absolute()
    paths = mixed(spread(data.resolve(), PICTURES))
    places = Places(paths, (serving or home / "serving").absolute(), home / "models", home)
    for name, part in PARTS.items():
        if only and name not in only:
            continue
        for content in part(places, given["seconds"], given["rounds"]):
            measured = {"date": today(), "machine": machine(), "load": load(), "content": content}
            if write:
                service_report.write(records.known("service") | {name: measured})
        click.echo(service_report.markdown({name: measured}))


if __name__ == "__main__":
    main()
