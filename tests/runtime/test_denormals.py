"""Weights too small to matter are made 0 when a model is loaded, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import PAGES
from onnx import TensorProto, helper, numpy_helper

from ocr_onnx.models import store, zoo
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.options import DetectionOptions
from ocr_onnx.runtime.denormals import SMALLEST_WEIGHT, without_denormals
from ocr_onnx.runtime.model_file import PRODUCER, model_for_device
from ocr_onnx.stages import detection, recognition

TINY = np.array([1e-45, -1e-39, 9e-31, -9e-31], np.float32)
KEPT = np.array([SMALLEST_WEIGHT, -SMALLEST_WEIGHT, 0, 1], np.float32)


def model(initializers: list[TensorProto]) -> bytes:
    """A graph of these constants that hands on its input; an attribute stands before them, as strings of any bytes may."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    nodes = [helper.make_node("Identity", ["x"], ["y"], doc_string="\x08\x12\x3a\x00")]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    made = helper.make_model(helper.make_graph(nodes, "g", [value], [output], initializers), ir_version=8)
    return bytes(made.SerializeToString())


def constants(contents: bytes) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(contents).graph.initializer}


def test_weights_smaller_than_the_least_become_zero_and_no_others() -> None:
    weights = np.concatenate([TINY, KEPT]).reshape(2, 4)
    before = model([numpy_helper.from_array(w, n) for n, w in (("a", weights), ("b", weights[::-1]))])
    after = constants(without_denormals(before))
    np.testing.assert_array_equal(after["a"], [[0] * 4, KEPT])
    np.testing.assert_array_equal(after["b"], [KEPT, [0] * 4])


def test_weights_in_constant_nodes_are_found_too() -> None:
    weights = np.concatenate([TINY, KEPT]).reshape(2, 4)
    made = onnx.load_from_string(model([]))
    made.graph.node.append(helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(weights)))
    after = onnx.load_from_string(without_denormals(bytes(made.SerializeToString())))
    np.testing.assert_array_equal(numpy_helper.to_array(after.graph.node[1].attribute[0].t), [[0] * 4, KEPT])


@pytest.mark.parametrize(
    "values",
    [np.concatenate([TINY, KEPT]), TINY.astype(np.float64).reshape(2, 2), np.full((2, 2), 2**30, np.int32), KEPT[None]],
    ids=["one axis", "float64", "int32", "nothing small"],
)
def test_what_is_no_small_weight_stays_byte_for_byte(values: np.ndarray) -> None:
    before = model([numpy_helper.from_array(values, "v")])
    assert without_denormals(before) == before


@pytest.mark.parametrize("cut", [1, 7, 30, 60])
def test_what_is_no_onnx_file_is_given_back(cut: int) -> None:
    whole = model([numpy_helper.from_array(TINY.reshape(2, 2), "a")])
    for contents in (whole[:cut], b"", b"nothing of the kind", b"\xff" * 40, b"\x3a\xff\xff\xff\xff\x0f"):
        assert without_denormals(contents) == contents


def test_the_embedded_models_have_none_and_are_not_searched() -> None:
    replaced = set()
    for spec in zoo.models().values():
        if spec.embedded:
            contents = spec.path.read_bytes()
            assert without_denormals(contents) == contents
            assert without_denormals(model_for_device(contents)) == model_for_device(contents)
            assert contents.endswith(model_for_device(contents, on_cpu=False))
            if model_for_device(contents) is not contents:
                replaced.add(spec.name)
    # Of these some nodes are replaced on a CPU.
    families = ("PP-OCRv5_mobile", "PP-OCRv6_small", "PP-OCRv6_tiny")
    assert replaced == {f"{family}_{task}" for family in families for task in ("det", "rec")}


@pytest.mark.parametrize("producer", ["", "paddle2onnx", f"{PRODUCER}-like"])
def test_others_models_are_searched(producer: str) -> None:
    made = onnx.load_from_string(model([numpy_helper.from_array(TINY.reshape(2, 2), "a")]))
    made.producer_name = producer
    before = bytes(made.SerializeToString())
    assert model_for_device(before) == without_denormals(before) != before


def decayed(model: onnx.ModelProto) -> onnx.ModelProto:
    """With its weights of 0 as training leaves them: almost nothing."""
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim == 4:
            tensor.CopyFrom(numpy_helper.from_array(np.where(values == 0, np.float32(1e-40), values), tensor.name))
    return model


def outputs(contents: bytes, tensor: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(contents, providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, {session.get_inputs()[0].name: tensor})]


@pytest.mark.parametrize("page", ["letter.png", "cjk.png", "sign.png"])
@pytest.mark.parametrize("name", ["PP-OCRv5_mobile_det", "PP-OCRv5_mobile_rec"])
def test_models_answer_the_same_to_the_last_bit(name: str, page: str) -> None:
    after = Path(store.find(name)).read_bytes()
    model = onnx.load_from_string(after)
    before = bytes(decayed(model).SerializeToString())
    assert without_denormals(before) != before
    properties = {p.key: p.value for p in model.metadata_props}
    metadata = ModelMetadata.from_properties(properties, name)
    image = np.asarray(cv2.imread(str(PAGES / page)), np.uint8)
    if name.endswith("det"):
        tensor = detection.preprocess(image, DetectionOptions(), metadata)
    else:
        tensor = recognition.preprocess(image[20:80, :400], 480, metadata.input_shape)
    for one, other in zip(outputs(before, tensor), outputs(after, tensor), strict=True):
        np.testing.assert_array_equal(one, other)
