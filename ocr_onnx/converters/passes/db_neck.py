"""Compute the neck and the head of a DB detector at lower resolution.

Pattern and replacement, each applied where it occurs:

- x + x * gate, with a squeeze-and-excitation gate a channel, becomes x * (1 + gate): one pass over the map instead of two.
- Conv 3x3 of Concat(fine map, maps upsampled by nearest neighbour) becomes the sum of a Conv of the fine map and a Conv of the
  others at half the resolution.
- ConvTranspose 2x2, Relu, ConvTranspose 2x2, Sigmoid at the end become two 1x1 Conv and one DepthToSpace.

Why equal: a convolution is linear in its input channels. In an upsampled map each pixel repeats in 2 rows and 2 columns, so of a
kernel's 3 rows 2 meet the same pixels and can be added in advance (`_convolve_upsampled`). A ConvTranspose with kernel = stride
writes disjoint 2x2 squares, which is a 1x1 Conv and a pixel shuffle. Results differ by rounding only.

Gain: the largest maps take most of a detector's time. Times of operators: python -m benchmarks.limit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from ocr_onnx.converters.graph import Graph, attribute, is_gate

KEEPS_CHANNELS = {"Resize", "Mul", "Add", "Relu", "HardSwish", "BatchNormalization"}
"""Operators whose output has as many channels as their first non-constant input."""


def rewrite_db_neck(graph: Graph) -> None:
    """Rewrite every occurrence of the three patterns."""
    for node in list(graph.nodes):
        _factor_out_gate(graph, node)
    for node in list(graph.nodes):
        _split_concat_convolution(graph, node)
    for node in list(graph.nodes):
        _to_depth_to_space(graph, node)


def _factor_out_gate(graph: Graph, add: NodeProto) -> None:
    """Write x + x * gate as x * (1 + gate)."""
    if add.op_type != "Add":
        return
    for x, product in (tuple(add.input), tuple(reversed(add.input))):
        mul = graph.producer(product)
        if mul is None or mul.op_type != "Mul" or x not in mul.input or len(graph.consumers(product)) != 1:
            continue
        gate = mul.input[1] if mul.input[0] == x else mul.input[0]
        if not is_gate(graph, gate):
            continue
        one = graph.constant("neck/one", np.ones(1, np.float32))
        more = helper.make_node("Add", [gate, one], [product])
        graph.replace([mul, add], [more, helper.make_node("Mul", [x, product], [add.output[0]])])
        return


def _split_concat_convolution(graph: Graph, concat: NodeProto) -> None:
    """Split a 3x3 Conv of Concat(map, upsampled maps): convolve the latter at half the resolution, and add."""
    convs = graph.convolutions_after(concat.output[0]) if concat.op_type == "Concat" else []
    if len(convs) != 1 or not _is_plain_convolution(graph, convs[0]) or attribute(concat, "axis", 0) != 1:
        return
    (conv,) = convs
    weights, bias = graph.convolution(conv)
    channels = [_channels(graph, name) for name in concat.input]
    enlarged = {name: found for name in concat.input if (found := _upsampled_map(graph, name)) is not None}
    if sum(channels) != weights.shape[1] or 0 in channels or len(enlarged) != len(channels) - 1 or not enlarged:
        return
    parts = dict(zip(concat.input, np.split(weights, np.cumsum(channels)[:-1], axis=1), strict=True))
    fine = next(name for name in concat.input if name not in enlarged)
    halves = [source if factor == 2 else name for name, (source, factor) in enlarged.items()]
    nodes = [_upsample(graph, *found, name) for name, found in enlarged.items() if found[1] > 2]
    out = conv.output[0]
    nodes.append(helper.make_node("Concat", halves, [f"{out}/low"], axis=1))
    kernel = graph.constant(f"{out}/fine/weights", parts[fine].astype(np.float32))
    added = graph.constant(f"{out}/fine/bias", bias.astype(np.float32))
    nodes.append(_convolve([fine, kernel, added], f"{out}/fine", (3, 3), (1, 1, 1, 1)))
    coarse = np.concatenate([parts[name] for name in enlarged], axis=1)
    nodes += _convolve_upsampled(graph, f"{out}/low", coarse, f"{out}/coarse", f"{out}/fine")
    nodes.append(helper.make_node("Add", [f"{out}/fine", f"{out}/coarse"], [out]))
    graph.replace([*(node for name in enlarged if (node := graph.producer(name)) is not None), concat, conv], nodes)


def _convolve_upsampled(graph: Graph, low: str, kernel: NDArray[np.float64], out: str, like: str) -> list[NodeProto]:
    """Return nodes for a 3x3 Conv of `low` upsampled by 2, computed from `low` itself; `out` has the shape of `like`.

    Even and odd rows and columns of `out` each need a 2x2 kernel, made of sums of the kernel's rows and columns. The two
    kernels of a row are placed in one of 2x3, as separate output channels.
    """
    nodes = []
    for row, pads in enumerate(((1, 1, 0, 1), (0, 1, 1, 1))):
        name = f"{out}/row{row}"
        weights = graph.constant(f"{name}/weights", _row_kernel(kernel, row).astype(np.float32))
        nodes.append(_convolve([low, weights], name, (2, 3), pads))
        halves = [f"{name}/column{column}" for column in (0, 1)]
        counts = graph.constant(f"{out}/counts", np.array([len(kernel)] * 2, np.int64))
        nodes.append(helper.make_node("Split", [name, counts], halves, axis=1))
        axes = graph.constant("neck/beside", np.array([3, 5], np.int64))
        nodes += [helper.make_node("Unsqueeze", [half, axes], [f"{half}/apart"]) for half in halves]
        nodes.append(helper.make_node("Concat", [f"{half}/apart" for half in halves], [f"{name}/columns"], axis=5))
    nodes.append(helper.make_node("Concat", [f"{out}/row{row}/columns" for row in (0, 1)], [f"{out}/rows"], axis=3))
    nodes.append(helper.make_node("Shape", [like], [f"{out}/shape"]))
    nodes.append(helper.make_node("Reshape", [f"{out}/rows", f"{out}/shape"], [out]))
    return nodes


def _row_kernel(kernel: NDArray[np.float64], row: int) -> NDArray[np.float64]:
    """Return the kernel (2 * out, in, 2, 3) of even (0) or odd (1) rows: output channels of even columns, then of odd columns."""
    first, second, third = (kernel[:, :, k] for k in range(3))
    rows = np.stack([first, second + third] if row == 0 else [first + second, third], axis=2)
    left, middle, right = (rows[..., k] for k in range(3))
    nothing = np.zeros_like(left)
    even = np.stack([left, middle + right, nothing], axis=-1)
    odd = np.stack([nothing, left + middle, right], axis=-1)
    return np.concatenate([even, odd])


def _to_depth_to_space(graph: Graph, first: NodeProto) -> None:
    """Replace the head's two ConvTranspose nodes by 1x1 Conv nodes and a DepthToSpace at the end."""
    chain = _match_head(graph, first)
    if not chain:
        return
    second, sigmoid = chain[2], chain[-1]
    weights, bias = graph.constants[first.input[1]], _transposed_bias(graph, first)
    last, shift = graph.constants[second.input[1]], _transposed_bias(graph, second)
    if len(chain) == 5:
        shift = shift + next(graph.constants[name] for name in chain[3].input if name in graph.constants).reshape(-1)
    inner = weights.shape[1]
    spread = np.zeros((2, 2, 2, 2, 2, 2, inner), np.float32)
    for i, j, k, m in np.ndindex(2, 2, 2, 2):
        spread[i, k, j, m, i, j] = last[:, 0, k, m]
    out = sigmoid.output[0]
    names = {
        name: graph.constant(f"{out}/{name}", value)
        for name, value in {
            "first": weights.transpose(2, 3, 1, 0).reshape(4 * inner, -1, 1, 1),
            "first_bias": np.tile(bias, 4),
            "second": spread.reshape(16, 4 * inner, 1, 1),
            "second_bias": np.tile(shift, 16),
        }.items()
    }
    nodes = [
        _convolve([first.input[0], names["first"], names["first_bias"]], f"{out}/spread", (1, 1), (0, 0, 0, 0)),
        helper.make_node("Relu", [f"{out}/spread"], [f"{out}/relu"]),
        _convolve([f"{out}/relu", names["second"], names["second_bias"]], f"{out}/logits", (1, 1), (0, 0, 0, 0)),
        helper.make_node("Sigmoid", [f"{out}/logits"], [f"{out}/sigmoid"]),
        helper.make_node("DepthToSpace", [f"{out}/sigmoid"], [out], blocksize=4, mode="DCR"),
    ]
    graph.replace(chain, nodes)


