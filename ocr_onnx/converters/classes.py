"""The end of a recognition graph."""

from __future__ import annotations

import onnx

from ocr_onnx.converters.graph import Graph
from ocr_onnx.errors import ConversionError


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
    graph.nodes += [
        onnx.helper.make_node("ArgMax", [output.name], ["index"], axis=-1, keepdims=0),
        onnx.helper.make_node("ReduceMax", [output.name], ["probability"], axes=[-1], keepdims=0),
    ]
    dims = [d.dim_param or d.dim_value for d in output.type.tensor_type.shape.dim][:2]
    del graph.proto.graph.output[:]
    graph.proto.graph.output.extend(
        [
            onnx.helper.make_tensor_value_info("index", onnx.TensorProto.INT64, dims),
            onnx.helper.make_tensor_value_info("probability", onnx.TensorProto.FLOAT, dims),
        ]
    )
