"""Pages and lines in larger pictures, as a GPU is given them: they are read as alone, and what is of another form stays as it is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
from graphs import Net
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from ocr_onnx.converters import export, precision, verify
from ocr_onnx.converters.passes.valid_region import mask_valid_region
from ocr_onnx.converters.precision import halve
from ocr_onnx.converters.replacements import Replacement, contents
from ocr_onnx.models import store
from ocr_onnx.models.metadata import HEIGHT, WIDTH, ModelMetadata
from ocr_onnx.runtime.batching import MASKED_SHAPES, PADDING_CLASS, PADDING_MARK
from ocr_onnx.runtime.model_file import PRODUCER, has_padding_mask, model_for_device
from ocr_onnx.runtime.providers import CPU, Placement
from ocr_onnx.runtime.session import Session
from ocr_onnx.stages import recognition
from ocr_onnx.stages.calibration import difference
from ocr_onnx.stages.sample_page import sample_page, split_lines
from ocr_onnx.types import MAX_DIFFERING_SHARE

DETECTOR, RECOGNIZER = "PP-OCRv5_mobile_det", "PP-OCRv5_mobile_rec"


def in_room(tensors: list[np.ndarray], height: int, width: int) -> np.ndarray:
    """Pictures in one tensor, each in its upper left corner."""
    room = np.full((len(tensors), 3, height, width), PADDING_MARK, np.float32)
    for row, tensor in zip(room, tensors, strict=True):
        row[:, : tensor.shape[2], : tensor.shape[3]] = tensor[0]
    return room


def plain_and_bounded(name: str) -> tuple[Session, Session]:
    elsewhere = cast(Placement, SimpleNamespace(providers=CPU.providers, on_cpu=False, on_gpu=False))
    path = store.find(name)
    return Session(path, elsewhere, 2), Session(path, CPU, 2, masked=True)


def test_lines_in_one_batch_are_read_as_single_lines() -> None:
    plain, bounded = plain_and_bounded(RECOGNIZER)
    shape = (3, 48, 320)
    alone = []
    for line, more in zip(split_lines(sample_page()), range(0, 99, 7), strict=False):
        width = recognition.padded_widths([line], 1, shape)[0] + more
        alone.append(recognition.preprocess(line, width, shape))
    widest = max(tensor.shape[3] for tensor in alone)
    room = np.concatenate([in_room(alone, 48, widest + 33), np.zeros((1, 3, 48, widest + 33), np.float32)])
    index, probability = bounded(room)
    padded_with_black = plain(np.where(room == PADDING_MARK, 0, room))
    differing = 0
    for row, tensor in enumerate(alone):
        (expected,), (certainty,) = plain(tensor)
        within = index[row] != PADDING_CLASS
        np.testing.assert_array_equal(index[row, within], expected)
        np.testing.assert_allclose(probability[row, within], certainty, atol=1e-4)
        assert not within[len(expected) :].any()
        differing += (np.abs(padded_with_black[1][row, : len(certainty)] - certainty) > 1e-3).any()
    # Without bounds the network sees the padding.
    assert differing > 3


def test_a_padded_page_gives_the_same_result_as_the_page_alone() -> None:
    plain, bounded = plain_and_bounded(DETECTOR)
    page = np.random.default_rng(0).normal(0, 1, (1, 3, 96, 160)).astype(np.float32)
    real = next(iter(verify.sample_inputs(bounded_metadata(bounded)).values()))
    for tensor in (page, real):
        height, width = tensor.shape[2:]
        (alone,) = plain(tensor)
        for more in ((0, 0), (32, 0), (0, 64), (160, 96)):
            (found,) = bounded(in_room([tensor], height + more[0], width + more[1]))
            np.testing.assert_allclose(found[..., :height, :width], alone, atol=1e-4)
    # Without bounds the network sees the padding.
    filled = np.pad(real, ((0, 0), (0, 0), (0, 160), (0, 96)))
    assert np.abs(plain(filled)[0][..., : real.shape[2], : real.shape[3]] - plain(real)[0]).max() > 1e-3


def bounded_metadata(session: Session) -> ModelMetadata:
    return ModelMetadata.from_properties(session.properties, "test")


@pytest.mark.parametrize("name", [DETECTOR, RECOGNIZER])
def test_an_input_without_padding_is_read_as_by_the_graph_without_masks(name: str) -> None:
    plain, bounded = plain_and_bounded(name)
    for tensor in list(verify.sample_inputs(bounded_metadata(plain)).values())[:4]:
        for one, other in zip(plain(tensor), bounded(tensor), strict=True):
            np.testing.assert_allclose(other, one, atol=1e-4)


def test_the_graph_for_a_gpu_has_masks_and_that_for_a_cpu_has_none() -> None:
    on_gpu = cast(Placement, SimpleNamespace(providers=CPU.providers, on_cpu=False, on_gpu=True))
    path = store.find(RECOGNIZER)
    assert [Session(path, where).masked for where in (on_gpu, CPU)] == [True, False]
    assert not Session(store.find("PP-LCNet_x1_0_doc_ori"), on_gpu).masked
    file = path.read_bytes()
    kinds = {form: operators(model_for_device(file, **how)) for form, how in FORMS.items()}
    assert "Where" in kinds["bounded"]
    assert "Where" not in kinds["plain"]
    assert len(kinds["plain"]) < len(kinds["bounded"]) < 1.25 * len(kinds["plain"])
    assert kinds["cpu"] != kinds["plain"]


@pytest.mark.parametrize("name", [DETECTOR, pytest.param(RECOGNIZER, marks=pytest.mark.slow)])
def test_half_precision_keeps_the_masks(name: str, tmp_path: Path) -> None:
    halve(store.find(name), tmp_path / "half.onnx")
    for form in ("plain", "bounded"):
        known = onnx.load_from_string(model_for_device((tmp_path / "half.onnx").read_bytes(), **FORMS[form]))
        onnx.checker.check_model(known, full_check=True)
        kinds = {tensor.data_type for tensor in known.graph.initializer if len(tensor.dims) > 1}
        assert kinds == {TensorProto.FLOAT16}
    half, whole = (Session(path, threads=2, masked=True) for path in (tmp_path / "half.onnx", store.find(name)))
    assert half.masked
    found = difference(half, whole, bounded_metadata(whole), MASKED_SHAPES, 640)
    assert found.share < MAX_DIFFERING_SHARE


FORMS: dict[str, dict[str, bool]] = {"cpu": {}, "plain": {"on_cpu": False}, "bounded": {"masked": True}}


def operators(file: bytes) -> list[str]:
    known = onnx.load_from_string(file)
    onnx.checker.check_model(known, full_check=True)
    return [node.op_type for node in known.graph.node]


def test_a_file_of_another_project_has_no_masks() -> None:
    file = store.find(RECOGNIZER).read_bytes()
    anew = onnx.load_from_string(file).SerializeToString()
    assert has_padding_mask(file)
    assert not has_padding_mask(anew)
    assert not has_padding_mask(model_for_device(file, on_cpu=False))
    assert not any(map(has_padding_mask, (b"", b"\xff" * 50, file[:10])))


def finished(net: Net, last: str, kinds: tuple[str, ...] = ("n", "c", "h", "w")) -> onnx.ModelProto:
    """A detector's graph of one output."""
    graph = helper.make_graph(
        net.nodes,
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "height", "width"])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, list(kinds))],
        [numpy_helper.from_array(value, name) for name, value in net.constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name=PRODUCER)
    made.ir_version = 8
    return made