def _match_head(graph: Graph, first: NodeProto) -> list[NodeProto]:
    """Match ConvTranspose, Relu, ConvTranspose, optional Add of a scalar, Sigmoid to one output channel; [] if it does not match."""
    if first.op_type != "ConvTranspose":
        return []
    chain = [first]
    while len(consumers := graph.consumers(chain[-1].output[0])) == 1 and len(chain) < 6:
        chain += consumers
    kinds = [node.op_type for node in chain if node.op_type != "Add"]
    if kinds != ["ConvTranspose", "Relu", "ConvTranspose", "Sigmoid"] or len(chain) not in {4, 5}:
        return []
    shift = graph.constant_operand(chain[3])
    if len(chain) == 5 and (chain[3].op_type != "Add" or shift is None or shift[1].size != 1):
        return []
    convs = (chain[0], chain[2])
    if chain[-1].output[0] not in graph.outputs or not all(
        _is_plain_convolution(graph, c, side=2, stride=2, pad=0) for c in convs
    ):
        return []
    return chain if graph.constants[chain[2].input[1]].shape[1] == 1 else []


def _transposed_bias(graph: Graph, conv: NodeProto) -> NDArray[Any]:
    channels = graph.constants[conv.input[1]].shape[1]
    return graph.constants[conv.input[2]] if len(conv.input) > 2 else np.zeros(channels, np.float32)


