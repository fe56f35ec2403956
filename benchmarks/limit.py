"""Compare each stage with the peak rate of the cores: benchmarks/results/limit.md.

    python -m benchmarks.limit

The peak rates are measured with ONNX Runtime: the rate of its matrix product in float32, and the bytes per second that it
reads and writes when it adds one number to a tensor as large as the largest one of detection. All measurements take turns,
round by round, and the fastest call of each counts, because other work on the machine can only slow a call down.

The limit is that of a roofline (Williams, Waterman and Patterson, 2009): for each kind of operator the longer one of two
times, that of its multiply-adds at the rate of the matrix product, and that of its bytes at the rate of memory.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks import records
from benchmarks.machine import circumstances
from benchmarks.operators import by_kind, multiply_adds
from ocr_onnx.models import store
from ocr_onnx.runtime.backend import onnxruntime
from ocr_onnx.runtime.model_file import model_for_device
from ocr_onnx.runtime.providers import CPU
from ocr_onnx.runtime.session import Session, session_options
from ocr_onnx.runtime.threads import cpu_count, parallel_map
from ocr_onnx.types import Tensor

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "tests" / "pages" / "dense.png"

ROUNDS = 21
TURN = 0.05
"""Seconds that a call is repeated for in a round: a short one finds a moment without other work."""
TOP = 6
"""Kinds of operators in a stage's table."""

GEMMS = {
    "square": (512, 512, 512),
    "convolution 1x1 of recognition": (480, 480, 480),
    "convolution 3x3 of detection": (10560, 864, 24),
    "characters of recognition": (40, 120, 18385),
}
"""Rows, depth and columns of matrix products; the fastest one is what all is compared with."""

ADDED = 32 * 480 * 352
"""Numbers in the tensor that the rate of memory is measured with: detection's largest for a page of 960 x 704."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A model as the pipeline runs it."""

    name: str
    model: str
    shape: tuple[int, ...]
    """Of a single input."""
    lines: int = 0
    """So many inputs side by side, one core each; 0 is one input on all cores."""

    @property
    def threads(self) -> int:
        """Cores of one call."""
        return 1 if self.lines else cpu_count()


STAGES = (
    Stage("page orientation", "PP-LCNet_x1_0_doc_ori", (1, 3, 224, 224)),
    Stage("line orientation, 8 lines", "PP-LCNet_x1_0_textline_ori", (1, 3, 80, 160), 8),
    *(
        stage
        for family in ("PP-OCRv6 small", "PP-OCRv5 mobile")
        for models in [family.replace(" ", "_")]
        for stage in (
            Stage(f"{family} detection, 960 x 704", f"{models}_det", (1, 3, 960, 704)),
            Stage(f"{family} recognition, 8 lines of 320", f"{models}_rec", (1, 3, 48, 320), 8),
            Stage(f"{family} recognition, 8 lines of 640", f"{models}_rec", (1, 3, 48, 640), 8),
        )
    ),
)


@dataclass(slots=True)
class Taken:
    """Seconds of a call."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """On the processors, the mean of a round: what another thread takes is only counted every few milliseconds."""

    def figures(self) -> dict[str, float]:
        """The least by the clock, and the medians."""
        medians = {"cpu": statistics.median(self.cpu), "median": statistics.median(self.wall)}
        return {"wall": min(self.wall), **medians}


def picture(shape: Sequence[int]) -> Tensor:
    """A page, stretched to an input."""
    import cv2

    page = cv2.resize(np.asarray(cv2.imread(str(PAGE)), np.uint8), (shape[3], shape[2])).astype(np.float32)
    return np.ascontiguousarray((page / 127.5 - 1).transpose(2, 0, 1)[None])


def gemm(folder: Path, size: tuple[int, int, int], threads: int) -> Callable[[], object]:
    """A matrix product by ONNX Runtime, the second matrix known in advance as a model's weights are."""
    rows, depth, columns = size
    random = np.random.default_rng(0)
    weights = random.normal(size=(depth, columns)).astype(np.float32)
    session = _made(folder, [("MatMul", ["x", "c"], "y")], {"c": weights}, threads)
    x = random.normal(size=(rows, depth)).astype(np.float32)
    return lambda: session(x)


def adding(folder: Path, threads: int) -> Callable[[], object]:
    """One number added to a large tensor, of which a single number is given out: reads it once, writes it once."""
    ends: dict[str, NDArray[Any]] = {name: np.array([at], np.int64) for name, at in (("from", 0), ("to", 1))}
    nodes = [("Add", ["x", "c"], "sum"), ("Slice", ["sum", "from", "to"], "y")]
    session = _made(folder, nodes, {"c": np.ones(1, np.float32)} | ends, threads)
    x = np.zeros(ADDED, np.float32)
    return lambda: session(x)


