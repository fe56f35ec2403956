"""A mutable view of an ONNX graph, and lookups that the passes share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

AXES = ("batch", "channel", "height", "width")
"""Names of the input's axes."""


class Graph:
    """A model's nodes and constants; `model` writes them back."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.proto = model
        self.nodes: list[NodeProto] = list(model.graph.node)
        self.constants: dict[str, NDArray[Any]] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self.outputs: set[str] = {output.name for output in model.graph.output}

    def model(self) -> onnx.ModelProto:
        """Write nodes and used constants back to the model, check it and return it."""
        graph = self.proto.graph
        used = {name for node in self.nodes for name in node.input}
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in self.constants.items() if name in used
        )
        onnx.checker.check_model(self.proto, full_check=True)
        return self.proto

    def rename_output(self, name: str) -> None:
        """Rename the only output."""
        (output,) = self.proto.graph.output
        for node in self.nodes:
            node.output[:] = [name if o == output.name else o for o in node.output]
        output.name = name

    def name_axes(self) -> None:
        """Name the dynamic axes of the input."""
        for dimension, name in zip(self.proto.graph.input[0].type.tensor_type.shape.dim, AXES, strict=True):
            if not dimension.dim_value:
                dimension.dim_param = name

    def constant_operand(self, node: NodeProto) -> tuple[str, NDArray[Any]] | None:
        """Return (other input, constant) of a Mul or Add with one float32 constant; None for other nodes."""
        if node.op_type not in {"Mul", "Add"} or node.output[0] in self.outputs:
            return None
        for k in (0, 1):
            constant = self.constants.get(node.input[k])
            if constant is not None and constant.dtype == np.float32 and node.input[1 - k] not in self.constants:
                return node.input[1 - k], constant
        return None

    def producer(self, name: str) -> NodeProto | None:
        """Return the node that computes a tensor; None for inputs and constants."""
        return next((node for node in self.nodes if name in node.output), None)

    def consumers(self, name: str) -> list[NodeProto]:
        """Return the nodes that read a tensor."""
        return [node for node in self.nodes if name in node.input]

    def convolutions_after(self, name: str) -> list[NodeProto]:
        """Return the consumers of a tensor if all are Conv nodes with it as data input, else []."""
        consumers = self.consumers(name)
        return consumers if all(n.op_type == "Conv" and n.input[0] == name for n in consumers) else []

    def convolution(self, conv: NodeProto) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return weights and bias in float64, so that folding rounds once."""
        weights = self.constants[conv.input[1]].astype(np.float64)
        has_bias = len(conv.input) > 2 and conv.input[2]
        bias = self.constants[conv.input[2]].astype(np.float64) if has_bias else np.zeros(weights.shape[0])
        return weights, bias

    def set_convolution(self, conv: NodeProto, weights: NDArray[np.float64], bias: NDArray[np.float64]) -> None:
        """Set the weights and the bias of one Conv, rounded to float32."""
        names = [conv.output[0] + "/weights", conv.output[0] + "/bias"]
        self.constants[names[0]] = weights.astype(np.float32)
        self.constants[names[1]] = bias.astype(np.float32)
        conv.input[:] = [conv.input[0], *names]

    def bypass(self, node: NodeProto, source: str) -> None:
        """Remove a node; its consumers read `source` instead."""
        for consumer in self.consumers(node.output[0]):
            consumer.input[:] = [source if name == node.output[0] else name for name in consumer.input]
        self.nodes.remove(node)

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant and return its name."""
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def replace(self, old: Sequence[NodeProto], new: Sequence[NodeProto]) -> None:
        """Replace nodes; the new ones are inserted at the position of the last old one, to keep the topological order."""
        place = max(self.nodes.index(node) for node in old) + 1
        self.nodes[place:place] = new
        for node in old:
            self.nodes.remove(node)


def attribute(node: NodeProto, name: str, default: object) -> object:
    """Return an attribute's value, or `default`."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def ints(node: NodeProto, name: str, default: Sequence[int]) -> list[int]:
    """Return an attribute of integers, or `default`."""
    return next((list(a.ints) for a in node.attribute if a.name == name and a.ints), list(default))


def is_gate(graph: Graph, name: str) -> bool:
    """Return whether a tensor is a squeeze-and-excitation gate: GlobalAveragePool, Conv, Relu, Conv, HardSigmoid."""
    for kind in ("HardSigmoid", "Conv", "Relu", "Conv", "GlobalAveragePool"):
        node = graph.producer(name)
        if node is None or node.op_type != kind:
            return False
        name = node.input[0]
    return True
