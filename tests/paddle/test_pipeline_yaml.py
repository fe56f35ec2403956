"""PaddleX's pipeline file: what it stands for, and what is said of files that are odd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import ocr_onnx
from ocr_onnx import Models, OCROptions, PaddleOCR
from ocr_onnx.errors import InputNotFoundError, ModelNotFoundError, OptionError, OutputError
from ocr_onnx.options import changed
from ocr_onnx.paddle import pipeline_yaml

OF_3_7 = """
pipeline_name: OCR
text_type: general
use_doc_preprocessor: True
use_textline_orientation: False
SubPipelines:
  DocPreprocessor:
    pipeline_name: doc_preprocessor
    use_doc_orientation_classify: True
    use_doc_unwarping: False
    SubModules:
      DocOrientationClassify: {module_name: doc_text_orientation, model_name: PP-LCNet_x1_0_doc_ori, model_dir: null}
      DocUnwarping: {module_name: image_unwarping, model_name: UVDoc, model_dir: null}
SubModules:
  TextDetection:
    module_name: text_detection
    model_name: PP-OCRv5_mobile_det
    model_dir: null
    limit_side_len: 736
    limit_type: max
    max_side_limit: 3000
    thresh: 0.2
    box_thresh: 0.5
    unclip_ratio: 1.7
  TextLineOrientation: {module_name: textline_orientation, model_name: PP-LCNet_x1_0_textline_ori, batch_size: 6}
  TextRecognition:
    module_name: text_recognition
    model_name: PP-OCRv5_mobile_rec
    model_dir: null
    batch_size: 8
    score_thresh: 0.1
Serving:
  visualize: false
"""

OF_3_0 = """
pipeline_name: OCR
text_type: general
use_doc_preprocessor: False
use_textline_orientation: True
SubModules:
  TextDetection: {module_name: text_detection, model_name: PP-OCRv5_mobile_det, model_dir: null}
  TextLineOrientation: {module_name: textline_orientation, model_name: PP-LCNet_x1_0_textline_ori, model_dir: null}
  TextRecognition: {module_name: text_recognition, model_name: PP-OCRv5_mobile_rec, model_dir: null}
