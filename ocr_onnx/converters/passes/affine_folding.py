"""Fold constant scales and shifts into the convolutions beside them.

Pattern: Mul or Add of a constant (a scalar, or one value a channel) before or after Conv, or before AveragePool. PP-LCNetV3's
learnable affine blocks leave dozens of them in PP-OCRv4 and v5.

Replacement: the constant goes into the weights and the bias of the convolution; before AveragePool the node moves behind it; an
Add that must stay before a Conv becomes a BatchNormalization.

Why equal: a convolution is linear, and so is an average. An Add is folded forward only into a Conv without padding, because
padding is 0 and not the shifted value. Weights are computed in float64 and rounded once.

The factor 0.5 of a GELU is not folded: ONNX Runtime computes x * (1 + erf(x / sqrt(2))) * 0.5 as one operator, in its blocked layout,
and only if it finds all of it.

Gain: fewer passes over the maps, and ONNX Runtime keeps its blocked layout between convolutions, which an Add or Mul of a
constant would interrupt. Times of operators: python -m benchmarks.limit.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from ocr_onnx.converters.graph import Graph, attribute, is_gate

MIN_SCALE = 1e-4
"""The pass divides by no smaller scale: the rounding error would grow."""


def fold_affine(graph: Graph) -> None:
    """Fold multiplications and additions of constants into the convolutions before and after them."""
    changed = True
    while changed:
        changed = any(
            _fold_backward(graph, node)
            or _fold_forward(graph, node)
            or _fold_scale_past_shift(graph, node)
            or _move_after_pooling(graph, node)
            for node in graph.nodes
        )


def _fold_backward(graph: Graph, node: NodeProto) -> bool:
    """Fold x * c or x + c after a Conv into its weights or its bias."""
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
    """Fold a scalar into all convolutions that read it; an addition only if none of them pads with 0."""
    operand = graph.constant_operand(node)
    if operand is None or operand[1].size != 1:
        return False
    source, constant = operand
    convs = graph.convolutions_after(node.output[0])
    if not convs or (node.op_type == "Add" and any(map(_padded, convs))) or _ends_gelu(graph, node, source):
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


def _ends_gelu(graph: Graph, half: NodeProto, product: str) -> bool:
    """Return whether a node is the multiplication by 0.5 at the end of a GELU, x * (1 + erf(x / sqrt(2))) * 0.5."""
    mul = graph.producer(product)
    if half.op_type != "Mul" or mul is None or mul.op_type != "Mul":
        return False
    adds = [node for name in mul.input if (node := graph.producer(name)) is not None and node.op_type == "Add"]
    return any((erf := graph.producer(name)) is not None and erf.op_type == "Erf" for add in adds for name in add.input)


def _fold_scale_past_shift(graph: Graph, add: NodeProto) -> bool:
    """Write x * s + t before padded convolutions as x + t / s, and fold s into their weights and into a squeeze-and-excitation gate."""
    operand = graph.constant_operand(add)
    if add.op_type != "Add" or operand is None or operand[1].size != 1:
        return False
    scaled, shift = operand
    mul = graph.producer(scaled)
    factor = graph.constant_operand(mul) if mul is not None and mul.op_type == "Mul" else None
    excited = _squeeze_and_excitation(graph, add.output[0])
    convs = graph.convolutions_after(add.output[0] if excited is None else excited[0])
    if mul is None or factor is None or factor[1].size != 1 or not convs or len(graph.consumers(scaled)) != 1:
        return False
    source, scale = factor
    value = float(scale.reshape(-1)[0])
    if abs(value) < MIN_SCALE:
        return False
    for conv in convs:
        weights, bias = graph.convolution(conv)
        graph.set_convolution(conv, weights * value, bias)
    if excited is not None:
        _, product, gate = excited
        larger = product.output[0] + "/gate"
        times = graph.constant(larger + "/scale", np.asarray(value, np.float32))
        graph.nodes.insert(graph.nodes.index(product), helper.make_node("Mul", [gate, times], [larger]))
        product.input[:] = [larger if name == gate else name for name in product.input]
    shifted = add.output[0] + "/shift"
    graph.constants[shifted] = np.asarray(shift.reshape(-1).astype(np.float64) / value, np.float32)
    add.input[:] = [source, shifted]
    graph.nodes.remove(mul)
    return True


def _squeeze_and_excitation(graph: Graph, name: str) -> tuple[str, NodeProto, str] | None:
    """Return (mean, product with the gate, gate) if only a squeeze-and-excitation block reads the map, else None."""
    consumers = {node.op_type: node for node in graph.consumers(name)}
    if len(graph.consumers(name)) != 2 or set(consumers) != {"GlobalAveragePool", "Mul"}:
        return None
    mean, product = consumers["GlobalAveragePool"].output[0], consumers["Mul"]
    gate = product.input[1] if product.input[0] == name else product.input[0]
    return (mean, product, gate) if is_gate(graph, gate) else None


def _move_after_pooling(graph: Graph, node: NodeProto) -> bool:
    """Move x * c or x + c before an AveragePool behind it, where the map is smaller."""
    operand = graph.constant_operand(node)
    consumers = graph.consumers(node.output[0])
    if operand is None or operand[1].size != 1 or [n.op_type for n in consumers] != ["AveragePool"]:
        return False
    (pool,) = consumers
    if _padded(pool) or attribute(pool, "ceil_mode", 0) or attribute(pool, "auto_pad", b"NOTSET") != b"NOTSET":
        return False
    source, _ = operand
    pooled = pool.output[0]
    if pooled in graph.outputs:
        return False
    between = node.output[0] + "/pooled"
    node.input[:] = [between if name == source else name for name in node.input]
    pool.input[0], pool.output[0], node.output[0] = source, between, pooled
    graph.nodes.remove(node)
    graph.nodes.insert(graph.nodes.index(pool) + 1, node)
    return True


def shifts_to_batch_normalization(graph: Graph) -> None:
    """Write x + c before a convolution as BatchNormalization, which ONNX Runtime computes in its blocked layout.

    For an Add of a constant it would convert x to the plain layout and back.
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
