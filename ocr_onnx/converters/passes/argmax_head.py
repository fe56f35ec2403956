"""Append ArgMax to a recognizer: the graph returns the best class of each step and its probability, not all probabilities.

Pattern: Softmax over classes as the graph's output [batch, step, class]; in large models MatMul and Add before it.

Replacement: outputs `index` and `probability`, [batch, step]. With at least MANY classes, the class axis is padded to whole blocks
of BLOCK, the bias becomes a row of the weights, and the maximum is searched in two levels: the best block, then the best class in it.

Why equal: Softmax stays before the maximum, so ties between rounded probabilities resolve as in PaddleOCR. The first best class
of the first best block is the first best class. Classes that only pad have the logit NEVER, a probability of 0.

Gain: 18,385 probabilities a step are not copied out of ONNX Runtime, and ReduceMax is vectorized where ArgMax is not. Times of
operators: python -m benchmarks.limit.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from ocr_onnx.converters.graph import Graph
from ocr_onnx.errors import ConversionError

BLOCK = 128
"""Classes in a block."""

MANY = 4096
"""Number of classes below which blocks save no time."""

NEVER = -1e4
"""Logit of a class that only pads: its probability is 0, and half precision can represent it."""


def append_argmax(graph: Graph) -> None:
    """Replace the output [batch, step, class] by `index` and `probability`. Raises ConversionError without a Softmax at the end."""
    last = softmax = graph.nodes[-1]
    (output,) = graph.proto.graph.output
    if last.op_type == "Reshape":
        # The version converter puts a Softmax of opset 12 or lower, which has two axes, between two Reshape nodes.
        softmax = graph.producer(last.input[0]) or last
    if softmax.op_type != "Softmax" or output.name != last.output[0]:
        raise ConversionError(f"recognition ends in {last.op_type}, not in a softmax over characters")
    dims = [d.dim_param or d.dim_value for d in output.type.tensor_type.shape.dim][:2]
    classes = _in_whole_blocks(graph, softmax) if softmax is last else 0
    graph.nodes += _best_in_blocks(graph, output.name, classes) if classes else _best(output.name)
    del graph.proto.graph.output[:]
    graph.proto.graph.output.extend(
        [
            helper.make_tensor_value_info("index", TensorProto.INT64, dims),
            helper.make_tensor_value_info("probability", TensorProto.FLOAT, dims),
        ]
    )


def _best(probabilities: str) -> list[NodeProto]:
    return [
        helper.make_node("ArgMax", [probabilities], ["index"], axis=-1, keepdims=0),
        helper.make_node("ReduceMax", [probabilities], ["probability"], axes=[-1], keepdims=0),
    ]


def _best_in_blocks(graph: Graph, probabilities: str, classes: int) -> list[NodeProto]:
    """Find the first best block, and the first best class in it."""
    graph.constant("best/shape", np.array([0, 0, classes // BLOCK, BLOCK], np.int64))
    graph.constant("best/size", np.array(BLOCK, np.int64))
    graph.constant("best/last", np.array([-1], np.int64))
    return [
        helper.make_node("Reshape", [probabilities, "best/shape"], ["best/blocks"]),
        helper.make_node("ReduceMax", ["best/blocks"], ["best/highest"], axes=[-1], keepdims=0),
        helper.make_node("ReduceMax", ["best/highest"], ["probability"], axes=[-1], keepdims=0),
        helper.make_node("ArgMax", ["best/highest"], ["best/number"], axis=-1, keepdims=1),
        helper.make_node("GatherND", ["best/blocks", "best/number"], ["best/block"], batch_dims=2),
        helper.make_node("ArgMax", ["best/block"], ["best/place"], axis=-1, keepdims=0),
        helper.make_node("Squeeze", ["best/number", "best/last"], ["best/before"]),
        helper.make_node("Mul", ["best/before", "best/size"], ["best/start"]),
        helper.make_node("Add", ["best/start", "best/place"], ["index"]),
    ]


def _in_whole_blocks(graph: Graph, softmax: NodeProto) -> int:
    """Pad the classes of x @ weights + bias before a Softmax to whole blocks, with the bias as one more row of the weights.

    Return the number of classes including the padding; 0, with the graph unchanged, if there are few classes or other nodes.
    """
    add = graph.producer(softmax.input[0])
    bias = None if add is None or add.op_type != "Add" else graph.constant_operand(add)
    matmul = None if bias is None else graph.producer(bias[0])
    if add is None or bias is None or matmul is None or matmul.op_type != "MatMul":
        return 0
    weights = graph.constants.get(matmul.input[1])
    alone = all(len(graph.consumers(node.output[0])) == 1 for node in (matmul, add))
    if weights is None or weights.ndim != 2 or not alone:
        return 0
    classes = int(weights.shape[1])
    if classes < MANY or bias[1].size != classes or bias[1].shape[-1] != classes:
        return 0
    missing = -classes % BLOCK
    rows = np.pad(weights, ((0, 0), (0, missing)))
    row = np.pad(bias[1].reshape(1, -1), ((0, 0), (0, missing)), constant_values=NEVER)
    ends, one, with_one = (f"{matmul.output[0]}/{name}" for name in ("ends", "one", "with_one"))
    graph.constant(ends, np.array([0, 0, 0, 0, 0, 1], np.int64))
    graph.constant(one, np.array(1, np.float32))
    graph.constant(f"{matmul.output[0]}/weights", np.concatenate([rows, row]))
    pad = helper.make_node("Pad", [matmul.input[0], ends, one], [with_one], mode="constant")
    product = helper.make_node("MatMul", [with_one, f"{matmul.output[0]}/weights"], [add.output[0]])
    graph.replace([matmul, add], [pad, product])
    return classes + missing