def both(model: onnx.ModelProto, folder: Path) -> tuple[Session, Session]:
    (folder / "made.onnx").write_bytes(contents(model, (), mask_valid_region(model, (HEIGHT, WIDTH))))
    return Session(folder / "made.onnx"), Session(folder / "made.onnx", masked=True)


def squeeze(net: Net, x: str, mean: str) -> str:
    if mean == "GlobalAveragePool":
        return net.add("Mul", x, net.add("Sigmoid", net.add(mean, x)))
    return net.add("Mul", x, net.add("Sigmoid", net.add(mean, x, axes=[-1, 2], keepdims=1)))


def same(net: Net, x: str, kind: str) -> str:
    """Two by two, of a map as large as what it is made of."""
    if kind == "MaxPool":
        return net.add("MaxPool", net.add("Relu", x), kernel_shape=[2, 2], strides=[1, 1], auto_pad="SAME_UPPER")
    return net.add("Conv", x, net.weights(4, 4, 2, 2), auto_pad="SAME_UPPER")


def doubled(net: Net, x: str, kind: str) -> str:
    if kind == "Resize":
        scales = net.constant(np.array([1, 1, 2, 2]))
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return net.add("Resize", x, "", scales, **how)
    if kind == "Reshape":
        fine = doubled(net, x, "Resize")
        net.constants["apart"] = np.array([3, 5])
        part = net.add("Unsqueeze", x, "apart")
        rows = [net.add("Concat", part, net.add("Neg", part), axis=5) for _ in range(2)]
        return net.add("Add", fine, net.add("Reshape", net.add("Concat", *rows, axis=3), net.add("Shape", fine)))
    if kind == "DepthToSpace":
        return net.add("DepthToSpace", net.conv(x, 4, 16), blocksize=2)
    return net.add("ConvTranspose", x, net.weights(4, 4, 2, 2), kernel_shape=[2, 2], strides=[2, 2])


