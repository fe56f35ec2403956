"""Count the multiply-adds of a model by kind of operator, and read ONNX Runtime's profile of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from ocr_onnx.runtime.model_file import model_for_device

SAME_KIND = {"FusedMatMul": "MatMul", "FusedConv": "Conv", "FusedGemm": "Gemm"}


def kind(operator: str, weights: Sequence[int], channels: int) -> str:
    """What an operator is called in the tables; `weights` is the shape of a convolution's, `channels` its input's."""
    operator = SAME_KIND.get(operator, operator)
    if operator != "Conv":
        return operator
    depthwise = "depthwise " if weights[1] == 1 < channels else ""
    return f"Conv {depthwise}{'x'.join(map(str, weights[2:]))}"


def multiply_adds(path: Path, shape: Sequence[int]) -> dict[str, int]:
    """Multiplications with an addition that a model needs for an input of `shape`, by kind of operator."""
    shapes, nodes = _inferred(path, shape)
    counts: dict[str, int] = {}
    for node in nodes:
        if node.op_type not in {"Conv", "ConvTranspose", "MatMul", "Gemm"}:
            continue
        first, second, out = (shapes[name] for name in (*node.input[:2], node.output[0]))
        if node.op_type == "Conv":
            each = prod(out) * prod(second[1:])
        elif node.op_type == "ConvTranspose":
            each = prod(first) * prod(second[1:])
        else:
            each = prod(out) * (first[-2] if _transposed(node) else first[-1])
        name = kind(node.op_type, second, first[1])
        counts[name] = counts.get(name, 0) + each
    return counts


def _inferred(path: Path, shape: Sequence[int]) -> tuple[dict[str, tuple[int, ...]], Sequence[Any]]:
    """The shape of each tensor of a graph, and its nodes."""
    import onnx

    model = onnx.load_from_string(model_for_device(path.read_bytes(), on_cpu=False))
    for dimension, side in zip(model.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dimension.dim_value = side
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    return shapes, graph.node


def _transposed(gemm: Any) -> bool:
    return any(attribute.name == "transA" and attribute.i for attribute in gemm.attribute)


def by_kind(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Seconds, bytes and calls of each kind of operator: nodes at their fastest, the kind that takes longest first."""
    nodes: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            nodes.setdefault(event["name"], []).append(event)
    kinds: dict[str, dict[str, Any]] = {}
    for runs in nodes.values():
        said = runs[0]["args"]
        shapes = [next(iter(each.values())) for each in said["input_type_shape"]]
        weights, channels = (shapes[1], shapes[0][1]) if said["op_name"].endswith("Conv") else ((), 0)
        name = kind(said["op_name"], weights, channels)
        row = kinds.setdefault(name, {"kind": name, "calls": 0, "seconds": 0.0, "bytes": 0})
        row["calls"] += 1
        row["seconds"] += min(run["dur"] for run in runs) / 1e6
        row["bytes"] += sum(int(said[size]) for size in ("activation_size", "parameter_size", "output_size"))
    return sorted(kinds.values(), key=lambda row: -row["seconds"])
