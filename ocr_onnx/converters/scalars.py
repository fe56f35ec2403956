"""Scalars between convolutions: PP-LCNetV3's learnable affine blocks leave dozens."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from ocr_onnx.converters.graph import Graph

MIN_SCALE = 1e-4
"""Below this a scale is not divided by: the rounding error would grow."""


def fold_scalars(graph: Graph) -> None:
    """Fold multiplications and additions of constants into the convolutions before and after them.

    PP-LCNetV3's learnable affine blocks leave dozens of them, and each breaks ONNX Runtime's blocked layout.
    """
    changed = True
    while changed:
        changed = any(
            _fold_backward(graph, node) or _fold_forward(graph, node) or _fold_scale_past_shift(graph, node)
            for node in graph.nodes
        )


def _fold_backward(graph: Graph, node: NodeProto) -> bool:
    """Conv, then x * c or x + c: into the weights and the bias."""
    operand = graph.constant_operand(node)
    if operand is None:
        return False
    source, constant = operand
    conv = graph.producer(source)
    if conv is None or conv.op_type != "Conv" or len(graph.consumers(source)) != 1 or source in graph.outputs:
        return False
    weights, bias = graph.convolution(conv)
    channels = weights.shape[0]
    if constant.size != 1 and constant.shape != (1, channels, 1, 1):
        return False
    each = np.broadcast_to(constant.reshape(-1), (channels,))
    if node.op_type == "Mul":
        graph.set_convolution(conv, weights * each[:, None, None, None], bias * each)
    else:
        graph.set_convolution(conv, weights, bias + each)
    graph.bypass(node, source)
    return True


def _fold_forward(graph: Graph, node: NodeProto) -> bool:
    """A scalar before convolutions alone; an addition only where no zero padding comes between."""
    operand = graph.constant_operand(node)
    if operand is None or operand[1].size != 1:
        return False
    source, constant = operand
    convs = graph.convolutions_after(node.output[0])
    if not convs or (node.op_type == "Add" and any(map(_padded, convs))):
        return False
    value = float(constant.reshape(-1)[0])
    for conv in convs:
        weights, bias = graph.convolution(conv)
        if node.op_type == "Mul":
            graph.set_convolution(conv, weights * value, bias)
        else:
            graph.set_convolution(conv, weights, bias + value * weights.sum(axis=(1, 2, 3)))
    graph.bypass(node, source)
    return True


def _fold_scale_past_shift(graph: Graph, add: NodeProto) -> bool:
    """X * s + t before padded convolutions: (x + t / s), and s into the weights."""
    operand = graph.constant_operand(add)
    if add.op_type != "Add" or operand is None or operand[1].size != 1:
        return False
    scaled, shift = operand
    mul = graph.producer(scaled)
    factor = graph.constant_operand(mul) if mul is not None and mul.op_type == "Mul" else None
    convs = graph.convolutions_after(add.output[0])
    if mul is None or factor is None or factor[1].size != 1 or not convs or len(graph.consumers(scaled)) != 1:
        return False
    source, scale = factor
    value = float(scale.reshape(-1)[0])
    if abs(value) < MIN_SCALE:
        return False
    for conv in convs:
        weights, bias = graph.convolution(conv)
        graph.set_convolution(conv, weights * value, bias)
    shifted = add.output[0] + "/shift"
    graph.constants[shifted] = np.asarray(shift.reshape(-1).astype(np.float64) / value, np.float32)
    add.input[:] = [source, shifted]
    graph.nodes.remove(mul)
    return True


def shifts_in_blocks(graph: Graph) -> None:
    """Write x + c before a convolution as a batch normalization: the same sum, for which no layout is left.

    ONNX Runtime keeps convolutions in a blocked layout, in which it knows no addition of a constant: it would bring x out
    of it and back.
    """
    for node in list(graph.nodes):
        operand = graph.constant_operand(node)
        if node.op_type != "Add" or operand is None or operand[1].size != 1:
            continue
        shifted = node.output[0]
        conv = next((n for n in graph.consumers(shifted) if n.op_type == "Conv" and n.input[0] == shifted), None)
        weights = None if conv is None else graph.constants.get(conv.input[1])
        if conv is None or weights is None or weights.ndim != 4:
            continue
        source, shift = operand
        channels = weights.shape[1] * next((a.i for a in conv.attribute if a.name == "group"), 1)
        one, zero = (
            graph.constant(f"shift/{value}x{channels}", np.full(channels, value, np.float32)) for value in (1, 0)
        )
        bias = graph.constant(shifted + "/bias", np.full(channels, shift.reshape(-1)[0], np.float32))
        inputs = [source, one, bias, zero, one]
        graph.replace([node], [helper.make_node("BatchNormalization", inputs, [shifted], epsilon=0.0)])


def _padded(conv: NodeProto) -> bool:
    return any(attribute.name == "pads" and any(attribute.ints) for attribute in conv.attribute)