STEPS: dict[str, Callable[[Net, str], str]] = {
    "convolution": lambda net, x: net.conv(x, 4, 4, side=3),
    "wide": lambda net, x: net.conv(x, 4, 4, side=5),
    "point": lambda net, x: net.conv(x, 4, 4),
    "halved": lambda net, x: net.conv(x, 4, 4, side=3, stride=2),
    "pooled": lambda net, x: net.add("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]),
    "highest": lambda net, x: net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]),
    "highest around": lambda net, x: around(net, net.add("Relu", x), "MaxPool", [1, 1, 1, 1]),
    "mean": lambda net, x: squeeze(net, x, "GlobalAveragePool"),
    "reduced": lambda net, x: squeeze(net, x, "ReduceMean"),
    "same": lambda net, x: same(net, x, "Conv"),
    "same highest": lambda net, x: same(net, x, "MaxPool"),
    "apart": lambda net, x: net.add("Conv", x, net.weights(4, 4, 3, 3), dilations=[2, 2], pads=[2, 2, 2, 2]),
    "shifted": lambda net, x: net.add("Add", x, net.constant(np.ones((1, 4, 1, 1)))),
}


@given(
    steps=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=7),
    double=st.sampled_from(["", "Resize", "Reshape", "DepthToSpace", "ConvTranspose"]),
)
def test_any_graph_of_known_nodes_ignores_padding(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], double: str
) -> None:
    net = Net()
    x = net.conv("x", 3, 4, side=3)
    for step in steps:
        x = STEPS[step](net, x)
    if double:
        x = net.conv(doubled(net, net.conv(x, 4, 4, side=3, stride=2), double), 4, 4, side=3)
    plain, bounded = both(finished(net, squeeze(net, x, "GlobalAveragePool")), tmp_path_factory.mktemp("bounds"))
    assert bounded.masked
    rng = np.random.default_rng(0)
    pictures = [rng.normal(0, 1, (1, 3, *sides)).astype(np.float32) for sides in ((256, 512), (512, 256), (256, 256))]
    (found,) = bounded(in_room(pictures, 512, 768))
    for row, picture in zip(found, pictures, strict=True):
        (alone,) = plain(picture)
        np.testing.assert_allclose(row[:, : alone.shape[2], : alone.shape[3]], alone[0], rtol=1e-3, atol=1e-4)


def around(net: Net, x: str, kind: str, pads: list[int]) -> str:
    """Three by three, at every other pixel."""
    return net.add(kind, x, kernel_shape=[3, 3], strides=[2, 2], pads=pads)


