"""A detector's finest map, which is not made on a CPU: the same comes out, and what has another form stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from graphs import Net, others_only
from onnx import TensorProto, helper, numpy_helper

from ocr_onnx.converters import verify
from ocr_onnx.converters.passes.fpn_finest import compose_finest
from ocr_onnx.converters.replacements import contents
from ocr_onnx.errors import ConversionError
from ocr_onnx.inputs import sources
from ocr_onnx.models import store
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.options import DetectionOptions
from ocr_onnx.runtime.model_file import PRODUCER, model_for_device
from ocr_onnx.runtime.session import Session
from ocr_onnx.stages import detection

PAGES = Path(__file__).parents[1] / "pages"
NAME = "PP-OCRv5_mobile_det"


@dataclass(frozen=True)
class Form:
    """What differs from the detectors there are."""

    few: int = 4
    many: int = 24
    out: int = 6
    gate: str = "HardSigmoid"
    one: bool = True
    factor: int = 2
    side: int = 3
    biased: bool = False
    turned: bool = False
    read_twice: str = ""


def pyramid(form: Form = Form()) -> onnx.ModelProto:
    """A map made of few channels and gated, a coarser one enlarged, their sum, and a convolution of it."""
    net = Net()
    source = net.conv("x", 3, 8, side=3)
    few = net.conv(source, 8, form.few)
    many = net.add("Conv", few, net.weights(form.many, form.few, 1, 1), kernel_shape=[1, 1])
    squeezed = net.add("Relu", net.conv(net.add("GlobalAveragePool", many), form.many, 5))
    gate = net.add(form.gate, net.conv(squeezed, 5, form.many))
    if form.one:
        gate = net.add("Add", gate, net.constant(np.ones(1)))
    gated = net.add("Mul", many, gate)
    scales = net.constant(np.array([1, 1, form.factor, form.factor]))
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    enlarged = net.add("Resize", net.conv(source, 8, form.many, stride=form.factor), "", scales, **how)
    total = net.add("Add", *((enlarged, gated) if form.turned else (gated, enlarged)))
    weights = [net.weights(form.out, form.many, form.side, form.side)] + [net.weights(form.out)] * form.biased
    last = net.add("Conv", total, *weights, kernel_shape=[form.side] * 2, pads=[form.side // 2] * 4)
    y = net.add("Sigmoid", last)
    outputs = [helper.make_tensor_value_info(y, TensorProto.FLOAT, ["n", form.out, "h", "w"])]
    if form.read_twice:
        name = {"few": few, "many": many, "gated": gated, "enlarged": enlarged, "total": total}[form.read_twice]
        outputs.append(helper.make_tensor_value_info(net.add("Neg", name), TensorProto.FLOAT, None))
    graph = helper.make_graph(
        net.nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in net.constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name=PRODUCER)


def pages(side: int) -> list[np.ndarray]:
    metadata = ModelMetadata.from_properties(Session(store.find(NAME)).properties, NAME)
    options = DetectionOptions(side, "max")
    names = ("sign.png", "cjk.png", "letter.png", "dense.png")
    read = [page.image for name in names for page in sources.read_pages(PAGES / name)]
    return [detection.preprocess(image, options, metadata) for image in read]


@pytest.mark.parametrize("side", [160, 640, 960])
def test_the_carried_detector_finds_the_same(tmp_path: Path, side: int) -> None:
    run, whole = Session(store.find(NAME)), others_only(store.find(NAME).read_bytes(), tmp_path)
    for tensor in pages(side):
        found, expected = run(tensor)[0], whole(tensor)[0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)
        np.testing.assert_array_equal(found > 0.3, expected > 0.3)


def test_each_picture_of_a_batch_has_its_own_gates(tmp_path: Path) -> None:
    run = Session(store.find(NAME))
    height, width = 320, 448
    batch = np.concatenate([tensor[..., :height, :width] for tensor in pages(640)])
    assert batch.shape == (4, 3, height, width)
    together = run(batch)[0]
    for i in range(4):
        np.testing.assert_allclose(together[i], run(batch[i : i + 1])[0][0], rtol=0, atol=2e-5)


def test_only_a_cpu_is_given_it() -> None:
    file = store.find(NAME).read_bytes()
    of_others, of_cpu = (
        [node.op_type for node in onnx.load_from_string(model_for_device(file, on_cpu=on_cpu)).graph.node]
        for on_cpu in (False, True)
    )
    assert "Scan" not in of_others
    assert of_cpu.count("Scan") == 1
    assert of_others.count("Resize") == of_cpu.count("Resize") + 1


@pytest.mark.parametrize(
    "form",
    [Form(), Form(one=False), Form(turned=True), Form(few=16, many=48, out=24), Form(few=12, many=40, out=16)],
    ids=str,
)
@pytest.mark.parametrize("shape", [(1, 3, 2, 2), (1, 3, 20, 34), (3, 3, 64, 32)])
def test_any_such_map_gives_the_same(tmp_path: Path, form: Form, shape: tuple[int, ...]) -> None:
    given = pyramid(form)
    file = contents(given, compose_finest(given))
    (tmp_path / "made.onnx").write_bytes(file)
    onnx.checker.check_model(onnx.load_from_string(model_for_device(file)), full_check=True)
    x = np.random.default_rng(1).normal(0, 3, shape).astype(np.float32)
    made, whole = Session(tmp_path / "made.onnx")(x)[0], others_only(file, tmp_path)(x)[0]
    np.testing.assert_allclose(made, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "form",
    [
        Form(few=9),
        Form(gate="Sigmoid"),
        Form(factor=4),
        Form(side=1),
        Form(biased=True),
        *(Form(read_twice=name) for name in ("few", "many", "gated", "enlarged", "total")),
    ],
    ids=str,
)
def test_what_has_another_form_stays_as_it_is(form: Form) -> None:
    assert compose_finest(pyramid(form)) == []


def test_a_graph_that_is_too_old_or_has_the_names_stays_as_it_is() -> None:
    assert len(compose_finest(pyramid())) == 1
    old, taken = pyramid(), pyramid()
    old.opset_import[0].version = 12
    taken.graph.node.append(helper.make_node("Neg", [taken.graph.output[0].name], ["pyramid/fine"]))
    assert compose_finest(old) == compose_finest(taken) == []
    assert compose_finest(onnx.load(store.find("PP-OCRv5_mobile_rec"))) == []


@pytest.mark.parametrize("constant", ["pyramid/kernel", "pyramid/coarse/row1/weights", "pyramid/wide"])
def test_a_file_that_finds_otherwise_is_refused(tmp_path: Path, constant: str) -> None:
    file = store.find(NAME).read_bytes()
    known = onnx.load_from_string(model_for_device(file))
    (tensor,) = (tensor for tensor in known.graph.initializer if tensor.name == constant)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.01), constant))
    onnx.save(known, tmp_path / "broken.onnx")
    metadata = ModelMetadata.from_properties(Session(store.find(NAME)).properties, NAME)
    inputs = {name: x for name, x in verify.sample_inputs(metadata).items() if x.shape[0] == 1}
    elsewhere = others_only(file, tmp_path)
    whole = {name: elsewhere(x) for name, x in inputs.items()}
    verify.check_alike(metadata, whole, verify.run_onnx(store.find(NAME), inputs))
    with pytest.raises(ConversionError, match="differs between CPUs and other devices"):
        verify.check_alike(metadata, whole, verify.run_onnx(tmp_path / "broken.onnx", inputs))
