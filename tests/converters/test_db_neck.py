"""How the neck and the head of a detector are rewritten: what is computed stays, what is not of that form stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from graphs import Net
from onnx import TensorProto, helper, numpy_helper

from ocr_onnx.converters.graph import Graph
from ocr_onnx.converters.passes.db_neck import rewrite_db_neck
from ocr_onnx.runtime.session import Session


@dataclass(frozen=True)
class Variant:
    """What differs from the detectors there are."""

    factors: tuple[int, ...] = (8, 4, 2)
    gate: str = "HardSigmoid"
    stride: int = 2
    outputs: int = 1
    shift: bool = True
    resize: str = "nearest"


def detector(variant: Variant = Variant()) -> onnx.ModelProto:
    """Levels with gates, enlarged to the finest and fused, and DB's head."""
    net = Net()
    fine = net.conv("x", 3, 4, side=3)
    levels = []
    for factor in variant.factors:
        level = net.gated(net.conv(fine, 4, 5, stride=factor), 5, variant.gate)
        scales = net.constant(np.array([1, 1, factor, factor]))
        how = {"mode": variant.resize, "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        levels.append(net.add("Resize", level, "", scales, **how))
    fused = net.add("Concat", *levels, net.gated(fine, 4, variant.gate), axis=1)
    x = net.add("Relu", net.conv(fused, 5 * len(levels) + 4, 6, side=3))
    two = {"kernel_shape": [2, 2], "strides": [variant.stride] * 2}
    x = net.add("Relu", net.add("ConvTranspose", x, net.weights(6, 7, 2, 2), net.weights(7), **two))
    x = net.add("ConvTranspose", x, net.weights(7, variant.outputs, 2, 2), **two)
    y = net.add("Sigmoid", net.add("Add", x, net.constant(np.full((1, 1, 1, 1), 0.7))) if variant.shift else x)
    graph = helper.make_graph(
        net.nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info(y, TensorProto.FLOAT, ["n", variant.outputs, "p", "q"])],
        [numpy_helper.from_array(value, name) for name, value in net.constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    graph = Graph(model)
    rewrite_db_neck(graph)
    return graph.model()


def run(model: onnx.ModelProto, path: Path, x: np.ndarray) -> np.ndarray:
    onnx.save(model, path)
    (output,) = Session(path)(x)
    return output


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(
    "variant", [Variant(), Variant(factors=(2,)), Variant(factors=(4,)), Variant(shift=False)], ids=str
)
def test_the_results_of_a_detector_do_not_change(tmp_path: Path, variant: Variant) -> None:
    x = np.random.default_rng(1).normal(0, 1, (2, 3, 32, 64)).astype(np.float32)
    made = simplified(detector(variant))
    assert "ConvTranspose" not in kinds(made)
    assert {"Split", "DepthToSpace"} <= set(kinds(made))
    np.testing.assert_allclose(
        run(made, tmp_path / "made.onnx", x), run(detector(variant), tmp_path / "given.onnx", x), atol=1e-6
    )


def test_maps_are_enlarged_by_half_as_much() -> None:
    made = Graph(simplified(detector()))
    scales = [made.constants[node.input[2]].tolist() for node in made.nodes if node.op_type == "Resize"]
    assert scales == [[1, 1, 4, 4], [1, 1, 2, 2]]


@pytest.mark.parametrize(
    ("variant", "kept"),
    [
        (Variant(factors=(4, 2), resize="linear"), {"Resize": 2, "ConvTranspose": 0}),
        (Variant(factors=(3, 1)), {"Resize": 2, "ConvTranspose": 0}),
        (Variant(stride=1), {"ConvTranspose": 2, "DepthToSpace": 0}),
        (Variant(outputs=2), {"ConvTranspose": 2, "DepthToSpace": 0}),
    ],
    ids=["smooth", "odd factor", "overlap", "two outputs"],
)
def test_graphs_of_another_form_are_unchanged(variant: Variant, kept: dict[str, int]) -> None:
    made = kinds(simplified(detector(variant)))
    assert {kind: made.count(kind) for kind in kept} == kept


def test_a_graph_without_the_pattern_is_unchanged() -> None:
    net = Net()
    y = net.add("Add", net.conv("x", 3, 3), "x")
    graph = helper.make_graph(
        net.nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info(y, TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [numpy_helper.from_array(value, name) for name, value in net.constants.items()],
    )
    given = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    before = given.SerializeToString(deterministic=True)
    assert simplified(given).SerializeToString(deterministic=True) == before


def test_a_gate_is_one_product() -> None:
    made = Graph(simplified(detector()))
    gates = [made.producer(node.input[1]) for node in made.nodes if node.op_type == "Mul"]
    assert len(gates) == 4
    assert all(gate is not None and made.constant_operand(gate) is not None for gate in gates)
