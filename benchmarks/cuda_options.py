"""Measure options of ONNX Runtime's CUDA provider, model by model: benchmarks/results/cuda_options.md.

    python -m benchmarks.cuda_options

Each model gets two or three fixed shapes, one after the other. The first run makes the plans of the convolutions; it is measured by
itself, then the median of 30 runs with the copies to and from the GPU, and without them. "Alternating" runs two shapes in turns in
one session.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import click
import numpy as np

from benchmarks import records
from benchmarks.machine import circumstances
from ocr_onnx.models import store
from ocr_onnx.runtime import backend, libraries, session
from ocr_onnx.runtime.cuda_graphs import GRAPH_ID, GRAPH_OPTION, NOT_RECORDED, RECORDED
from ocr_onnx.runtime.model_file import model_for_device
from ocr_onnx.runtime.provider_specs import CPU_PROVIDER, CUDA_PROVIDER
from ocr_onnx.runtime.selection import preload
from ocr_onnx.types import Tensor

PAGES = ((1, 3, 960, 960), (1, 3, 736, 1280))
LINES = ((8, 3, 48, 320), (16, 3, 48, 640), (1, 3, 48, 320))
MODELS = {
    "PP-OCRv6_small_det": PAGES,
    "PP-OCRv6_small_rec": LINES,
    "PP-OCRv5_mobile_det": PAGES,
    "PP-OCRv5_mobile_rec": LINES,
}
BASE = {"arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
GRAPH = {GRAPH_OPTION: "1"}
CHANGES: Mapping[str, Mapping[str, str]] = {
    "HEURISTIC, float32": {},
    "with a CUDA graph": GRAPH,
    "TensorFloat-32, with a CUDA graph": {"use_tf32": "1", **GRAPH},
    "NHWC, with a CUDA graph": {"prefer_nhwc": "1", **GRAPH},
    "DEFAULT, TensorFloat-32": {"cudnn_conv_algo_search": "DEFAULT", "use_tf32": "1"},
    "EXHAUSTIVE, float32": {"cudnn_conv_algo_search": "EXHAUSTIVE"},
}
RUNS, TURNS = 30, 4


def open_session(name: str, changes: Mapping[str, str]) -> Any:
    """Return an onnxruntime.InferenceSession of a model with these options."""
    ort = backend.onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level, options.enable_mem_pattern = session.LOG_ERRORS_ONLY, False
    contents = bytes(model_for_device(store.find(name).read_bytes(), on_cpu=False, masked=True))
    providers = [(CUDA_PROVIDER, BASE | dict(changes)), CPU_PROVIDER]
    return ort.InferenceSession(contents, options, providers=providers, enable_fallback=0)


def milliseconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    begun = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - begun)


def median(call: Callable[[], object]) -> float:
    """Return the median time of RUNS calls, in milliseconds."""
    return statistics.median(milliseconds(call) for _ in range(RUNS))


def measure(opened: Any, tensor: Tensor, graph: str) -> dict[str, float]:
    """Return the milliseconds of the first run, of a run with its copies, and of one without; `graph` is the recording's number."""
    ort, name, found = backend.onnxruntime(), opened.get_inputs()[0].name, {}
    ordinary, recorded = ort.RunOptions(), ort.RunOptions()
    if graph:
        ordinary.add_run_config_entry(GRAPH_ID, NOT_RECORDED)
        recorded.add_run_config_entry(GRAPH_ID, graph)
    outputs: list[Any] = []
    found["first"] = milliseconds(lambda: outputs.extend(opened.run(None, {name: tensor}, ordinary)))
    binding, source = opened.io_binding(), ort.OrtValue.ortvalue_from_numpy(tensor, "cuda", 0)
    results = [ort.OrtValue.ortvalue_from_numpy(output, "cuda", 0) for output in outputs]
    binding.bind_ortvalue_input(name, source)
    for node, result in zip(opened.get_outputs(), results, strict=True):
        binding.bind_ortvalue_output(node.name, result)

    def run() -> None:
        opened.run_with_iobinding(binding, recorded)

    def run_with_copies() -> None:
        source.update_inplace(tensor)
        run()
        for result in results:
            result.numpy()

    run_with_copies()
    return found | {"with_copies": median(run_with_copies), "run": median(run)}


def tensor_of(shape: tuple[int, ...]) -> Tensor:
    """Return made-up values."""
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def rows(model: str, changes: Mapping[str, str]) -> dict[str, Any]:
    """Return the times of each shape, or the error."""
    try:
        opened = open_session(model, changes)
        graphs = [
            str(number) if GRAPH_OPTION in changes else "" for number, _ in enumerate(MODELS[model], int(RECORDED))
        ]
        return {
            "x".join(map(str, shape)): measure(opened, tensor_of(shape), graph)
            for shape, graph in zip(MODELS[model], graphs, strict=True)
        }
    except backend.exceptions(backend.onnxruntime()) as error:
        return {"error": str(error)}


def alternating(model: str) -> list[float]:
    """Return the milliseconds of runs of two shapes in turns, in one session."""
    opened = open_session(model, {})
    name, tensors = opened.get_inputs()[0].name, [tensor_of(shape) for shape in MODELS[model][:2]]

    def timed(tensor: Tensor) -> float:
        return milliseconds(lambda: opened.run(None, {name: tensor}))

    return [timed(tensor) for _ in range(TURNS) for tensor in tensors]


def markdown(result: Mapping[str, Any]) -> str:
    """Return cuda_options.md."""
    lines = [
        "# Options of the CUDA provider",
        "",
        f"Written by `python -m benchmarks.cuda_options`. {result['circumstances']}; {result['gpu']}. Milliseconds.",
        "",
        "| model | options | shape | first run | run, with copies | run alone |",
        "|---|---|---|--:|--:|--:|",
    ]
    for model, options in result["options"].items():
        for name, shapes in options.items():
            if "error" in shapes:
                lines.append(f"| {model} | {name} | refused: {shapes['error']} | | | |")
                continue
            for shape, times in shapes.items():
                cells = " | ".join(f"{times[key]:.2f}" for key in ("first", "with_copies", "run"))
                lines.append(f"| {model} | {name} | {shape} | {cells} |")
    lines += ["", "## Two shapes in turns, in one session", "", "| model | runs |", "|---|---|"]
    lines += [f"| {model} | {', '.join(f'{t:.0f}' for t in times)} |" for model, times in result["alternating"].items()]
    return "\n".join(lines) + "\n"


@click.command(help=__doc__)
def main() -> None:
    """Measure, and write cuda_options.json and cuda_options.md after each model."""
    preload()
    result: dict[str, Any] = {
        "circumstances": circumstances(),
        "gpu": libraries.gpu_name(0),
        "options": {},
        "alternating": {},
    }
    for model in MODELS:
        result["options"][model] = {name: rows(model, changes) for name, changes in CHANGES.items()}
        result["alternating"][model] = alternating(model)
        records.keep("cuda_options", result, markdown(result))
    click.echo(markdown(result))


if __name__ == "__main__":
    main()
