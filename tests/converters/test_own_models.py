"""Models that users trained or exported: with or without the space, with a dictionary beside inference.yml, with a static size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from conftest import LINE
from graphs import ctc, model
from onnx import helper

from ocr_onnx import TextDetection, TextRecognition
from ocr_onnx.converters import legacy, pull, toolchain
from ocr_onnx.errors import ConversionError, ModelError
from ocr_onnx.models import store
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.runtime.session import Session

PLATES = "ABC123"
YML = {
    "Global": {"model_name": "plates"},
    "PreProcess": {"transform_ops": [{"DecodeImage": {"img_mode": "BGR"}}]},
}
PAGE = np.full((40, 130, 3), 255, np.uint8)


@pytest.fixture(autouse=True, params=["with onnx and onnxslim", "without"])
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for models; each test runs with both ways to make a model file."""
    monkeypatch.setenv(store.HOME_VARIABLE, str(tmp_path / "home"))
    if request.param == "without":
        monkeypatch.setattr(toolchain, "ready", lambda **_: False)


def recognizer(folder: Path, classes: int, *characters: str, name: str = "inference.onnx") -> Path:
    """A folder with an export and its inference.yml."""
    folder.mkdir()
    onnx.save(ctc(classes), folder / name)
    post = {"name": "CTCLabelDecode"} | ({"character_dict": list(characters)} if characters else {})
    yml = {**YML, "PostProcess": post}
    (folder / "inference.yml").write_text(yaml.safe_dump(yml, allow_unicode=True), "utf-8")
    return folder


def characters_of(file: Path) -> str:
    return "".join(ModelMetadata.from_properties(Session(file).properties, "made").charset)


@pytest.mark.parametrize(
    ("classes", "dictionary", "expected"),
    [(8, PLATES, "ABC123 "), (7, PLATES, "ABC123"), (8, "ABC123 ", "ABC123 "), (9, "ABC123 ", "ABC123  ")],
)
def test_the_space_is_appended_only_if_the_model_has_a_class_for_it(
    tmp_path: Path, classes: int, dictionary: str, expected: str
) -> None:
    folder = recognizer(tmp_path / "plates", classes, *dictionary)
    assert characters_of(pull.from_directory(folder)) == expected
    TextRecognition(model_dir=str(folder)).predict(PAGE)


@pytest.mark.parametrize("classes", [5, 6, 9, 12])
def test_a_dictionary_of_another_length_is_refused(tmp_path: Path, classes: int) -> None:
    with pytest.raises(ConversionError, match=f"{classes} classes"):
        pull.from_directory(recognizer(tmp_path / "plates", classes, *PLATES))


@pytest.mark.parametrize("in_yml", ["", "AB", "XYZ789"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_dictionary_that_is_given_overrides_the_one_in_inference_yml(
    tmp_path: Path, in_yml: str, ending: str, mark: str
) -> None:
    folder = recognizer(tmp_path / "plates", 8, *in_yml)
    dictionary = tmp_path / "dict.txt"
    dictionary.write_bytes((mark + ending.join(PLATES) + ending).encode())
    for source in (folder, folder / "inference.onnx"):
        (made,) = pull.import_file(source, dictionary=dictionary)
        assert characters_of(made) == "ABC123 "


@pytest.mark.parametrize("text", ["A\nB\nC\n1\n2\n3", "A\r\nB\r\nC\r\n1\r\n2\r\n3\r\n", "\ufeffA\nB\nC\n1\n2\n3\n \n"])
def test_the_dictionary_in_a_file_of_another_project_is_read_in_the_same_way(tmp_path: Path, text: str) -> None:
    made = ctc(8)
    helper.set_model_props(made, {"character": text})
    onnx.save(made, tmp_path / "PP-OCRv4_mobile_rec.onnx")
    (file,) = pull.import_file(tmp_path / "PP-OCRv4_mobile_rec.onnx")
    assert characters_of(file) == "ABC123 "


@pytest.mark.parametrize("name", ["inference.onnx", "model.onnx"])
def test_a_folder_with_an_export_is_accepted_by_each_command(tmp_path: Path, name: str) -> None:
    folder = recognizer(tmp_path / "plates", 8, *PLATES, name=name)
    (imported,) = pull.import_file(folder)
    assert characters_of(imported) == characters_of(pull.from_directory(folder)) == "ABC123 "


def static_detector(folder: Path, size: int, *, by_graph: bool = False) -> Path:
    """A detector that declares one size of its input; `by_graph`: whose graph depends on it, too."""
    folder.mkdir()
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[1, 1]),
        *([helper.make_node("Add", ["c", "b"], ["d"])] if by_graph else []),
        helper.make_node("Sigmoid", ["d" if by_graph else "c"], ["y"]),
    ]
    constants: dict[str, object] = {"w": np.ones((1, 3, 1, 1))}
    if by_graph:
        constants["b"] = np.zeros((1, 1, size, size))
    made = model(nodes, constants, ("y", ["n", 1, size, size]))
    for side in made.graph.input[0].type.tensor_type.shape.dim[2:]:
        side.dim_value = size
    onnx.save(made, folder / "inference.onnx")
    yml = {**YML, "Global": {"model_name": "det"}, "PostProcess": {"name": "DBPostProcess"}}
    (folder / "inference.yml").write_text(yaml.safe_dump(yml), "utf-8")
    return folder


