"""Write the model that normalizes pixels on a GPU: `python -m ocr_onnx.converters.pixels`."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

from ocr_onnx.runtime.batching import PADDING_MARK
from ocr_onnx.runtime.device_pixels import FILE, VALUES

OPSET, IR_VERSION = 13, 7


def pixel_model() -> ModelProto:
    """Return the model: pixels of an image and a lookup table in, the input of a detector with marked padding out.

    Inputs: `pixels` (1, height, width, 3), uint8; `table` (3 * VALUES,), the normalized values of channel 0, then 1, then 2;
    `rows` (height, 1) and `columns` (1, width), the indices of the pixels; `size` (2,), the rows and columns of the image
    without its padding. Output: `tensor` (1, 3, height, width).
    """
    constants = {
        "offsets": np.array([0, VALUES, 2 * VALUES], np.int32),
        "mark": np.array(PADDING_MARK, np.float32),
        "first": np.array([0]),
        "second": np.array([1]),
        "end": np.array([2]),
    }
    nodes = [
        helper.make_node("Cast", ["pixels"], ["values"], to=TensorProto.INT32),
        helper.make_node("Add", ["values", "offsets"], ["indices"]),
        helper.make_node("Gather", ["table", "indices"], ["normalized"]),
        helper.make_node("Transpose", ["normalized"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Slice", ["size", "first", "second"], ["height"]),
        helper.make_node("Slice", ["size", "second", "end"], ["width"]),
        helper.make_node("Less", ["rows", "height"], ["above"]),
        helper.make_node("Less", ["columns", "width"], ["left"]),
        helper.make_node("And", ["above", "left"], ["inside"]),
        helper.make_node("Where", ["inside", "planes", "mark"], ["tensor"]),
    ]
    inputs = [
        helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, "height", "width", 3]),
        helper.make_tensor_value_info("table", TensorProto.FLOAT, [3 * VALUES]),
        helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["height", 1]),
        helper.make_tensor_value_info("columns", TensorProto.FLOAT, [1, "width"]),
        helper.make_tensor_value_info("size", TensorProto.FLOAT, [2]),
    ]
    output = helper.make_tensor_value_info("tensor", TensorProto.FLOAT, [1, 3, "height", "width"])
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "pixels", inputs, [output], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="ocr-onnx")
    model.ir_version = IR_VERSION
    checker.check_model(model)
    return model


if __name__ == "__main__":
    FILE.write_bytes(pixel_model().SerializeToString())
