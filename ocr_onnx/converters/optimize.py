"""Graph rewriting after export: the same function in fewer operators. Each step keeps the outputs, to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.version_converter
import onnxslim
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper

from ocr_onnx.converters.form import Form
from ocr_onnx.errors import ConversionError

AXES = ("batch", "channel", "height", "width")
"""Of the input."""

MIN_SCALE = 1e-4
"""Below this a scale is not divided by: the rounding error would grow."""


def optimize(
    model: onnx.ModelProto, *, reduce_classes: bool, free_size: bool = False, form: Form | None = None
) -> onnx.ModelProto:
    """Slim, fold scalars into convolutions and, for recognition, answer with the best class alone.

    `free_size` is for detection: some exports declare the size of their training, which Paddle does not hold to. An
    opset above the one in `form` is kept: models cannot be converted down.
    """
    form = Form() if form is None else form
    if model.opset_import[0].version < form.opset:
        model = onnx.version_converter.convert_version(model, form.opset)
    # PP-OCRv4_server_det has a second output, which the reference does not read.
    del model.graph.output[1:]
    if free_size:
        _free_size(model)
    if form.static:
        _fix_size(model, form.static)
    model = onnxslim.slim(model)
    graph = Graph(model)
    graph.fold_scalars()
    if reduce_classes:
        graph.reduce_classes()
    else:
        graph.rename_output("probability")
    graph.name_axes()
    return graph.model()


class Graph:
    """A model's nodes and constants, open for rewriting."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self.nodes: list[NodeProto] = list(model.graph.node)
        self.constants: dict[str, NDArray[Any]] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self.outputs = {output.name for output in model.graph.output}

    def model(self) -> onnx.ModelProto:
        """The rewritten model, checked; only the constants still in use."""
        graph = self._model.graph
        used = {name for node in self.nodes for name in node.input}
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in self.constants.items() if name in used
        )
        onnx.checker.check_model(self._model, full_check=True)
        return self._model

    def fold_scalars(self) -> None:
        """Fold multiplications and additions of constants into the convolutions before and after them.

        PP-LCNetV3's learnable affine blocks leave dozens of them, and each breaks ONNX Runtime's blocked layout.
        """
        changed = True
        while changed:
            changed = any(
                self._fold_backward(node) or self._fold_forward(node) or self._fold_scale_past_shift(node)
                for node in self.nodes
            )

    def reduce_classes(self) -> None:
        """Answer recognition with (index of the best class, its probability) instead of [batch, step, classes].

        The softmax stays before the maximum: ties between rounded probabilities then fall as in the reference.
        """
        last = softmax = self.nodes[-1]
        (output,) = self._model.graph.output
        if last.op_type == "Reshape":
            # Softmax of opset 12 and before knows two axes; brought to a later one it is put between reshapes.
            softmax = self._producer(last.input[0]) or last
        if softmax.op_type != "Softmax" or output.name != last.output[0]:
            raise ConversionError(f"recognition ends in {last.op_type}, not in a softmax over characters")
        self.nodes += [
            onnx.helper.make_node("ArgMax", [output.name], ["index"], axis=-1, keepdims=0),
            onnx.helper.make_node("ReduceMax", [output.name], ["probability"], axes=[-1], keepdims=0),
        ]
        dims = [d.dim_param or d.dim_value for d in output.type.tensor_type.shape.dim][:2]
        del self._model.graph.output[:]
        self._model.graph.output.extend(
            [
                onnx.helper.make_tensor_value_info("index", onnx.TensorProto.INT64, dims),
                onnx.helper.make_tensor_value_info("probability", onnx.TensorProto.FLOAT, dims),
            ]
        )

    def rename_output(self, name: str) -> None:
        """Give the only output a name that says what it is."""
        (output,) = self._model.graph.output
        for node in self.nodes:
            node.output[:] = [name if o == output.name else o for o in node.output]
        output.name = name

    def name_axes(self) -> None:
        """Name the sizes of the input that are free."""
        for dimension, name in zip(self._model.graph.input[0].type.tensor_type.shape.dim, AXES, strict=True):
            if not dimension.dim_value:
                dimension.dim_param = name

    def _fold_backward(self, node: NodeProto) -> bool:
        """Conv, then x * c or x + c: into the weights and the bias."""
        operand = self._constant_operand(node)
        if operand is None:
            return False
        source, constant = operand
        conv = self._producer(source)
        if conv is None or conv.op_type != "Conv" or len(self._consumers(source)) != 1 or source in self.outputs:
            return False
        weights, bias = self._convolution(conv)
        channels = weights.shape[0]
        if constant.size != 1 and constant.shape != (1, channels, 1, 1):
            return False
        each = np.broadcast_to(constant.reshape(-1), (channels,))
        if node.op_type == "Mul":
            self._set_convolution(conv, weights * each[:, None, None, None], bias * each)
        else:
            self._set_convolution(conv, weights, bias + each)
        self._bypass(node, source)
        return True

    def _fold_forward(self, node: NodeProto) -> bool:
        """A scalar before convolutions alone; an addition only where no zero padding comes between."""
        operand = self._constant_operand(node)
        if operand is None or operand[1].size != 1:
            return False
        source, constant = operand
        convs = self._convolutions_after(node.output[0])
        if not convs or (node.op_type == "Add" and any(map(_padded, convs))):
            return False
        value = float(constant.reshape(-1)[0])
        for conv in convs:
            weights, bias = self._convolution(conv)
            if node.op_type == "Mul":
                self._set_convolution(conv, weights * value, bias)
            else:
                self._set_convolution(conv, weights, bias + value * weights.sum(axis=(1, 2, 3)))
        self._bypass(node, source)
        return True

    def _fold_scale_past_shift(self, add: NodeProto) -> bool:
        """X * s + t before padded convolutions: (x + t / s), and s into the weights."""
        operand = self._constant_operand(add)
        if add.op_type != "Add" or operand is None or operand[1].size != 1:
            return False
        scaled, shift = operand
        mul = self._producer(scaled)
        factor = self._constant_operand(mul) if mul is not None and mul.op_type == "Mul" else None
        convs = self._convolutions_after(add.output[0])
        if mul is None or factor is None or factor[1].size != 1 or not convs or len(self._consumers(scaled)) != 1:
            return False
        source, scale = factor
        value = float(scale.reshape(-1)[0])
        if abs(value) < MIN_SCALE:
            return False
        for conv in convs:
            weights, bias = self._convolution(conv)
            self._set_convolution(conv, weights * value, bias)
        shifted = add.output[0] + "/shift"
        self.constants[shifted] = np.asarray(shift.reshape(-1).astype(np.float64) / value, np.float32)
        add.input[:] = [source, shifted]
        self.nodes.remove(mul)
        return True

    def _constant_operand(self, node: NodeProto) -> tuple[str, NDArray[Any]] | None:
        """(the other input, the constant) of a multiplication or addition with a float constant."""
        if node.op_type not in {"Mul", "Add"} or node.output[0] in self.outputs:
            return None
        for k in (0, 1):
            constant = self.constants.get(node.input[k])
            if constant is not None and constant.dtype == np.float32 and node.input[1 - k] not in self.constants:
                return node.input[1 - k], constant
        return None

    def _producer(self, name: str) -> NodeProto | None:
        return next((node for node in self.nodes if name in node.output), None)

    def _consumers(self, name: str) -> list[NodeProto]:
        return [node for node in self.nodes if name in node.input]

    def _convolutions_after(self, name: str) -> list[NodeProto]:
        """The consumers of `name`, if all of them are convolutions of it."""
        consumers = self._consumers(name)
        return consumers if all(n.op_type == "Conv" and n.input[0] == name for n in consumers) else []

    def _convolution(self, conv: NodeProto) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights and bias in float64, so that folding rounds once."""
        weights = self.constants[conv.input[1]].astype(np.float64)
        has_bias = len(conv.input) > 2 and conv.input[2]
        bias = self.constants[conv.input[2]].astype(np.float64) if has_bias else np.zeros(weights.shape[0])
        return weights, bias

    def _set_convolution(self, conv: NodeProto, weights: NDArray[np.float64], bias: NDArray[np.float64]) -> None:
        names = [conv.output[0] + "/weights", conv.output[0] + "/bias"]
        self.constants[names[0]] = weights.astype(np.float32)
        self.constants[names[1]] = bias.astype(np.float32)
        conv.input[:] = [conv.input[0], *names]

    def _bypass(self, node: NodeProto, source: str) -> None:
        """Take a node out: its consumers read what it read."""
        for consumer in self._consumers(node.output[0]):
            consumer.input[:] = [source if name == node.output[0] else name for name in consumer.input]
        self.nodes.remove(node)


def _free_size(model: onnx.ModelProto) -> None:
    """Let height and width be any, and have the sizes after them inferred anew."""
    for dimension, name in zip(model.graph.input[0].type.tensor_type.shape.dim, AXES, strict=True):
        if name != "channel":
            dimension.dim_param = name
    for dimension, name in zip(model.graph.output[0].type.tensor_type.shape.dim, AXES, strict=True):
        if name != "channel":
            dimension.dim_param = f"output_{name}"
    del model.graph.value_info[:]


def _fix_size(model: onnx.ModelProto, size: tuple[int, ...]) -> None:
    """Let the input be of one size alone, and have those after it inferred anew."""
    for dimension, side, name in zip(model.graph.input[0].type.tensor_type.shape.dim, size, AXES, strict=True):
        if dimension.dim_value not in {0, side}:
            raise ConversionError(f"the model fixes its {name} to {dimension.dim_value}, and --static says {side}")
        dimension.dim_value = side
    for output in model.graph.output:
        for dimension in output.type.tensor_type.shape.dim:
            if not dimension.dim_value:
                dimension.ClearField("dim_param")
    del model.graph.value_info[:]


def _padded(conv: NodeProto) -> bool:
    return any(attribute.name == "pads" and any(attribute.ints) for attribute in conv.attribute)
