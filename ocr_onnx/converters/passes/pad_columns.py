"""Compute one column of features for all padding columns of a text line. On CPUs only.

Pattern: a recognizer whose first nodes are convolutions, poolings, elementwise operators and squeeze-and-excitation, up to the last
node that all of them lead to. Lines are padded with zeros on the right, a third of a page's columns in all.

Replacement: Slice removes padding columns from the input; behind the pattern, one column of the features is repeated (Slice, Expand,
Concat) in place of the removed ones. In the pattern, the mean of squeeze-and-excitation counts that column as often as it is repeated.

Why equal: feature columns whose receptive field holds only zeros are equal, except fields the image's end, where the field reaches the
padding of the Conv nodes. Columns of both kinds are kept: `ReceptiveField` has the reach to both sides. Results are equal to the last
bit if ONNX Runtime sums in the same order, as for PP-OCRv5 and v4 mobile, else to rounding.

Gain: 6.6 % of the processor time of whole pages (5.9 to 10.0 % in 5 rounds). Measured by: make bench-passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from ocr_onnx.converters.graph import Graph, attribute, ints
from ocr_onnx.converters.replacements import Replacement, is_open, renamed

ELEMENTWISE = {
    "HardSwish",
    "Relu",
    "Sigmoid",
    "HardSigmoid",
    "Clip",
    "Mul",
    "Add",
    "Div",
    "Erf",
    "BatchNormalization",
    "Identity",
}
"""Elementwise operators; their constants must be equal for all columns."""

WINDOWS = {"Conv", "MaxPool", "AveragePool"}
"""Operators that compute a column from a window of columns."""

OPSET = 15
"""The first opset in which Shape has a start."""

PREFIX = "padding/"
"""Prefix of the tensors that this pass adds."""

MAX_FIELD = 120
"""Largest receptive field in pixels, both sides together: only padding beyond it saves time. With 160, PP-OCRv5 mobile gains nothing
on wide lines and loses on narrow ones."""

MIN_SHARE = 1 / 4
"""Smallest share of the graph's Conv nodes in the pattern; with fewer, the replacement costs more than it saves."""


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """The image columns that feature column k depends on: k * stride - left, …, k * stride + right."""

    stride: int = 1
    left: int = 0
    right: int = 0


@dataclass(slots=True)
class Pattern:
    """The first nodes of a graph."""

    fields: dict[str, ReceptiveField]
    """The maps, with their receptive fields."""
    gates: set[str] = field(default_factory=set)
    """Tensors with one value for a channel: means over whole maps, and what is computed from them."""
    means: list[int] = field(default_factory=list)
    """The indices of the nodes that compute means."""


def skip_padding_columns(model: onnx.ModelProto) -> list[Replacement]:
    """Return the replacements at the input, at means, and behind the pattern; [] if they would save little."""
    graph = Graph(model)
    (source,) = (value.name for value in model.graph.input if value.name not in graph.constants)
    if not is_open(model, OPSET, PREFIX):
        return []
    pattern = Pattern({source: ReceptiveField()})
    cuts = [last for last in _cuts(graph, pattern) if _pays(graph, pattern, last)]
    if not cuts:
        return []
    # A corrected mean costs time, and rounds: if the pattern pays without one, it ends before.
    last = ([cut for cut in cuts if not pattern.means or cut < pattern.means[0]] or cuts)[-1]
    features = graph.nodes[last].output[0]
    reach = pattern.fields[features]
    means = [(i, graph.nodes[i]) for i in pattern.means if i < last]
    constants = {
        "padding/nothing": [0],
        "padding/all": [2**40],
        "padding/one": [1],
        "padding/in_sight": [reach.left + reach.stride],
        "padding/to_end": [reach.right + 1],
        "padding/stride": [reach.stride],
        "padding/width": [3],
        "padding/others": [0, 1, 2],
        "padding/ones": [1, 1, 1],
    }
    numbers = {name: np.array(value, np.int64) for name, value in constants.items()}
    return [
        _before(graph, source, _crop_nodes(source), numbers),
        *(_at_mean(node, i, pattern.fields[node.input[0]], reach) for i, node in means),
        _before(graph, features, _repeat_nodes(features), {}),
    ]


def _before(
    graph: Graph, name: str, nodes: Sequence[NodeProto], constants: Mapping[str, NDArray[np.int64]]
) -> Replacement:
    """Return the replacement of all readers of a tensor, which then read the output of `nodes`."""
    readers = [i for i, node in enumerate(graph.nodes) if name in node.input]
    first, after = readers[0], readers[-1] + 1
    return Replacement(first, after, [*nodes, *renamed(graph.nodes[first:after], {name: f"padding/{name}"})], constants)


def _cuts(graph: Graph, pattern: Pattern) -> Iterator[int]:
    """Extend the pattern node by node; yield the index of each node through which all of the pattern leads to the rest of the graph."""
    last_reader = {name: i for i, node in enumerate(graph.nodes) for name in node.input}
    for i, node in enumerate(graph.nodes):
        reads = any(name in pattern.fields or name in pattern.gates for name in node.input)
        if reads and not _extend(graph, pattern, i):
            return
        out, known = node.output[0], pattern.fields.keys() | pattern.gates
        if known & graph.outputs:
            return
        if out in pattern.fields and all(last_reader.get(name, -1) <= i for name in known - {out}):
            yield i


def _pays(graph: Graph, pattern: Pattern, last: int) -> bool:
    """Return whether a pattern up to this node has few enough columns to keep, and enough convolutions."""
    reach = pattern.fields[graph.nodes[last].output[0]]
    convolutions = [i for i, node in enumerate(graph.nodes) if node.op_type == "Conv"]
    within = [i for i in convolutions if i <= last and graph.nodes[i].output[0] in pattern.fields]
    whole = all(reach.stride % pattern.fields[graph.nodes[i].input[0]].stride == 0 for i in pattern.means if i < last)
    return whole and reach.left + reach.right <= MAX_FIELD and len(within) >= MIN_SHARE * len(convolutions)


