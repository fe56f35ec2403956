"""Graphs that several tests make, and the lines of real pages that they are tried on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from conftest import PAGES, VERSION_5
from onnx import TensorProto, helper, numpy_helper

from ocr_onnx import OCR
from ocr_onnx.models import store
from ocr_onnx.models.metadata import PROPERTY, ModelMetadata
from ocr_onnx.runtime.model_file import model_for_device
from ocr_onnx.runtime.session import Session
from ocr_onnx.stages import recognition
from ocr_onnx.types import Image, Tensor, TextBox

NAME = "PP-OCRv5_mobile_rec"


SHAPE = (3, 48, 320)


def model(
    nodes: list[onnx.NodeProto], constants: dict[str, object], output: tuple[str, list[int | str]]
) -> onnx.ModelProto:
    """A graph over one picture `x` of 3 channels."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, output[1])],
        [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def ctc(
    classes: int, *, squeezed: bool = False, weights: np.ndarray | None = None, bias: np.ndarray | None = None
) -> onnx.ModelProto:
    """A recognition head: columns as steps, a softmax over classes; `squeezed` so that the number of axes is not known."""
    mean = helper.make_node("ReduceMean", ["x"], ["m"], axes=[2], keepdims=0)
    kept = helper.make_node("ReduceMean", ["x"], ["k"], axes=[2], keepdims=1)
    nodes = [
        *([kept, helper.make_node("Squeeze", ["k"], ["m"])] if squeezed else [mean]),
        helper.make_node("Transpose", ["m"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["t", "w"], ["z"]),
        *([] if bias is None else [helper.make_node("Add", ["z", "b"], ["s"])]),
        helper.make_node("Softmax", ["z" if bias is None else "s"], ["y"], axis=2),
    ]
    weights = np.random.default_rng(0).normal(0, 3, (3, classes)) if weights is None else weights
    constants: dict[str, object] = {"w": weights} if bias is None else {"w": weights, "b": bias}
    return model(nodes, constants, ("y", ["n", "w", classes]))


class Net:
    """A graph in the making."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.rng = np.random.default_rng(0)

    def add(self, kind: str, *inputs: str, **attributes: object) -> str:
        """A node; its output's name."""
        name = f"{kind}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, value: np.ndarray) -> str:
        """A constant's name."""
        name = f"c.{len(self.constants)}"
        self.constants[name] = value.astype(np.float32)
        return name

    def weights(self, *shape: int) -> str:
        """Random ones."""
        return self.constant(self.rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape))

    def conv(self, source: str, inputs: int, outputs: int, *, side: int = 1, stride: int = 1) -> str:
        """A convolution with a bias that keeps the size but for its stride."""
        weights, bias = self.weights(outputs, inputs, side, side), self.weights(outputs)
        pads = [side // 2] * 4
        return self.add("Conv", source, weights, bias, kernel_shape=[side] * 2, pads=pads, strides=[stride] * 2)

    def gated(self, x: str, channels: int, gate: str) -> str:
        """X + x * a gate from the means of x."""
        squeezed = self.add("Relu", self.conv(self.add("GlobalAveragePool", x), channels, 2))
        return self.add("Add", x, self.add("Mul", x, self.add(gate, self.conv(squeezed, 2, channels))))


def others_only(contents: bytes, folder: Path) -> Session:
    """A model as a device other than a CPU has it, on the CPU."""
    path = folder / "others.onnx"
    path.write_bytes(model_for_device(contents, on_cpu=False))
    return Session(path)


@functools.cache
def lines() -> tuple[Tensor, ...]:
    """The lines of real pages, by the pipeline's own boxes."""
    ocr = OCR(models=VERSION_5)
    names = ("sign.png", "cjk.png", "letter.png", "dense.png")
    results = [result for name in names for result in ocr.predict(str(PAGES / name))]
    return tuple(_cut_out(result.page.image, box) for result in results for box in result.boxes)


def _cut_out(image: Image, box: TextBox) -> Tensor:
    left, top = box.quad.min(axis=0).astype(int).clip(0)
    right, bottom = box.quad.max(axis=0).astype(int)
    crop = np.ascontiguousarray(image[top:bottom, left:right])
    return recognition.preprocess(crop, recognition.padded_widths([crop], 1, SHAPE)[0], SHAPE)


def same(run: Session, whole: Session, tensor: Tensor) -> float:
    """The share of steps that were proved blank, once the answers are found to be equal."""
    index, probability = run(tensor)
    all_index, all_probability = whole(tensor)
    np.testing.assert_array_equal(index, all_index)
    proved = (probability == 0) & (all_probability > 0)
    assert not index[proved].any()
    np.testing.assert_array_equal(probability[~proved], all_probability[~proved])
    return float(proved.mean())


def with_metadata(name: str, folder: Path, change: Callable[[ModelMetadata], ModelMetadata]) -> None:
    """Write a copy of an embedded model with other metadata, under the name that this has, into a folder of models."""
    model = onnx.load(store.find(name))
    (entry,) = (each for each in model.metadata_props if each.key == PROPERTY)
    metadata = change(ModelMetadata.from_properties({PROPERTY: entry.value}, name))
    entry.value = metadata.to_json()
    onnx.save(model, folder / f"{metadata.name}.onnx")