def _made(
    folder: Path,
    nodes: Iterable[tuple[str, list[str], str]],
    constants: Mapping[str, NDArray[Any]],
    threads: int,
) -> Session:
    """A session for a graph from x to y."""
    from onnx import TensorProto, helper, numpy_helper, save

    graph = helper.make_graph(
        [helper.make_node(operator, names, [output]) for operator, names, output in nodes],
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "made.onnx")
    return Session(folder / "made.onnx", CPU, threads)


def running(stage: Stage) -> Callable[[], object]:
    """One round of a stage."""
    session, tensor = Session(store.path_of(stage.model), CPU, stage.threads), picture(stage.shape)
    return (lambda: parallel_map(session, [tensor] * stage.lines)) if stage.lines else (lambda: session(tensor))


def in_turns(calls: Mapping[str, Callable[[], object]]) -> dict[str, dict[str, float]]:
    """Seconds of each: see Taken.figures."""
    taken = {name: Taken() for name in calls}
    for turn in range(ROUNDS + 1):
        for name, call in calls.items():
            walls, cpu, end = [], time.process_time(), time.perf_counter() + TURN
            while (begun := time.perf_counter()) < end:
                call()
                walls.append(time.perf_counter() - begun)
            if turn:
                taken[name].wall += walls
                taken[name].cpu.append((time.process_time() - cpu) / len(walls))
    return {name: each.figures() for name, each in taken.items()}


def profiled(stage: Stage, folder: Path) -> Any:
    """An onnxruntime.InferenceSession like that of a stage, which writes down how long each node takes."""
    options = session_options(stage.threads)
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
    model = model_for_device(store.path_of(stage.model).read_bytes())
    return onnxruntime().InferenceSession(model, options, providers=["CPUExecutionProvider"])


def measure() -> dict[str, Any]:
    """Everything."""
    counts = sorted({1, cpu_count()})
    square = GEMMS["square"]
    left, right = (np.random.default_rng(0).normal(size=square[:2]).astype(np.float32) for _ in range(2))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calls: dict[str, Callable[[], object]] = {"NumPy": lambda: left @ right}
        for threads in counts:
            calls |= {f"{shape} on {threads}": gemm(folder, size, threads) for shape, size in GEMMS.items()}
            calls[f"memory on {threads}"] = adding(folder, threads)
        sessions = {stage: profiled(stage, folder) for stage in STAGES}
        for stage, session in sessions.items():
            calls[stage.name] = running(stage)
            feed = {session.get_inputs()[0].name: picture(stage.shape)}
            calls[f"{stage.name}, profiled"] = partial(session.run, None, feed)
        taken = in_turns(calls)
        profiles = {
            stage: by_kind(json.loads(Path(session.end_profiling()).read_text("utf-8")))
            for stage, session in sessions.items()
        }
    return {
        "circumstances": circumstances(),
        "cores": cpu_count(),
        "gemm": {f"{name} on {n}": rates(size, taken[f"{name} on {n}"]) for name, size in GEMMS.items() for n in counts}
        | {"NumPy": rates(square, taken["NumPy"])},
        "memory": {str(n): 8 * ADDED / taken[f"memory on {n}"]["wall"] for n in counts},
        "stages": [
            {
                "stage": stage.name,
                "model": stage.model,
                "runs": stage.lines or 1,
                "threads": stage.threads,
                "multiply_adds": multiply_adds(store.path_of(stage.model), stage.shape),
                "profile": profiles[stage],
                **taken[stage.name],
            }
            for stage in STAGES
        ],
    }


def rates(size: tuple[int, int, int], taken: Mapping[str, float]) -> dict[str, float]:
    """Operations a second of a matrix product."""
    return {clock: 2 * prod(size) / taken[clock] for clock in ("wall", "cpu")}


def limit(row: Mapping[str, Any], multiplied: int, rate: float, memory: float) -> tuple[float, float]:
    """Seconds that a kind of operator takes at the rate of the matrix product, and at that of memory."""
    return 2 * multiplied / rate, row["bytes"] / memory