def _extend(graph: Graph, pattern: Pattern, index: int) -> bool:
    """Add a node that reads the pattern's tensors; return False if it does not belong to it."""
    node = graph.nodes[index]
    inputs = [name for name in node.input if name and name not in graph.constants]
    fields = [pattern.fields[name] for name in inputs if name in pattern.fields]
    if not all(name in pattern.fields or name in pattern.gates for name in inputs):
        return False
    elementwise = node.op_type in ELEMENTWISE and _equal_in_all_columns(graph, node)
    if not fields and (elementwise or (node.op_type == "Conv" and ints(node, "kernel_shape", [0]) == [1, 1])):
        pattern.gates.add(node.output[0])
    elif fields and _is_mean(node):
        pattern.gates.add(node.output[0])
        pattern.means.append(index)
    elif node.op_type in WINDOWS and len(fields) == len(inputs) == 1:
        found = _through_window(graph, node, fields[0])
        if found is None:
            return False
        pattern.fields[node.output[0]] = found
    elif fields and (elementwise or (node.op_type == "Concat" and attribute(node, "axis", None) == 1)):
        if len({each.stride for each in fields}) != 1:
            return False
        left, right = (max(getattr(each, side) for each in fields) for side in ("left", "right"))
        pattern.fields[node.output[0]] = ReceptiveField(fields[0].stride, left, right)
    else:
        return False
    return True


def _is_mean(node: NodeProto) -> bool:
    """Return whether a node is a mean over all rows and columns, which stay as axes."""
    if node.op_type == "GlobalAveragePool":
        return True
    axes = sorted(axis % 4 for axis in ints(node, "axes", []))
    return node.op_type == "ReduceMean" and axes == [2, 3] and attribute(node, "keepdims", 1) == 1


def _through_window(graph: Graph, node: NodeProto, before: ReceptiveField) -> ReceptiveField | None:
    """Return the receptive field of a convolution or pooling; None if its padding depends on the width."""
    weights = graph.constants.get(node.input[1]) if node.op_type == "Conv" else None
    kernel = ints(node, "kernel_shape", [] if weights is None else weights.shape[2:])
    if len(kernel) != 2 or attribute(node, "ceil_mode", 0) or (node.op_type == "Conv" and weights is None):
        return None
    stride, dilation = (ints(node, name, [1, 1])[1] for name in ("strides", "dilations"))
    reach = (kernel[1] - 1) * dilation
    how = attribute(node, "auto_pad", b"NOTSET")
    if how == b"NOTSET":
        pad = ints(node, "pads", [0] * 4)[1]
    elif how in {b"SAME_UPPER", b"SAME_LOWER"} and stride == 1:
        pad = reach // 2 if how == b"SAME_UPPER" else reach - reach // 2
    else:
        return None
    return ReceptiveField(
        before.stride * stride, before.left + pad * before.stride, before.right + (reach - pad) * before.stride
    )


def _equal_in_all_columns(graph: Graph, node: NodeProto) -> bool:
    """Return whether a node's constants are equal for all columns."""
    constants = [graph.constants[name] for name in node.input if name in graph.constants]
    of_channels = node.op_type == "BatchNormalization"
    return of_channels or all(constant.ndim == 0 or constant.shape[-1] == 1 for constant in constants)


def _at_mean(mean: NodeProto, index: int, at: ReceptiveField, last: ReceptiveField) -> Replacement:
    """Return the replacement of a mean by one that counts the column in place of the removed ones as often as it is repeated."""
    node, (source, out) = helper.make_node, (mean.input[0], mean.output[0])
    own = f"padding/{out}"
    (unnamed,) = renamed([mean], {})
    unnamed.name = ""
    constants = {f"{own}/ratio": last.stride // at.stride, f"{own}/stride": at.stride}
    nodes = [
        node("Shape", [source], [f"{own}/columns"], start=3),
        node("Sub", [f"{own}/columns", "padding/one"], [f"{own}/end"]),
        node("Mul", ["padding/place", f"{own}/ratio"], [f"{own}/place"]),
        # If nothing is removed, there may be no such column.
        node("Min", [f"{own}/place", f"{own}/end"], [f"{own}/first"]),
        node("Add", [f"{own}/first", "padding/one"], [f"{own}/next"]),
        node("Div", ["padding/left_out", f"{own}/stride"], [f"{own}/removed"]),
        node("Add", [f"{own}/columns", f"{own}/removed"], [f"{own}/all"]),
        *(
            node("Cast", [f"{own}/{name}"], [f"{own}/{name}/number"], to=TensorProto.FLOAT)
            for name in ("removed", "all")
        ),
        node("Div", [f"{own}/removed/number", f"{own}/all/number"], [f"{own}/share"]),
        *renamed([mean], {out: f"{own}/kept"}),
        node("Slice", [source, f"{own}/first", f"{own}/next", "padding/width"], [f"{own}/column"]),
        *renamed([unnamed], {source: f"{own}/column", out: f"{own}/repeated"}),
        node("Sub", [f"{own}/repeated", f"{own}/kept"], [f"{own}/difference"]),
        node("Mul", [f"{own}/difference", f"{own}/share"], [f"{own}/correction"]),
        node("Add", [f"{own}/kept", f"{own}/correction"], [out]),
    ]
    return Replacement(
        index, index + 1, nodes, {name: np.array([value], np.int64) for name, value in constants.items()}
    )


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