POOLS: dict[str, Callable[[Net, str], str]] = {
    "overlapping windows": lambda net, x: around(net, x, "AveragePool", [1, 1, 1, 1]),
    "highest of what may be negative": lambda net, x: net.add(
        "MaxPool", x, kernel_shape=[2, 2], strides=[1, 1], auto_pad="SAME_UPPER"
    ),
    "highest around of what may be negative": lambda net, x: around(net, x, "MaxPool", [1, 1, 1, 1]),
    "highest beside": lambda net, x: around(net, net.add("Relu", x), "MaxPool", [0, 0, 2, 2]),
}
"""Of which it is not known."""


def unknown(kind: str) -> onnx.ModelProto:
    """A graph in which it is not known what becomes of the picture's end."""
    net = Net()
    x = net.conv("x", 3, 4, side=3)
    if kind == "no padding":
        x = net.add("Conv", x, net.weights(4, 4, 3, 3))
    elif kind in POOLS:
        x = POOLS[kind](net, x)
    elif kind == "strides and a padding that depends on the size":
        x = net.add("Conv", x, net.weights(4, 4, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER")
    elif kind == "weights that are computed":
        x = net.add("Conv", x, net.add("Abs", net.weights(4, 4, 1, 1)))
    elif kind == "overlapping enlargement":
        x = net.add("ConvTranspose", x, net.weights(4, 4, 3, 3), kernel_shape=[3, 3], strides=[2, 2])
    elif kind == "a mean of other rank":
        x = net.add("ReduceMean", x, axes=[2, 3], keepdims=0)
        return finished(net, x, ("n", "c"))
    elif kind == "an enlargement by a factor that is not of the picture's":
        scales = net.constant(np.array([1, 1, 2, 2]))
        x = net.conv(net.add("Resize", x, "", scales, mode="nearest"), 4, 4, side=3)
    elif kind == "names that are taken":
        net.nodes.append(helper.make_node("Relu", [x], ["bounds/taken"]))
        x = "bounds/taken"
    return finished(net, net.add("Relu", x))


@pytest.mark.parametrize(
    "kind",
    [
        "no padding",
        *POOLS,
        "strides and a padding that depends on the size",
        "weights that are computed",
        "overlapping enlargement",
        "a mean of other rank",
        "an enlargement by a factor that is not of the picture's",
        "names that are taken",
    ],
)
def test_a_graph_with_an_unknown_node_is_unchanged(kind: str) -> None:
    assert mask_valid_region(unknown(""), (HEIGHT, WIDTH)) is not None
    assert mask_valid_region(unknown(kind), (HEIGHT, WIDTH)) is None


def test_a_recognizer_that_returns_all_probabilities_gets_no_masks() -> None:
    assert mask_valid_region(unknown(""), (WIDTH,)) is None


def test_masks_that_change_results_are_not_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "plain.onnx"
    source.write_bytes(model_for_device(store.find(DETECTOR).read_bytes(), on_cpu=False))
    metadata = ModelMetadata.from_properties(Session(source).properties, DETECTOR)

    def harmed(model: onnx.ModelProto, axes: Any) -> Replacement:
        found = mask_valid_region(model, axes)
        assert found is not None
        return Replacement(0, found.after, list(model.graph.node), {})

    for keep, expected in ((mask_valid_region, True), (harmed, False)):
        monkeypatch.setattr(export, "mask_valid_region", keep)
        with caplog.at_level(logging.WARNING):
            export.import_onnx(source, tmp_path / "made.onnx", metadata)
        assert has_padding_mask((tmp_path / "made.onnx").read_bytes()) is expected
        assert ("gets no mask of the valid region" in caplog.text) is not expected


@pytest.mark.parametrize("name", [DETECTOR, pytest.param(RECOGNIZER, marks=pytest.mark.slow)])
def test_masks_that_change_results_in_half_precision_are_not_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    def harmed(_: onnx.ModelProto, model: onnx.ModelProto) -> Replacement:
        return Replacement(0, len(model.graph.node), list(model.graph.node), {})

    for_gpu = precision._for_gpu
    for make, expected in ((for_gpu, True), (harmed, False)):
        monkeypatch.setattr(precision, "_for_gpu", make)
        halve(store.find(name), tmp_path / "half.onnx")
        assert has_padding_mask((tmp_path / "half.onnx").read_bytes()) is expected
        assert ("gets no mask of the valid region" in caplog.text) is not expected
