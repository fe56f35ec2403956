"""The end of a recognition graph: (index of the best class, its probability) instead of the probabilities of all."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from ocr_onnx.converters.graph import Graph
from ocr_onnx.errors import ConversionError

BLOCK = 128
"""Classes that are looked through together."""

MANY = 4096
"""With fewer classes blocks were measured to win nothing."""

NEVER = -1e4
"""A logit so low that its probability is 0 beside any other; half precision can hold it."""


def best_classes(graph: Graph) -> None:
    """Answer recognition with (index of the best class, its probability) instead of [batch, step, classes].

    The softmax stays before the maximum: ties between rounded probabilities then fall as in the reference.
    """
    last = softmax = graph.nodes[-1]
    (output,) = graph.proto.graph.output
    if last.op_type == "Reshape":
        # Softmax of opset 12 and before knows two axes; brought to a later one it is put between reshapes.
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
    """The first best block, and the first best class in it: the same as the first best class of all, ties included.

    ONNX Runtime looks for the place of a maximum one number after another, for its height with many at once.
    """
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
    """Let x @ weights + bias before a softmax compute whole blocks of classes, the bias as one more row of the weights.

    How many classes there then are; 0, and nothing is changed, where they are few or the softmax follows something else.
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
