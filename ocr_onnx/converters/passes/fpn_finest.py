"""Detection on a CPU: the finest map of a DB detector's feature pyramid is not made.

The neck adds up, at a quarter of the picture's size, a map of 96 channels made of few by a 1x1 convolution, each channel times
a gate of its own, and the coarser map enlarged by 2; a 3x3 convolution makes 24 channels of the sum. All of this is linear
once the gates are known. So the few channels are convolved at once, with weights that each picture's gates make, and the
coarser map at its own size (ocr_onnx.converters.passes.db_neck). The 96 channels are still made for the gates to look at: the mean
over them is the one thing that does not come out as near to Paddle's when it is taken of the few.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from ocr_onnx.converters.graph import Graph, is_gate
from ocr_onnx.converters.passes.db_neck import convolve_upsampled, is_plain_convolution, upsampled_map
from ocr_onnx.converters.replacements import Replacement, is_open

BLOCK = 16
"""Channels that ONNX Runtime takes at once where a processor has AVX-512: of as many, or twice, it reorders none."""

FEW = 1 / 3
"""The share of the map's channels that those it is made of may be; with more of them, little would be won."""

OPSET = 13
"""The first in which the axes to squeeze are an input."""

PREFIX = "pyramid/"
"""What the names of new tensors begin with."""


@dataclass(frozen=True, slots=True, eq=False)
class Finest:
    """The nodes about the finest map."""

    few: NodeProto
    """A 1x1 convolution to few channels."""
    many: NodeProto
    """A 1x1 convolution of these to the map's channels."""
    gates: str
    """One for each of the map's channels."""
    coarser: str
    total: NodeProto
    """The sum of the gated map and the coarser one, enlarged."""
    last: NodeProto
    """The 3x3 convolution of the sum."""


def compose_finest(model: onnx.ModelProto) -> list[Replacement]:
    """What a CPU is given for the nodes about the finest map; nothing where a graph has none."""
    graph = Graph(model)
    found = next((each for node in graph.nodes if (each := _finest(graph, node)) is not None), None)
    if found is None or not is_open(model, OPSET, PREFIX):
        return []
    before = set(graph.constants)
    few, many = _widened(graph, found)
    rewritten = {found.few.output[0]: [few], found.many.output[0]: [many]}
    rewritten |= {name: [] for name in (*found.total.input, *found.total.output)}
    rewritten[found.last.output[0]] = _composed(graph, found)
    places = [i for i, node in enumerate(graph.nodes) if node.output[0] in rewritten]
    first, after = places[0], places[-1] + 1
    nodes = [new for node in graph.nodes[first:after] for new in rewritten.get(node.output[0], [node])]
    constants = {name: value for name, value in graph.constants.items() if name not in before}
    return [Replacement(first, after, nodes, constants)]


def _finest(graph: Graph, last: NodeProto) -> Finest | None:
    """What stands about a 3x3 convolution, where that is of a sum of this kind."""
    total = (
        _read_once(graph, last.input[0], "Add")
        if last.op_type == "Conv" and is_plain_convolution(graph, last)
        else None
    )
    if total is None or len(last.input) > 2:
        return None
    for product, name in (tuple(total.input), tuple(reversed(total.input))):
        gated, coarser = _read_once(graph, product, "Mul"), upsampled_map(graph, name)
        if gated is None or coarser is None or coarser[1] != 2:
            continue
        many = _point(graph, gated.input[0], readers=2)
        few = None if many is None else _point(graph, many.input[0], readers=1)
        if many is None or few is None or len(many.input) > 2 or not _are_gates(graph, gated.input[1], many):
            continue
        channels, made_of, *_ = graph.constants[many.input[1]].shape
        if made_of <= FEW * channels:
            return Finest(few, many, gated.input[1], coarser[0], total, last)
    return None


def _read_once(graph: Graph, name: str, kind: str) -> NodeProto | None:
    """The node of this kind that makes a tensor which one node reads."""
    node = graph.producer(name)
    alone = len(graph.consumers(name)) == 1 and name not in graph.outputs
    return node if node is not None and node.op_type == kind and alone else None


def _point(graph: Graph, name: str, *, readers: int) -> NodeProto | None:
    """The 1x1 convolution that makes a tensor which so many nodes read."""
    node = graph.producer(name)
    if node is None or node.op_type != "Conv" or not is_plain_convolution(graph, node, side=1, pad=0):
        return None
    return node if len(graph.consumers(name)) == readers and name not in graph.outputs else None


