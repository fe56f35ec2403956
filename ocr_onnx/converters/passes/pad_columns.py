"""Compute one column of features for all padding columns of a text line. On CPUs only.

Pattern: a recognizer whose first nodes are Conv and elementwise operators, up to the first node that sees the whole line
(squeeze-and-excitation or attention). Lines are padded with zeros on the right, a third of a page's columns in all.

Replacement: Slice removes padding columns from the input; before the first node that sees the whole line, one column of the features
is repeated (Slice, Expand, Concat) in place of the removed ones.

Why equal: feature columns whose receptive field holds only zeros are equal, except fields the image's end, where the field reaches the
padding of the Conv nodes. Columns of both kinds are kept: `ReceptiveField` has the reach to both sides. Results are equal to the last
bit if ONNX Runtime sums in the same order, as for PP-OCRv5 and v4 mobile, else to rounding.

Gain: 6.6 % of the processor time of whole pages (5.9 to 10.0 % in 5 rounds). Measured by: make bench-passes.
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

ELEMENTWISE = {"HardSwish", "Relu", "Sigmoid", "HardSigmoid", "Clip", "Mul", "Add", "BatchNormalization", "Identity"}
"""Elementwise operators; their constants must be equal for all columns."""

OPSET = 15
"""The first opset in which Shape has a start."""

PREFIX = "padding/"
"""Prefix of the tensors that this pass adds."""

MAX_FIELD = 160
"""Largest receptive field in pixels: only padding beyond it saves time."""

MIN_SHARE = 1 / 4
"""Smallest share of the graph's Conv nodes in the pattern; with fewer, the replacement costs more than it saves."""


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """The image columns that feature column k depends on: k * stride - left, …, k * stride + right."""

    stride: int = 1
    left: int = 0
    right: int = 0


def skip_padding_columns(model: onnx.ModelProto) -> list[Replacement]:
    """Return the two replacements, at the input and at the last features of the pattern; [] if they would save little."""
    graph = Graph(model)
    (source,) = (value.name for value in model.graph.input if value.name not in graph.constants)
    fields = _receptive_fields(graph, source)
    last = {name for name in fields for node in graph.consumers(name) if node.output[0] not in fields}
    if len(last) != 1 or last == {source} or graph.outputs & fields.keys() or not is_open(model, OPSET, PREFIX):
        return []
    (features,) = last
    field = fields[features]
    convolutions = [node.output[0] in fields for node in graph.nodes if node.op_type == "Conv"]
    if field.left + field.right > MAX_FIELD or sum(convolutions) < MIN_SHARE * len(convolutions):
        return []
    constants = {
        "padding/nothing": [0],
        "padding/all": [2**40],
        "padding/one": [1],
        "padding/in_sight": [field.left + field.stride],
        "padding/to_end": [field.right + 1],
        "padding/stride": [field.stride],
        "padding/width": [3],
        "padding/others": [0, 1, 2],
        "padding/ones": [1, 1, 1],
    }
    numbers = {name: np.array(value, np.int64) for name, value in constants.items()}
    return [_before(graph, source, _crop_nodes(source), numbers), _before(graph, features, _repeat_nodes(features), {})]


def _before(
    graph: Graph, name: str, nodes: Sequence[NodeProto], constants: Mapping[str, NDArray[np.int64]]
) -> Replacement:
    """Return the replacement of all readers of a tensor, which then read the output of `nodes`."""
    readers = [i for i, node in enumerate(graph.nodes) if name in node.input]
    first, after = readers[0], readers[-1] + 1
    return Replacement(first, after, [*nodes, *renamed(graph.nodes[first:after], {name: f"padding/{name}"})], constants)


def _receptive_fields(graph: Graph, source: str) -> dict[str, ReceptiveField]:
    """Return the receptive field of each tensor in the pattern."""
    fields = {source: ReceptiveField()}
    for node in graph.nodes:
        inputs = [name for name in node.input if name and name not in graph.constants]
        if not inputs or not all(name in fields for name in inputs):
            continue
        if node.op_type == "Conv" and len(inputs) == 1:
            found = _convolved(graph, node, fields[inputs[0]])
        elif (
            node.op_type in ELEMENTWISE
            and len({fields[name].stride for name in inputs}) == 1
            and _equal_in_all_columns(graph, node)
        ):
            left, right = (max(getattr(fields[name], side) for name in inputs) for side in ("left", "right"))
            found = ReceptiveField(fields[inputs[0]].stride, left, right)
        else:
            continue
        if found is not None:
            fields[node.output[0]] = found
    return fields


def _convolved(graph: Graph, conv: NodeProto, before: ReceptiveField) -> ReceptiveField | None:
    weights = graph.constants.get(conv.input[1])
    if weights is None or weights.ndim != 4 or attribute(conv, "auto_pad", b"NOTSET") != b"NOTSET":
        return None
    stride, dilation, pad = (
        ints(conv, name, usual)[1] for name, usual in (("strides", [1, 1]), ("dilations", [1, 1]), ("pads", [0] * 4))
    )
    far = (weights.shape[3] - 1) * dilation - pad
    return ReceptiveField(
        before.stride * stride,
        before.left + pad * before.stride,
        before.right + far * before.stride,
    )


def _equal_in_all_columns(graph: Graph, node: NodeProto) -> bool:
    """Return whether a node's constants are equal for all columns."""
    constants = [graph.constants[name] for name in node.input if name in graph.constants]
    of_channels = node.op_type == "BatchNormalization"
    return of_channels or all(constant.ndim == 0 or constant.shape[-1] == 1 for constant in constants)


def _crop_nodes(source: str) -> list[NodeProto]:
    """Return nodes that remove padding columns from the input, and compute which feature column to repeat, and how often."""
    node = helper.make_node
    return [
        node("Abs", [source], ["padding/sizes"]),
        node("ReduceSum", ["padding/sizes", "padding/others"], ["padding/sums"], keepdims=0),
        # NaN counts as not 0.
        node("Cast", ["padding/sums"], ["padding/filled"], to=TensorProto.BOOL),
        node("Cast", ["padding/filled"], ["padding/marks"], to=TensorProto.FLOAT),
        node("ArgMax", ["padding/marks"], ["padding/last"], axis=0, keepdims=1, select_last_index=1),
        # The first feature column that does not see the line, and the least width at which it does not see the end.
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


def _repeat_nodes(features: str) -> list[NodeProto]:
    """Return nodes that repeat one feature column."""
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
