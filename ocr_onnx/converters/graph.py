"""A model's graph, open for rewriting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

AXES = ("batch", "channel", "height", "width")
"""Of the input."""


class Graph:
    """A model's nodes and constants, open for rewriting."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.proto = model
        self.nodes: list[NodeProto] = list(model.graph.node)
        self.constants: dict[str, NDArray[Any]] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self.outputs = {output.name for output in model.graph.output}

    def model(self) -> onnx.ModelProto:
        """The rewritten model, checked; only the constants still in use."""
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
        """Give the only output a name that says what it is."""
        (output,) = self.proto.graph.output
        for node in self.nodes:
            node.output[:] = [name if o == output.name else o for o in node.output]
        output.name = name

    def name_axes(self) -> None:
        """Name the sizes of the input that are free."""
        for dimension, name in zip(self.proto.graph.input[0].type.tensor_type.shape.dim, AXES, strict=True):
            if not dimension.dim_value:
                dimension.dim_param = name

    def constant_operand(self, node: NodeProto) -> tuple[str, NDArray[Any]] | None:
        """(the other input, the constant) of a multiplication or addition with a float constant."""
        if node.op_type not in {"Mul", "Add"} or node.output[0] in self.outputs:
            return None
        for k in (0, 1):
            constant = self.constants.get(node.input[k])
            if constant is not None and constant.dtype == np.float32 and node.input[1 - k] not in self.constants:
                return node.input[1 - k], constant
        return None

    def producer(self, name: str) -> NodeProto | None:
        """The node whose output `name` is; None for inputs and constants."""
        return next((node for node in self.nodes if name in node.output), None)

    def consumers(self, name: str) -> list[NodeProto]:
        """The nodes that read `name`."""
        return [node for node in self.nodes if name in node.input]

    def convolutions_after(self, name: str) -> list[NodeProto]:
        """The consumers of `name`, if all of them are convolutions of it."""
        consumers = self.consumers(name)
        return consumers if all(n.op_type == "Conv" and n.input[0] == name for n in consumers) else []

    def convolution(self, conv: NodeProto) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights and bias in float64, so that folding rounds once."""
        weights = self.constants[conv.input[1]].astype(np.float64)
        has_bias = len(conv.input) > 2 and conv.input[2]
        bias = self.constants[conv.input[2]].astype(np.float64) if has_bias else np.zeros(weights.shape[0])
        return weights, bias

    def set_convolution(self, conv: NodeProto, weights: NDArray[np.float64], bias: NDArray[np.float64]) -> None:
        """Give one convolution weights and a bias of its own, rounded to float32."""
        names = [conv.output[0] + "/weights", conv.output[0] + "/bias"]
        self.constants[names[0]] = weights.astype(np.float32)
        self.constants[names[1]] = bias.astype(np.float32)
        conv.input[:] = [conv.input[0], *names]

    def bypass(self, node: NodeProto, source: str) -> None:
        """Take a node out: its consumers read what it read."""
        for consumer in self.consumers(node.output[0]):
            consumer.input[:] = [source if name == node.output[0] else name for name in consumer.input]
        self.nodes.remove(node)

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """A new constant's name."""
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def replace(self, old: Sequence[NodeProto], new: Sequence[NodeProto]) -> None:
        """Put nodes in the place of others: where the last of those stood, so that all they read is there."""
        place = max(self.nodes.index(node) for node in old) + 1
        self.nodes[place:place] = new
        for node in old:
            self.nodes.remove(node)


def attribute(node: NodeProto, name: str, default: object) -> object:
    """An attribute's value, as ONNX holds it."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def ints(node: NodeProto, name: str, default: Sequence[int]) -> list[int]:
    """An attribute of whole numbers; `default` where there are none."""
    return next((list(a.ints) for a in node.attribute if a.name == name and a.ints), list(default))


def is_gate(graph: Graph, name: str) -> bool:
    """Whether it is the end of a squeeze-and-excitation: pooled, two convolutions, a hard sigmoid."""
    for kind in ("HardSigmoid", "Conv", "Relu", "Conv", "GlobalAveragePool"):
        node = graph.producer(name)
        if node is None or node.op_type != kind:
            return False
        name = node.input[0]
    return True