@pytest.mark.parametrize("size", [640, 960])
def test_a_detector_that_declares_one_size_is_freed_or_refused(
    tmp_path: Path, size: int, request: pytest.FixtureRequest
) -> None:
    folder = static_detector(tmp_path / "det", size)
    if "without" in request.node.name:
        with pytest.raises(ConversionError, match=f"only images of {size}x{size} pixels: .*pip install onnx onnxslim"):
            TextDetection(model_dir=str(folder))
    else:
        detect = TextDetection(model_dir=str(folder))
        for shape in ((130, 420, 3), (size, size, 3)):
            assert detect.predict(np.full(shape, 255, np.uint8))


def test_a_detector_whose_graph_has_one_size_is_refused_and_not_kept(tmp_path: Path) -> None:
    folder = static_detector(tmp_path / "det", 640, by_graph=True)
    for _ in range(2):
        with pytest.raises(ConversionError, match="export it with dynamic height and width"):
            TextDetection(model_dir=str(folder))
    assert not list((tmp_path / "home").rglob("*.onnx"))


def test_a_recognizer_that_declares_one_width_is_freed_or_refused(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = recognizer(tmp_path / "plates", 8, *PLATES)
    fixed = onnx.load(folder / "inference.onnx")
    for dimension, side in zip(fixed.graph.input[0].type.tensor_type.shape.dim, (1, 3, 48, 320), strict=True):
        dimension.dim_value = side
    for dimension, side in zip(fixed.graph.output[0].type.tensor_type.shape.dim, (1, 320, 8), strict=True):
        dimension.dim_value = side
    onnx.save(fixed, folder / "inference.onnx")
    if "without" in request.node.name:
        with pytest.raises(ConversionError, match="only images of 48x320 pixels"):
            TextRecognition(model_dir=str(folder))
    else:
        assert TextRecognition(model_dir=str(folder)).predict([PAGE, np.tile(PAGE, (1, 6, 1))])


def test_a_model_of_fixed_size_is_not_freed(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="only images of 9x9"):
        legacy.check_free_size(ModelMetadata("det", "text_detection", "BGR", 1.0, (0.0,), (1.0,)), [1, 3, 9, 9])
    legacy.check_free_size(LINE, [1, 3, 80, 160])


@pytest.mark.parametrize(
    ("name", "declared"),
    [
        ("PP-OCRv6_tiny_det", ("n", 3, 640, 640)),
        ("PP-OCRv6_tiny_det", (1, 3, "h", 960)),
        ("PP-OCRv6_tiny_det", (1, 1, "h", "w")),
        ("PP-OCRv6_tiny_rec", (1, 3, 48, 320)),
        ("PP-OCRv6_tiny_rec", ("n", 3, 32, "w")),
        ("PP-OCRv6_tiny_rec", (8, 3, 48, "w")),
    ],
)
def test_a_finished_model_whose_shape_was_fixed_is_refused_before_the_first_page(
    tmp_path: Path, name: str, declared: tuple[int | str, ...]
) -> None:
    fixed = with_shape(name, declared)
    onnx.save(fixed, tmp_path / "fixed.onnx")
    module = TextDetection if name.endswith("det") else TextRecognition
    with pytest.raises(ModelError, match=r"fixed\.onnx accepts only inputs of shape .* needs 1x3x"):
        module(model_dir=str(tmp_path / "fixed.onnx"))


@pytest.mark.parametrize(
    ("name", "declared"), [("PP-OCRv6_tiny_det", (1, 3, "h", "w")), ("PP-OCRv6_tiny_rec", (1, 3, 48, "w"))]
)
def test_a_finished_model_of_one_image_at_a_time_is_used(
    tmp_path: Path, name: str, declared: tuple[int | str, ...]
) -> None:
    onnx.save(with_shape(name, declared), tmp_path / "one.onnx")
    module = TextDetection if name.endswith("det") else TextRecognition
    assert len(module(model_dir=str(tmp_path / "one.onnx")).predict([PAGE, PAGE], batch_size=1)) == 2


def with_shape(name: str, declared: tuple[int | str, ...]) -> onnx.ModelProto:
    """An embedded model whose input declares a shape."""
    made = onnx.load(store.find(name))
    for dimension, size in zip(made.graph.input[0].type.tensor_type.shape.dim, declared, strict=True):
        dimension.Clear()
        if isinstance(size, int):
            dimension.dim_value = size
        else:
            dimension.dim_param = size
    made.graph.output[0].type.tensor_type.ClearField("shape")
    return made