def markdown(result: Mapping[str, Any]) -> str:
    """All tables."""
    cores = result["cores"]
    return f"""# Distance to the machine's limit

Written by `make bench-limit`. {result["circumstances"]}. {ROUNDS} rounds in which all measurements take
turns. Times are those of the fastest call, because other work on the machine can only slow a call down; processor times are those of
the median round. G is 10^9; a multiply-add is two operations.

## Peak rates of the cores

The matrix product in float32 with ONNX Runtime, and with NumPy, in G operations per second; in the last column per second of processor
time.

{_gemm_table(result["gemm"], cores)}

Reading and writing memory, measured by adding one number to a tensor of {4 * ADDED / 1e6:.0f} MB: {_gigabytes(result)}.

## Stages

One page uses all cores; lines run in parallel, one per core. The share is that of the fastest matrix product, by processor
time. One run is the sum of its profile below. Its limit is the roofline's: for each kind of operator the longer one of its
two times, summed. Data that stay in a core's cache can be faster than that. The input of recognition is a page squeezed to the
shape of a line, in which hardly any step can be proved blank, so that all classes are computed.

{_stage_table(result)}

## Time by operator

From ONNX Runtime's profile of one run on one line or page; the kinds of operators that take the most time. G operations per second
count the operations of the model, without the padding to whole blocks of channels.

{chr(10).join(_profile_table(stage, result) for stage in result["stages"])}"""


def _gigabytes(result: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{rate / 1e9:.1f} GB/s on {count} core{'s' * (count != '1')}" for count, rate in result["memory"].items()
    )


def _gemm_table(rates: Mapping[str, Mapping[str, float]], cores: int) -> str:
    table = [
        f"| rows x depth x columns | 1 core | {cores} cores | {cores} cores, per processor second |",
        "|---|--:|--:|--:|",
    ]
    for name, size in GEMMS.items():
        one, all_cores = rates[f"{name} on 1"], rates[f"{name} on {cores}"]
        figures = (one["wall"], all_cores["wall"], all_cores["cpu"])
        cells = " | ".join(f"{figure / 1e9:.0f}" for figure in figures)
        table.append(f"| {name}, {' x '.join(map(str, size))} | {cells} |")
    table.append(f"| square, with NumPy | | {rates['NumPy']['wall'] / 1e9:.0f} | |")
    return "\n".join(table)


def _at_limit(stage: Mapping[str, Any], result: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Seconds of each kind in the profile at the two limits, on as many cores as one call of the stage uses."""
    rate = _fastest(result, stage["threads"], "wall")
    memory = result["memory"][str(stage["threads"])]
    return [limit(row, stage["multiply_adds"].get(row["kind"], 0), rate, memory) for row in stage["profile"]]


def _fastest(result: Mapping[str, Any], cores: int, clock: str) -> float:
    """Operations a second of the matrix product that does best."""
    return max(float(result["gemm"][f"{name} on {cores}"][clock]) for name in GEMMS)


def _stage_table(result: Mapping[str, Any]) -> str:
    peak = _fastest(result, 1, "cpu")
    table = [
        "| stage | G multiply-adds | ms | median ms | processor ms | G operations/s | share | one run, ms | limit of one run, ms |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for stage in result["stages"]:
        count = stage["runs"] * sum(stage["multiply_adds"].values())
        whole = sum(row["seconds"] for row in stage["profile"])
        floor = sum(map(max, _at_limit(stage, result)))
        table.append(
            f"| {stage['stage']} | {count / 1e9:.2f} | {1e3 * stage['wall']:.1f} "
            f"| {1e3 * stage['median']:.1f} | {1e3 * stage['cpu']:.1f} "
            f"| {2 * count / stage['wall'] / 1e9:.0f} | {2 * count / stage['cpu'] / peak:.0%} "
            f"| {1e3 * whole:.1f} | {1e3 * floor:.1f} |"
        )
    return "\n".join(table)


def _profile_table(stage: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    table = [
        f"### {stage['stage'].partition(', 8 lines')[0]}{stage['stage'].partition('8 lines')[2]}\n",
        "| operators | number | ms | share | G operations/s | MB | multiply-adds at the peak rate, ms | bytes at the memory rate, ms |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    whole = sum(row["seconds"] for row in stage["profile"])
    for row, (computed, moved) in list(zip(stage["profile"], _at_limit(stage, result), strict=True))[:TOP]:
        multiplied = stage["multiply_adds"].get(row["kind"], 0)
        rate = f"{2 * multiplied / row['seconds'] / 1e9:.0f}" if multiplied else ""
        table.append(
            f"| {row['kind']} | {row['calls']} | {1e3 * row['seconds']:.2f} | {row['seconds'] / whole:.0%} | {rate} "
            f"| {row['bytes'] / 1e6:.1f} | {1e3 * computed:.2f} | {1e3 * moved:.2f} |"
        )
    return "\n".join(table) + "\n"


@click.command(help=__doc__)
@click.option("--write/--no-write", default=True, help="Write benchmarks/results.")
def main(write: bool) -> None:
    """Measure everything and write the tables."""
    result = measure()
    click.echo(markdown(result))
    if write:
        records.keep("limit", result, markdown(result))


if __name__ == "__main__":
    main()
