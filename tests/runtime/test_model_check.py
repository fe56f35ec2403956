"""A model file from a stranger: what is refused before ONNX Runtime gets it, and that all that is refused is this package's error."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import DETECTION, PAGE, RECOGNITION
from graphs import ctc, model
from onnx import TensorProto, helper

from ocr_onnx.converters import precision
from ocr_onnx.converters.export import import_onnx
from ocr_onnx.errors import ModelError, OCRError
from ocr_onnx.models import store
from ocr_onnx.models.metadata import ModelMetadata, stamped
from ocr_onnx.models.protobuf import field, varint
from ocr_onnx.runtime import model_check
from ocr_onnx.runtime.model_file import CPU_FIELD, GPU_FIELD, PRODUCER, model_for_device, replacement_field
from ocr_onnx.runtime.providers import CPU
from ocr_onnx.runtime.session import Session
from ocr_onnx.stages import loading

SECRET = np.arange(12, dtype=np.float32)


def detector(**constants: object) -> onnx.ModelProto:
    """A graph whose map is the mean of the colors."""
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=1)
    return model([node], constants, ("y", ["n", 1, "h", "w"]))


def written(folder: Path, made: onnx.ModelProto, metadata: ModelMetadata = DETECTION) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(stamped(made.SerializeToString(), metadata))
    return path


def with_weights_in(place: str, *, marked: bool = True) -> onnx.ModelProto:
    made = detector(w=SECRET)
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value=place)
    if marked:
        tensor.data_location = TensorProto.EXTERNAL
    return made


@pytest.mark.parametrize("place", ["../../etc/passwd", "/etc/passwd", "weights.bin", "link.bin"])
@pytest.mark.parametrize("marked", [True, False])
def test_weights_in_another_file_are_refused(tmp_path: Path, place: str, marked: bool) -> None:
    (tmp_path / "weights.bin").write_bytes(SECRET.tobytes())
    (tmp_path / "link.bin").symlink_to("/etc/passwd")
    path = written(tmp_path, with_weights_in(place, marked=marked))
    for read in (
        Session,
        lambda path: precision.halve(path, tmp_path / "half.onnx"),
        lambda path: import_onnx(path, tmp_path / "made.onnx", DETECTION),
    ):
        with pytest.raises(
            ModelError, match="its weights are in another file; save the model with its weights in one file"
        ):
            read(path)


@pytest.mark.parametrize(
    "numbers",
    [
        (7, 5),
        (7, 15, 1),
        (7, 15, 2),
        (7, 1, 5, 5),
        (7, 1, 5, 10),
        (7, 1, 5, 22, 1),
        (7, 1, 5, 23, 2),
        (7, 1, 5, 6, 5),
        (7, 1, 5, 11, 5),
    ],
)
@pytest.mark.parametrize("mark", [b"\x70\x01", field(13, b"")])
def test_weights_in_another_file_are_found_wherever_a_tensor_can_be(numbers: tuple[int, ...], mark: bytes) -> None:
    """The field numbers that lead to a tensor; the mark is data_location or external_data alone."""
    for content, refused in ((mark, True), (b"\x70\x00", False)):
        for number in reversed(numbers):
            content = field(number, content)  # noqa: PLW2901
        if refused:
            with pytest.raises(ModelError, match="its weights are in another file"):
                model_check.check_model(content, Path("a.onnx"))
        else:
            model_check.check_model(content, Path("a.onnx"))


@pytest.mark.parametrize(("count", "refused"), [(2**15, False), (2**15 + 1, True)])
def test_a_constant_may_have_as_many_elements_as_a_file_has_bytes(count: int, refused: bool) -> None:
    content = field(7, field(5, b"\x08" + varint(2**15) + b"\x08" + varint(count)))
    if refused:
        with pytest.raises(ModelError, match="constant of more than"):
            model_check.check_model(content, Path("a.onnx"))
    else:
        model_check.check_model(content, Path("a.onnx"))


def nested(made: onnx.ModelProto, depth: int) -> onnx.ModelProto:
    """A graph in an attribute, within another one, and so on; the innermost has external weights."""
    within = with_weights_in("a").graph
    for _ in range(depth):
        node = helper.make_node("If", ["x"], ["z"], then_branch=within)
        within = helper.make_graph([node], "g", [], [])
    made.graph.node.append(within.node[0])
    return made


def test_weights_of_a_graph_within_the_graph_are_refused_too(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="its weights are in another file"):
        Session(written(tmp_path, nested(detector(), 2)))


@pytest.mark.parametrize("depth", [6, 30])
def test_graphs_that_are_nested_too_deeply_are_refused(tmp_path: Path, depth: int) -> None:
    path = written(tmp_path, nested(detector(), depth))
    with pytest.raises(ModelError, match="nested too deeply"):
        Session(path)


@pytest.mark.parametrize(("domain", "kind"), [("com.microsoft", "EPContext"), ("evil", "Run"), ("\x00" * 200, "")])
def test_operators_outside_of_the_standard_are_refused_with_their_name(tmp_path: Path, domain: str, kind: str) -> None:
    made = detector()
    made.graph.node.append(helper.make_node(kind, ["x"], ["z"], domain=domain))
    with pytest.raises(ModelError, match="operators of the ONNX standard only") as raised:
        Session(written(tmp_path, made))
    assert len(domain) > 100 or f"{domain}.{kind}" in str(raised.value)


def test_functions_are_refused_because_calls_of_calls_grow_without_a_limit(tmp_path: Path) -> None:
    made = detector()
    made.functions.append(helper.make_function("", "twice", ["a"], ["b"], [], [helper.make_opsetid("", 17)]))
    with pytest.raises(ModelError, match="functions inlined"):
        Session(written(tmp_path, made))


def test_a_replacement_for_one_device_is_checked_too(tmp_path: Path) -> None:
    made = detector()
    made.producer_name = PRODUCER
    part = onnx.ModelProto()
    part.graph.node.append(helper.make_node("Run", ["x"], ["y"], domain="evil"))
    for number in (CPU_FIELD, GPU_FIELD):
        path = tmp_path / "model.onnx"
        path.write_bytes(replacement_field(number, 0, 1, part.SerializeToString()) + made.SerializeToString())
        with pytest.raises(ModelError, match=r"operator evil\.Run"):
            Session(path)


def test_a_replacement_is_not_multiplied_by_a_graph_in_many_parts() -> None:
    node = field(1, field(4, b"Relu"))
    part = field(7, node * 1000)
    file = replacement_field(CPU_FIELD, 0, 1, part) + field(2, PRODUCER.encode()) + field(7, node) * 1000
    assert len(model_for_device(file)) == len(file)


def test_onnx_runtimes_own_format_is_refused_even_if_it_looks_like_an_onnx_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(field(1, b"xxORTM" + bytes(60)))
    model_check.check_model(path.read_bytes(), path)
    with pytest.raises(ModelError, match="protobuf"):
        Session(path)


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [
        ("MAX_NODES", 0, "more than 0 operators"),
        ("MAX_FIELDS", 9, "more than 9 fields"),
        ("MAX_BYTES", 9, "more than 9: it is not a model"),
    ],
)
def test_limits_are_checked_before_a_file_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, reason: str
) -> None:
    path = written(tmp_path, detector())
    monkeypatch.setattr(model_check, limit, value)
    with pytest.raises(ModelError, match=reason):
        Session(path)


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [
        ("MAX_NODES", 3, "more than 2 operators"),
        ("MAX_DEPTH", 4, "nested too deeply"),
        ("MAX_FIELDS", 10, "more than 9 fields"),
    ],
)
def test_a_file_at_a_limit_is_loaded(monkeypatch: pytest.MonkeyPatch, limit: str, value: int, reason: str) -> None:
    """Three nodes with a name, the last with an attribute that has a tensor with a value."""
    content = field(7, field(1, field(3, b"a")) * 2 + field(1, field(3, b"b") + field(5, field(5, field(8, b"t")))))
    monkeypatch.setattr(model_check, limit, value)
    model_check.check_model(content, Path("a.onnx"))
    monkeypatch.setattr(model_check, limit, value - 1)
    with pytest.raises(ModelError, match=reason):
        model_check.check_model(content, Path("a.onnx"))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dims", [(2**20, 2**20), (2**63,), (2**64 - 1,), (1,) * 50 + (2**31,)])
def test_a_constant_larger_than_any_file_is_refused(tmp_path: Path, dims: tuple[int, ...], packed: bool) -> None:
    numbers = [varint(size) for size in dims]
    shape = field(1, b"".join(numbers)) if packed else b"".join(b"\x08" + number for number in numbers)
    path = tmp_path / "model.onnx"
    path.write_bytes(detector().SerializeToString() + field(7, field(5, shape + b"\x10\x01" + field(8, b"w"))))
    with pytest.raises(ModelError, match="constant of more than"):
        Session(path)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="/proc")
def test_a_file_that_cannot_be_read_is_named_with_the_cause(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").symlink_to("/proc/self/mem")
    with pytest.raises(ModelError, match=r"model\.onnx cannot be read: .*; check the file and its permissions"):
        Session(tmp_path / "model.onnx")


def test_the_models_of_the_package_keep_to_the_limits() -> None:
    sizes = {name: len(model_check.read_model(store.find(name))) for name in store.installed()}
    for name in sizes:
        model_check.check_model(store.find(name).read_bytes(), Path(name))
    assert sizes


def scalar() -> onnx.ModelProto:
    return model([helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)], {}, ("y", []))


def two_inputs() -> onnx.ModelProto:
    made = detector()
    made.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1]))
    return made


def no_input() -> onnx.ModelProto:
    made = model([helper.make_node("Identity", ["c"], ["y"])], {"c": np.zeros((1, 1, 2, 2))}, ("y", [1, 1, 2, 2]))
    del made.graph.input[:]
    return made


@pytest.mark.parametrize(
    ("made", "metadata", "reason"),
    [
        (scalar, DETECTION, "not those of text_detection"),
        (two_inputs, DETECTION, "not those of text_detection"),
        (no_input, DETECTION, "no input or no output"),
        (detector, RECOGNITION, "not those of text_recognition"),
        (lambda: ctc(9), RECOGNITION, "9 classes, but its metadata names 7"),
        (lambda: ctc(9), PAGE, "not those of doc_orientation"),
    ],
)
def test_a_graph_that_does_not_fit_to_its_task_is_refused(
    tmp_path: Path, made: Callable[[], onnx.ModelProto], metadata: ModelMetadata, reason: str
) -> None:
    with pytest.raises(ModelError, match=reason):
        loading.load(written(tmp_path, made(), metadata), metadata.task, CPU, 1)


def classes_of_pixels(count: int) -> onnx.ModelProto:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["y"]),
    ]
    return model(nodes, {"w": np.ones((3, count))}, ("y", ["n", count]))


def test_labels_that_are_no_angles_are_refused(tmp_path: Path) -> None:
    for labels in (("0", "x"), ("0", "91")):
        path = written(tmp_path, classes_of_pixels(2), replace(PAGE, labels=labels))
        with pytest.raises(ModelError, match="has the labels"):
            loading.load(path, "doc_orientation", CPU, 1)


def test_outputs_of_other_axes_than_declared_are_an_error(tmp_path: Path) -> None:
    made = ctc(7, squeezed=True)
    session, _ = loading.load(written(tmp_path, made, RECOGNITION), "text_recognition", CPU, 1)
    with pytest.raises(ModelError):
        session(np.zeros((1, 3, 1, 1), np.float32))


def test_a_mutated_model_file_is_read_or_refused_with_an_error_of_this_package(tmp_path: Path) -> None:
    random_ = random.Random(7)
    seed = stamped(ctc(7, bias=np.zeros(7)).SerializeToString(), RECOGNITION)
    path = tmp_path / "model.onnx"
    outcomes = set()
    for _ in range(400):
        data = bytearray(seed)
        for _ in range(random_.randint(1, 3)):
            data[random_.randrange(len(data))] = random_.choice((0, 1, 0x7F, 0x80, 0xFF, random_.randrange(256)))
        path.write_bytes(data)
        try:
            session, _ = loading.load(path, "text_recognition", CPU, 1)
            session(np.zeros((1, 3, 48, 64), np.float32))
            outcomes.add("read")
        except OCRError as error:
            outcomes.add(type(error).__name__)
    assert outcomes == {"read", "ModelError"}
