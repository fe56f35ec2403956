"""Recognition on a CPU: of the columns that only pad a line, few are computed.

A line stands in a picture with zeros to its right, a third of a page's columns in all. As long as a graph only convolves,
columns of features that see nothing but zeros are all the same, until the picture's end comes into sight: the graph's
first nodes are given a picture from which so many of them are cut, and one of their columns is repeated in its place.
What sees a whole line at once, squeeze-and-excitation to begin with, is given all columns. The same numbers come out, to the
last bit where ONNX Runtime sums up in the same order: for PP-OCRv5 and v4 mobile it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from ocr_onnx.converters.graph import Graph, attribute, ints
from ocr_onnx.converters.replacements import Replacement, is_open, renamed

EACH = {"HardSwish", "Relu", "Sigmoid", "HardSigmoid", "Clip", "Mul", "Add", "BatchNormalization", "Identity"}
"""Operators that compute each number from one alone, and constants that are the same for all columns."""

OPSET = 15
"""The first in which a graph can ask for one side of a shape."""

PREFIX = "padding/"
"""What the names of new tensors begin with."""

MOST = 160
"""Pixels that a line must be padded with before a column is spared: with more it would rarely pay."""

LEAST = 1 / 4
"""The share of the graph's convolutions that must see few columns for what it costs to find them."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Which columns of the picture a column of features, column k, is computed from: k * stride - left to k * stride + right."""

    stride: int = 1
    left: int = 0
    right: int = 0


def skip_padding(model: onnx.ModelProto) -> list[Replacement]:
    """What a CPU is given for a graph's input and for the last features that see few columns; nothing where that spares little."""
    graph = Graph(model)
    (source,) = (value.name for value in model.graph.input if value.name not in graph.constants)
    near = _near(graph, source)
    last = {name for name in near for node in graph.consumers(name) if node.output[0] not in near}
    if len(last) != 1 or last == {source} or graph.outputs & near.keys() or not is_open(model, OPSET, PREFIX):
        return []
    (features,) = last
    sight = near[features]
    convolutions = [node.output[0] in near for node in graph.nodes if node.op_type == "Conv"]
    if sight.left + sight.right > MOST or sum(convolutions) < LEAST * len(convolutions):
        return []
    constants = {
        "padding/nothing": [0],
        "padding/all": [2**40],
        "padding/one": [1],
        "padding/in_sight": [sight.left + sight.stride],
        "padding/to_end": [sight.right + 1],
        "padding/stride": [sight.stride],
        "padding/width": [3],
        "padding/others": [0, 1, 2],
        "padding/ones": [1, 1, 1],
    }
    numbers = {name: np.array(value, np.int64) for name, value in constants.items()}
    return [_before(graph, source, _cut(source), numbers), _before(graph, features, _widen(features), {})]


def _before(
    graph: Graph, name: str, nodes: Sequence[NodeProto], constants: Mapping[str, NDArray[np.int64]]
) -> Replacement:
    """The nodes from the first to the last that reads a tensor, which then read what `nodes` make of it."""
    readers = [i for i, node in enumerate(graph.nodes) if name in node.input]
    first, after = readers[0], readers[-1] + 1
    return Replacement(first, after, [*nodes, *renamed(graph.nodes[first:after], {name: f"padding/{name}"})], constants)


def _near(graph: Graph, source: str) -> dict[str, Sight]:
    """The sight of each tensor that is computed column by column from near ones."""
    near = {source: Sight()}
    for node in graph.nodes:
        inputs = [name for name in node.input if name and name not in graph.constants]
        if not inputs or not all(name in near for name in inputs):
            continue
        if node.op_type == "Conv" and len(inputs) == 1:
            found = _convolved(graph, node, near[inputs[0]])
        elif node.op_type in EACH and len({near[name].stride for name in inputs}) == 1 and _alike(graph, node):
            left, right = (max(getattr(near[name], side) for name in inputs) for side in ("left", "right"))
            found = Sight(near[inputs[0]].stride, left, right)
        else:
            continue
        if found is not None:
            near[node.output[0]] = found
    return near


def _convolved(graph: Graph, conv: NodeProto, before: Sight) -> Sight | None:
    weights = graph.constants.get(conv.input[1])
    if weights is None or weights.ndim != 4 or attribute(conv, "auto_pad", b"NOTSET") != b"NOTSET":
        return None
    stride, dilation, pad = (
        ints(conv, name, usual)[1] for name, usual in (("strides", [1, 1]), ("dilations", [1, 1]), ("pads", [0] * 4))
    )
    far = (weights.shape[3] - 1) * dilation - pad
    return Sight(
        before.stride * stride,
        before.left + pad * before.stride,
        before.right + far * before.stride,
    )


def _alike(graph: Graph, node: NodeProto) -> bool:
    """Whether a node's constants are the same for all columns."""
    constants = [graph.constants[name] for name in node.input if name in graph.constants]
    of_channels = node.op_type == "BatchNormalization"
    return of_channels or all(constant.ndim == 0 or constant.shape[-1] == 1 for constant in constants)


def _cut(source: str) -> list[NodeProto]:
    """The picture without columns of zeros at its end, as many as are spared; where features are repeated, and how often."""
    node = helper.make_node
    return [
        node("Abs", [source], ["padding/sizes"]),
        node("ReduceSum", ["padding/sizes", "padding/others"], ["padding/sums"], keepdims=0),
        # No number is not 0 either.
        node("Cast", ["padding/sums"], ["padding/filled"], to=TensorProto.BOOL),
        node("Cast", ["padding/filled"], ["padding/marks"], to=TensorProto.FLOAT),
        node("ArgMax", ["padding/marks"], ["padding/last"], axis=0, keepdims=1, select_last_index=1),
        # The first column of features that does not see the line, and the least width for it not to see the end.
        node("Add", ["padding/last", "padding/in_sight"], ["padding/out_of_sight"]),
        node("Div", ["padding/out_of_sight", "padding/stride"], ["padding/place"]),
        node("Mul", ["padding/place", "padding/stride"], ["padding/seen_from"]),
        node("Add", ["padding/seen_from", "padding/to_end"], ["padding/least"]),
        node("Shape", [source], ["padding/columns"], start=3),
        node("Sub", ["padding/columns", "padding/least"], ["padding/more"]),
        node("Max", ["padding/more", "padding/nothing"], ["padding/spare"]),
        node("Div", ["padding/spare", "padding/stride"], ["padding/times"]),
        node("Mul", ["padding/times", "padding/stride"], ["padding/left_out"]),
        node("Sub", ["padding/columns", "padding/left_out"], ["padding/end"]),
        node("Slice", [source, "padding/nothing", "padding/end", "padding/width"], [f"padding/{source}"]),
    ]


def _widen(features: str) -> list[NodeProto]:
    """The features with one column repeated."""
    node = helper.make_node
    return [
        node("Add", ["padding/place", "padding/one"], ["padding/next"]),
        node("Slice", [features, "padding/nothing", "padding/place", "padding/width"], ["padding/before"]),
        node("Slice", [features, "padding/place", "padding/next", "padding/width"], ["padding/column"]),
        node("Slice", [features, "padding/place", "padding/all", "padding/width"], ["padding/behind"]),
        node("Concat", ["padding/ones", "padding/times"], ["padding/repeats"], axis=0),
        node("Expand", ["padding/column", "padding/repeats"], ["padding/between"]),
        node("Concat", ["padding/before", "padding/between", "padding/behind"], [f"padding/{features}"], axis=3),
    ]