def _is_plain_convolution(graph: Graph, conv: NodeProto, *, side: int = 3, stride: int = 1, pad: int = 1) -> bool:
    """Return whether a Conv has constant weights, this kernel, stride and padding, and no groups or dilations."""
    weights = graph.constants.get(conv.input[1])
    usual = {"strides": [stride] * 2, "pads": [pad] * 4, "group": 1, "dilations": [1, 1], "auto_pad": b"NOTSET"}
    default = {"strides": [1, 1], "pads": [0] * 4}
    special = any(attribute(conv, name, default.get(name, value)) != value for name, value in usual.items())
    odd = any(a.name in {"output_padding", "output_shape"} and any(a.ints) for a in conv.attribute)
    constant = all(name in graph.constants for name in conv.input[1:])
    return constant and weights is not None and weights.shape[2:] == (side, side) and not special and not odd


def _channels(graph: Graph, name: str) -> int:
    """Return the number of channels of a map; 0 if unknown."""
    node = graph.producer(name)
    if node is None:
        return 0
    if node.op_type == "Conv" and node.input[1] in graph.constants:
        return int(graph.constants[node.input[1]].shape[0])
    if node.op_type not in KEEPS_CHANNELS:
        return 0
    return _channels(graph, next(source for source in node.input if source not in graph.constants))


def _upsampled_map(graph: Graph, name: str) -> tuple[str, int] | None:
    """Return (map, factor) if `name` is a map upsampled by nearest neighbour and an even factor, and has one reader."""
    node = graph.producer(name)
    if node is None or node.op_type != "Resize" or len(node.input) != 3 or len(graph.consumers(name)) != 1:
        return None
    how = {"mode": b"nearest", "coordinate_transformation_mode": b"asymmetric", "nearest_mode": b"floor"}
    scales = graph.constants.get(node.input[2], np.zeros(0)).tolist()
    if any(attribute(node, key, None) != value for key, value in how.items()) or len(scales) != 4:
        return None
    batch, channel, height, width = scales
    return (node.input[0], int(height)) if batch == channel == 1 and height == width and height % 2 == 0 else None


def _upsample(graph: Graph, source: str, factor: int, out: str) -> NodeProto:
    """Return the node that upsamples by half the factor."""
    scales = graph.constant(f"neck/enlarge/{factor // 2}", np.array([1, 1, factor // 2, factor // 2], np.float32))
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return helper.make_node("Resize", [source, "", scales], [out], **how)


def _convolve(inputs: list[str], out: str, kernel: tuple[int, int], pads: tuple[int, int, int, int]) -> NodeProto:
    return helper.make_node("Conv", inputs, [out], kernel_shape=kernel, pads=pads, strides=(1, 1))