def _are_gates(graph: Graph, name: str, many: NodeProto) -> bool:
    """Whether they are those of squeeze-and-excitation, or more by a constant, and look at the map themselves."""
    node = graph.producer(name)
    if node is not None and node.op_type == "Add":
        more = graph.constant_operand(node)
        name = more[0] if more is not None and more[1].size == 1 else ""
    pools = [each.op_type for each in graph.consumers(many.output[0])]
    return is_gate(graph, name) and "GlobalAveragePool" in pools


def _widened(graph: Graph, found: Finest) -> tuple[NodeProto, NodeProto]:
    """The two 1x1 convolutions with channels of zeros, to whole blocks."""
    narrow, bias = graph.convolution(found.few)
    wide, _ = graph.convolution(found.many)
    zeros = -len(narrow) % BLOCK
    few, many = NodeProto(), NodeProto()
    few.CopyFrom(found.few)
    many.CopyFrom(found.many)
    few.input[1:] = [
        _constant(graph, "few", np.pad(narrow, ((0, zeros), (0, 0), (0, 0), (0, 0)))),
        _constant(graph, "few/bias", np.pad(bias, (0, zeros))),
    ]
    many.input[1] = _constant(graph, "many", np.pad(wide, ((0, 0), (0, zeros), (0, 0), (0, 0))))
    return few, many


def _composed(graph: Graph, found: Finest) -> list[NodeProto]:
    """The 3x3 convolution of what the sum is made of."""
    kernel, _ = graph.convolution(found.last)
    wide = graph.constants["pyramid/many"][:, :, 0, 0]
    out, channels, height, width = kernel.shape
    by_channel = _constant(graph, "kernel", kernel.transpose(0, 2, 3, 1).reshape(-1, channels))
    coarse = convolve_upsampled(graph, found.coarser, kernel, "pyramid/coarse", "pyramid/fine")
    shapes = {
        "row": [0, 1, channels],
        "apart": [0, out, height * width, wide.shape[1]],
        "shape": [0, out, wide.shape[1], height, width],
    }
    row, apart, shape = (graph.constant(f"{PREFIX}{name}", np.array(value)) for name, value in shapes.items())
    node = helper.make_node
    return [
        node("Reshape", [found.gates, row], ["pyramid/gates"]),
        node("Mul", [by_channel, "pyramid/gates"], ["pyramid/gated"]),
        node("MatMul", ["pyramid/gated", _constant(graph, "wide", wide)], ["pyramid/products"]),
        node("Reshape", ["pyramid/products", apart], ["pyramid/by_place"]),
        node("Transpose", ["pyramid/by_place"], ["pyramid/by_channel"], perm=[0, 1, 3, 2]),
        node("Reshape", ["pyramid/by_channel", shape], ["pyramid/weights"]),
        _convolve_each(graph, found.few.output[0], (out, wide.shape[1], height, width)),
        *coarse,
        node("Add", ["pyramid/fine", "pyramid/coarse"], [found.last.output[0]]),
    ]


def _convolve_each(graph: Graph, name: str, shape: tuple[int, ...]) -> NodeProto:
    """A 3x3 convolution of each picture of a batch with the weights that are its own."""
    out, channels, height, width = shape
    batch = graph.constant("pyramid/batch", np.zeros(1, np.int64))
    kernel, pads = [height, width], [height // 2, width // 2] * 2
    body = helper.make_graph(
        [
            helper.make_node("Unsqueeze", ["pyramid/one", batch], ["pyramid/picture"]),
            helper.make_node(
                "Conv", ["pyramid/picture", "pyramid/own"], ["pyramid/map"], kernel_shape=kernel, pads=pads
            ),
            helper.make_node("Squeeze", ["pyramid/map", batch], ["pyramid/made"]),
        ],
        "convolve one",
        [_tensor("one", (channels, None, None)), _tensor("own", shape)],
        [_tensor("made", (out, None, None))],
    )
    return helper.make_node("Scan", [name, "pyramid/weights"], ["pyramid/fine"], body=body, num_scan_inputs=2)


def _tensor(name: str, shape: tuple[int | None, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(f"{PREFIX}{name}", TensorProto.FLOAT, shape)


def _constant(graph: Graph, name: str, value: NDArray[Any]) -> str:
    return graph.constant(f"{PREFIX}{name}", value.astype(np.float32))