"""


def test_the_default_tree_stands_for_paddleocrs_options() -> None:
    tree = pipeline_yaml.default()
    assert pipeline_yaml.options(tree) == OCROptions.paddleocr()
    names = {task: choice.name for task, choice in pipeline_yaml.choices(tree).items()}
    models = Models()
    assert names == {
        "text_detection": models.text_detection,
        "text_recognition": models.text_recognition,
        "doc_orientation": models.doc_orientation,
        "image_unwarping": models.doc_unwarping,
        "textline_orientation": models.textline_orientation,
    }


def test_a_file_is_read_to_options(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "OCR.yaml"
    file.write_text(OF_3_7)
    options = pipeline_yaml.options(pipeline_yaml.load(file))
    assert (options.detection.limit_side_len, options.detection.limit_type) == (736, "max")
    assert (options.detection.thresh, options.detection.box_thresh, options.detection.unclip_ratio) == (0.2, 0.5, 1.7)
    assert options.detection.max_side_limit == 3000
    assert (options.recognition.batch_size, options.recognition.score_thresh) == (8, 0.1)
    assert options.use_doc_orientation_classify
    assert not options.use_textline_orientation
    assert not caplog.records


def test_what_an_older_file_leaves_out_is_what_paddlex_takes_then() -> None:
    options = pipeline_yaml.options(pipeline_yaml.load(yaml.safe_load(OF_3_0)))
    assert (options.detection.limit_side_len, options.detection.limit_type) == (960, "max")
    assert options.detection.unclip_ratio == 2.0
    assert (options.recognition.batch_size, options.line_orientation.batch_size) == (1, 1)
    assert not options.use_doc_orientation_classify
    assert options.use_textline_orientation


def test_an_exported_file_makes_an_equal_pipeline(tmp_path: Path) -> None:
    file = tmp_path / "mine.yml"
    first = PaddleOCR(paddlex_config=yaml.safe_load(OF_3_7), text_det_thresh=0.35, use_textline_orientation=True)
    first.export_paddlex_config_to_yaml(file)
    second = PaddleOCR(paddlex_config=str(file))
    assert second.options == first.options
    assert second.options.detection.thresh == 0.35
    second.export_paddlex_config_to_yaml(tmp_path / "again.yml")
    assert (tmp_path / "again.yml").read_text() == file.read_text()


def test_numbers_of_numpys_and_paths_are_taken_and_exported(tmp_path: Path) -> None:
    first = PaddleOCR(
        use_doc_orientation_classify=np.False_,  # type: ignore[arg-type]
        use_textline_orientation=False,
        text_detection_model_dir=Path(ocr_onnx.__file__).parent / "models" / "weights" / "PP-OCRv5_mobile_det.onnx",
        text_det_thresh=np.float32(0.25),  # type: ignore[arg-type]
        text_det_box_thresh=np.float64(0.5),
        text_det_input_shape=np.array([3, 320, 320]),  # type: ignore[arg-type]
        text_rec_input_shape=(3, 48, np.int64(320)),  # type: ignore[arg-type]
        text_recognition_batch_size=np.int64(2),  # type: ignore[arg-type]
    )
    first.export_paddlex_config_to_yaml(tmp_path / "mine.yml")
    assert PaddleOCR(paddlex_config=tmp_path / "mine.yml").options == first.options
    assert (first.options.detection.thresh, first.options.recognition.batch_size) == (0.25, 2)


@pytest.mark.parametrize("name", ["use_doc_unwarping", "use_textline_orientation", "return_word_box"])
def test_a_switch_is_true_or_false_and_no_word(name: str) -> None:
    with pytest.raises(OptionError, match=f"{name} is 'False': it must be True or False"):
        changed(pipeline_yaml.options(pipeline_yaml.default()), {name: "False"})


@pytest.mark.parametrize("key", ["SubPipelines", "SubModules.TextLineOrientation"])
def test_what_a_file_leaves_empty_can_be_given(key: str) -> None:
    tree = yaml.safe_load(OF_3_7)
    *path, last = key.split(".")
    (tree[path[0]] if path else tree)[last] = None
    given = {"use_doc_unwarping": True, "textline_orientation_batch_size": 3}
    found = changed(pipeline_yaml.options(pipeline_yaml.load(tree)), given)
    assert (found.use_doc_unwarping, found.line_orientation.batch_size) == (True, 3)
    models = pipeline_yaml.default_choices()
    assert pipeline_yaml.options(pipeline_yaml.updated(tree, found, models)) == found


def test_a_models_folder_is_taken_where_the_file_lacks_the_stage() -> None:
    with pytest.raises(ModelNotFoundError, match="nowhere does not exist"):
        PaddleOCR(
            paddlex_config=yaml.safe_load(OF_3_0) | {"SubPipelines": None},
            use_doc_orientation_classify=True,
            doc_orientation_classify_model_dir="nowhere",
        )


def test_unknown_keys_are_named(caplog: pytest.LogCaptureFixture) -> None:
    tree = yaml.safe_load(OF_3_7)
    tree["SubModules"]["TextDetection"]["tresh"] = 0.1
    tree["use_magic"] = True
    pipeline_yaml.load(tree)
    assert "are ignored: SubModules.TextDetection.tresh, use_magic" in caplog.text


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"pipeline_name": "doc_preprocessor"}, "it must be 'OCR'"),
        ({"text_type": "seal"}, "it must be 'general'"),
        ({"SubModules": {}}, "lacks SubModules.TextDetection"),
        ({"SubPipelines": [1]}, "SubPipelines of the pipeline file is not a mapping"),
    ],
)
def test_a_file_for_something_else_is_refused(change: dict[str, object], match: str) -> None:
    with pytest.raises(OptionError, match=match):
        pipeline_yaml.load(yaml.safe_load(OF_3_7) | change)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="does not exist"):
        pipeline_yaml.load(tmp_path / "none.yml")
    for text in ("a: [", "just text"):
        (tmp_path / "bad.yml").write_text(text)
        with pytest.raises(OptionError, match="is not a pipeline file"):
            pipeline_yaml.load(tmp_path / "bad.yml")
    with pytest.raises(OutputError, match="cannot be written"):
        pipeline_yaml.save({}, tmp_path / "no" / "folder.yml")


def test_a_value_out_of_range_is_refused() -> None:
    tree = yaml.safe_load(OF_3_7)
    tree["SubModules"]["TextDetection"]["thresh"] = 7
    with pytest.raises(OptionError, match="text_det_thresh is 7"):
        pipeline_yaml.options(pipeline_yaml.load(tree))


def test_null_means_the_default_of_any_option() -> None:
    def with_nulls(node: dict[str, Any]) -> dict[str, Any]:
        return {
            key: with_nulls(value) if isinstance(value, dict) else value if isinstance(value, str) else None
            for key, value in node.items()
        }

    read = pipeline_yaml.options(pipeline_yaml.load(with_nulls(pipeline_yaml.default())))
    assert read.detection.limit_side_len == pipeline_yaml.PADDLEX_DEFAULTS.detection.limit_side_len
    assert read.recognition == pipeline_yaml.PADDLEX_DEFAULTS.recognition


@pytest.mark.parametrize("place", [(), ("SubModules", "TextDetection")])
@pytest.mark.parametrize(
    ("key", "value"), [("hpi_config", {"backend": "trt"}), ("engine_config", {"a": 1}), ("device", "gpu")]
)
def test_a_key_that_a_user_expects_to_act_is_a_warning(
    place: tuple[str, ...], key: str, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    if key == "device" and place:
        return
    config = pipeline_yaml.default()
    pipeline_yaml._set_value(config, (*place, key), value)
    pipeline_yaml.load(config)
    assert f"{'.'.join((*place, key))} of the pipeline file has no effect here" in caplog.text
    caplog.clear()
    pipeline_yaml._set_value(config, (*place, key), None)
    pipeline_yaml.load(config)
    assert not caplog.records


def test_a_mapping_in_the_place_of_a_number_is_an_error_that_names_the_option(tmp_path: Path) -> None:
    text = "SubModules:\n  TextDetection:\n    box_thresh:\n      unclip_ratio: 1.5\n  TextRecognition: {}\n"
    (tmp_path / "OCR.yaml").write_text(text, "utf-8")
    with pytest.raises(OptionError, match="box_thresh"):
        pipeline_yaml.options(pipeline_yaml.load(tmp_path / "OCR.yaml"))
