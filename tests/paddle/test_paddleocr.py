"""The drop-in class against the recorded outcome of PaddleOCR itself, and what is ours in it."""

from __future__ import annotations

import json
import operator
import os
import pickle
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import PAGES

from ocr_onnx import OCROptions, PaddleOCR
from ocr_onnx.errors import (
    DeviceUnavailableError,
    DownloadError,
    ModelError,
    ModelNotFoundError,
    OptionError,
    StageNotLoadedError,
)
from ocr_onnx.models import store
from ocr_onnx.paddle import paddleocr, parameters
from ocr_onnx.runtime.provider_specs import TENSORRT_PROVIDER
from ocr_onnx.runtime.providers import Device, Provider

SCRIPT, RECORDED = PAGES / "script.py", PAGES / "script.jsonl"
VERSIONS = ("PP-OCRv4", "PP-OCRv3")
"""Those whose models are not embedded."""
TOLERANCE = 1e-3

DIFFERS = {
    r"\.dt_scores$": "the documentation names it, and PaddleOCR 3.7 lacks it",
    r"\.vis_fonts$": "fonts are no part of a result",
    r"types\.doc_preprocessor_res$": "a dictionary here, a kind of dictionary there",
    r"\.textline_orientation_angles$": "an empty list on a page without boxes, where PaddleOCR lacks the key",
    r"dtypes\.rec_boxes$": "int16 on a page without boxes as well",
}
"""Where the outcome is another by decision, and what that is."""

OFF: dict[str, Any] = {"use_doc_orientation_classify": False, "use_textline_orientation": False}
MOBILE: dict[str, Any] = {**OFF, "ocr_version": "PP-OCRv5"}


def recorded() -> dict[str, Any]:
    return {line["name"]: line["outcome"] for line in map(json.loads, RECORDED.read_text("utf-8").splitlines())}


def play(folder: Path, *parts: str) -> dict[str, Any]:
    """What the script does under ocr_onnx: one line of it is changed."""
    source = SCRIPT.read_text("utf-8")
    assert source.count("from paddleocr import PaddleOCR") == 1
    script, outcome = folder / "script.py", folder / "outcome.jsonl"
    script.write_text(source.replace("from paddleocr import", "from ocr_onnx import"), "utf-8")
    environment = {**os.environ, "OCR_ONNX_HOME": str(folder / "home")}
    subprocess.run([sys.executable, str(script), str(PAGES), str(outcome), *parts], check=True, env=environment)
    return {line["name"]: line["outcome"] for line in map(json.loads, outcome.read_text("utf-8").splitlines())}


def differences(expected: Any, found: Any, place: str = "") -> Iterator[str]:
    """Where two outcomes differ, numbers that are no whole ones by more than TOLERANCE."""
    if any(re.search(pattern, place) for pattern in DIFFERS):
        return
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in sorted(expected.keys() | found.keys()):
            yield from differences(expected.get(key), found.get(key), f"{place}.{key}")
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from differences(one, other, f"{place}[{index}]")
    elif isinstance(expected, float) and isinstance(found, float | int):
        if abs(expected - found) > TOLERANCE:
            yield f"{place}: {expected} and {found}"
    elif expected != found:
        yield f"{place}: {expected!r} and {found!r}"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the script does with the embedded models."""
    return play(tmp_path_factory.mktemp("script"), "mobile")


@pytest.mark.parametrize("name", [name for name in recorded() if name not in VERSIONS])
def test_a_script_written_for_paddleocr_does_the_same(played: dict[str, Any], name: str) -> None:
    assert list(differences(recorded()[name], played[name])) == []


@pytest.mark.slow  # The models are fetched, and converted.
def test_a_script_with_models_of_older_versions_does_the_same(tmp_path: Path) -> None:
    played = play(tmp_path, *VERSIONS)
    assert sorted(played) == sorted(VERSIONS)
    assert [found for name in VERSIONS for found in differences(recorded()[name], played[name], name)] == []


def test_the_script_tries_many_options() -> None:
    assert len(recorded()) >= 40


def test_old_names_are_warned_of_once() -> None:
    parameters._warn_deprecated.cache_clear()
    with pytest.warns(DeprecationWarning, match="det_db_thresh is deprecated: use text_det_thresh") as warned:
        ocr = PaddleOCR(det_db_thresh=0.4, **OFF)
    assert [w.filename for w in warned] == [__file__]  # Python shows it where it is the caller's own script
    assert ocr.options.detection.thresh == 0.4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PaddleOCR(det_db_thresh=0.4, **OFF)


@pytest.mark.parametrize("old", parameters.DEPRECATED)
def test_an_old_name_beside_the_new_is_refused(old: str) -> None:
    new = parameters.DEPRECATED[old]
    parameters._warn_deprecated.cache_clear()
    with pytest.warns(DeprecationWarning, match=old), pytest.raises(OptionError, match=f"use {new} only"):
        PaddleOCR(**dict[str, Any]({old: 1, new: 1}))


def test_what_means_nothing_here_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    parameters._say_without_effect.cache_clear()
    for _ in range(2):
        PaddleOCR(use_tensorrt=True, min_subgraph_size=9, precision="fp32", enable_mkldnn=True, **OFF)
    assert sorted(record.getMessage() for record in caplog.records) == [
        "min_subgraph_size has no effect here: it applies to TensorRT, which is not used",
        "use_tensorrt has no effect here: TensorRT needs a GPU, and the device is cpu",
    ]


def test_tensorrt_is_chosen_on_a_gpu_with_its_options() -> None:
    given = {"use_tensorrt": True, "precision": "fp16", "min_subgraph_size": 5, "other": 1}
    tensorrt = Provider(TENSORRT_PROVIDER, {"device_id": "1", "trt_fp16_enable": "1", "trt_min_subgraph_size": "5"})
    assert parameters.take_tensorrt(given, "gpu:1") == (None, (tensorrt, *Device.parse("gpu:1").providers()))
    assert given == {"other": 1}
    assert parameters.take_tensorrt({"use_tensorrt": False, "precision": "fp32"}, "gpu") == ("gpu", ())
    with pytest.raises(OptionError, match="use_tensorrt and providers are both given"):
        parameters.take_tensorrt({"use_tensorrt": True}, "gpu", ["CUDAExecutionProvider"])
    with pytest.raises(OptionError, match="give one GPU"):
        parameters.take_tensorrt({"use_tensorrt": True}, "gpu:0,1")
    with pytest.raises(OptionError, match="min_subgraph_size"):
        parameters.take_tensorrt({"use_tensorrt": True, "min_subgraph_size": 0}, "gpu")


def test_tensorrt_that_is_not_installed_is_an_error() -> None:
    with pytest.raises(DeviceUnavailableError, match="TensorrtExecutionProvider"):
        PaddleOCR(use_tensorrt=True, device="gpu", **OFF)


def test_the_defaults_are_version_6_and_paddleocrs_options() -> None:
    ocr = PaddleOCR()
    names = {task: metadata.name for task, metadata in ocr.engine.metadata().items()}
    assert (names["text_detection"], names["text_recognition"]) == ("PP-OCRv6_small_det", "PP-OCRv6_small_rec")
    assert ocr.options == OCROptions.paddleocr()


def test_version_5_needs_no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCR_ONNX_OFFLINE", "1")
    ocr = PaddleOCR(**MOBILE)
    names = [ocr.engine.detect.metadata.name, ocr.engine.recognize.metadata.name]
    assert names == ["PP-OCRv5_mobile_det", "PP-OCRv5_mobile_rec"]


def test_a_model_of_another_name_is_refused() -> None:
    path = store.path_of("PP-OCRv5_mobile_det")
    with pytest.raises(
        ModelError, match="'PP-OCRv5_server_det', but the name of the loaded model is 'PP-OCRv5_mobile_det'"
    ):
        PaddleOCR(text_detection_model_name="PP-OCRv5_server_det", text_detection_model_dir=str(path), **OFF)


def test_a_models_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelNotFoundError, match=r"your_det_model_path does not exist: give a Paddle directory"):
        PaddleOCR(text_detection_model_dir="./your_det_model_path")


def test_a_result_names_its_input_as_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PAGES)
    (result,) = PaddleOCR(**OFF).predict("./tiny.png")
    assert result["input_path"] == "./tiny.png"


def test_a_model_that_is_not_here_and_must_not_be_fetched_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OCR_ONNX_HOME", str(tmp_path))
    monkeypatch.setenv("OCR_ONNX_OFFLINE", "1")
    with pytest.raises(DownloadError, match="UVDoc"):
        PaddleOCR(use_doc_unwarping=True)


def test_a_stage_that_is_off_cannot_be_switched_on_by_a_call() -> None:
    with PaddleOCR(**OFF) as ocr, pytest.raises(StageNotLoadedError, match="use_textline_orientation=True"):
        ocr.predict(str(PAGES / "tiny.png"), use_textline_orientation=True)


def test_enable_hpi_is_the_high_performance_mode_and_each_part_can_be_switched_back(tmp_path: Path) -> None:
    fast = PaddleOCR(enable_hpi=True, **OFF)
    expected = OCROptions.paddleocr().at_high_performance()
    assert (fast.options.detection, fast.options.recognition) == (expected.detection, expected.recognition)
    other = PaddleOCR(enable_hpi=True, text_rec_padding="batch", text_det_limit_side_len=640, **OFF).options
    assert (other.recognition.padding, other.detection.limit_side_len) == ("batch", 640)
    fast.export_paddlex_config_to_yaml(tmp_path / "OCR.yaml")
    again = PaddleOCR(paddlex_config=tmp_path / "OCR.yaml")
    assert again.options == fast.options
    assert PaddleOCR(paddlex_config=tmp_path / "OCR.yaml", enable_hpi=False).options.recognition.padding == "batch"
    assert PaddleOCR(enable_hpi=False, **OFF).options == PaddleOCR(**OFF).options


def test_zero_is_zero() -> None:
    ocr = PaddleOCR(text_det_box_thresh=0, **OFF)
    assert ocr.options.detection.box_thresh == 0
    assert ocr.predict(str(PAGES / "noisy.jpg"), text_det_thresh=0)[0]["text_det_params"]["thresh"] == 0


@pytest.mark.usefixtures("version_4")
def test_language_and_version_choose_the_models(caplog: pytest.LogCaptureFixture) -> None:
    ocr = PaddleOCR(ocr_version="PP-OCRv4", **OFF)
    assert ocr.engine.recognize.metadata.name == "PP-OCRv4_mobile_rec"
    ocr = PaddleOCR(ocr_version="PP-OCRv4", text_detection_model_name="PP-OCRv5_mobile_det", **OFF)
    assert ocr.engine.recognize.metadata.name == "PP-OCRv6_small_rec"
    assert "ignored because text models are given" in caplog.text


def test_boxes_too_far_out_for_int16_are_int32() -> None:
    assert paddleocr._as_int16(np.array([[40_000, 0]], np.int32)).dtype == np.int32
    assert paddleocr._as_int16(np.array([[32_767, 0]], np.int32)).dtype == np.int16


def test_a_result_prints_json_under_either_name(capsys: pytest.CaptureFixture[str]) -> None:
    (result,) = PaddleOCR(**OFF).predict(str(PAGES / "tiny.png"))
    result.print()
    first = capsys.readouterr().out
    result.print(json_format=True)
    assert json.loads(first) == json.loads(capsys.readouterr().out) == result.json


def test_the_page_as_it_was_read_is_in_the_result_and_not_in_its_json() -> None:
    turned = PaddleOCR(use_doc_orientation_classify=True, use_textline_orientation=False)
    (result,) = turned.predict(str(PAGES / "turned-90.png"))
    found = result["doc_preprocessor_res"]
    assert found["input_img"].shape == found["output_img"].shape[1::-1] + (3,)
    assert "output_img" not in result.json["res"]["doc_preprocessor_res"]
    (result,) = PaddleOCR(**OFF).predict(str(PAGES / "tiny.png"))
    assert result["doc_preprocessor_res"]["output_img"].ndim == 3
    assert "doc_preprocessor_res" not in result.json["res"]


def test_a_result_can_be_pickled_and_still_draws_and_saves(tmp_path: Path) -> None:
    (result,) = PaddleOCR(**OFF).predict(PAGES / "sign.png")
    again = pickle.loads(pickle.dumps(result))  # noqa: S301
    assert again.json == result.json
    assert again["rec_boxes"].tolist() == result["rec_boxes"].tolist()
    assert again.img["ocr_res_img"].tobytes() == result.img["ocr_res_img"].tobytes()
    again.save_all(tmp_path)
    assert (tmp_path / "sign_res.json").is_file()


def test_reading_page_by_page_can_be_ended() -> None:
    taken = []

    def pages() -> Iterator[Path]:
        for name in ("tiny.png", "sign.png", "letter.png", "dense.png"):
            taken.append(name)
            yield PAGES / name

    with closing(PaddleOCR(**OFF).predict_iter(pages())) as results:
        assert next(results)["input_path"].endswith("tiny.png")
    assert len(taken) < 4
    assert list(results) == []


def test_ocr_is_another_name_of_predict() -> None:
    ocr = PaddleOCR(**MOBILE)
    with pytest.warns(DeprecationWarning, match=r"call predict\(\)"):
        (result,) = ocr.ocr(str(PAGES / "tiny.png"))
    assert result["rec_texts"] == ["Evit"]


def test_a_folder_with_an_export_is_described_by_its_inference_yml_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OCR_ONNX_HOME", str(tmp_path / "home"))
    folder = tmp_path / "mine"
    folder.mkdir()
    model = onnx.load(store.path_of("PP-OCRv5_mobile_det"))
    del model.metadata_props[:]
    onnx.save(model, folder / "inference.onnx")
    (folder / "inference.yml").write_text(
        "Global: {model_name: PP-OCRv5_mobile_det}\n"
        "PreProcess: {transform_ops: [{DecodeImage: {img_mode: BGR}}, {DetResizeForTest: null}]}\n"
        "PostProcess: {name: DBPostProcess, thresh: 0.25, box_thresh: 0.55, unclip_ratio: 1.7, max_candidates: 3}\n"
    )
    ocr = PaddleOCR(text_detection_model_dir=str(folder), text_det_box_thresh=0.5, **OFF)
    detection = ocr.options.detection
    assert (detection.thresh, detection.box_thresh, detection.unclip_ratio) == (0.25, 0.5, 1.7)
    assert len(ocr.predict(str(PAGES / "letter.png"))[0]["rec_texts"]) <= 3
    PaddleOCR(text_detection_model_dir=str(folder), **OFF)
    assert len(list((tmp_path / "home" / "converted").glob("*.onnx"))) == 1


def test_an_export_that_nothing_describes_is_refused_with_the_cure(tmp_path: Path) -> None:
    model = onnx.load(store.path_of("PP-OCRv5_mobile_det"))
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "inference.onnx")
    with pytest.raises(ModelError, match=r"put its inference\.yml beside it, or give its model_name"):
        PaddleOCR(text_detection_model_dir=tmp_path, **OFF)


def test_a_file_that_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").touch()
    with pytest.raises(ModelError, match=r"neither a directory nor an \.onnx file"):
        PaddleOCR(text_detection_model_dir=tmp_path / "weights.bin", **OFF)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="nowhere does not exist"):
        PaddleOCR(text_recognition_model_dir=str(tmp_path / "nowhere"), **OFF)


def test_what_is_changed_in_a_result_is_what_is_written(tmp_path: Path) -> None:
    (result,) = PaddleOCR(**MOBILE).predict(str(PAGES / "tiny.png"))
    result["rec_texts"][0] = "EXIT"
    result.save_to_json(tmp_path)
    assert json.loads((tmp_path / "tiny_res.json").read_text("utf-8"))["rec_texts"] == ["EXIT"]
    assert result.json["res"]["rec_texts"] == ["EXIT"]


def test_the_scores_for_rotations_are_parameters() -> None:
    ocr = PaddleOCR(textline_orientation_score_thresh=0.9, doc_orientation_classify_score_thresh=0.7)
    assert ocr.options.line_orientation.score_thresh == 0.9
    assert ocr.options.page_orientation.score_thresh == 0.7


def test_transparency_is_ignored_as_in_paddleocr() -> None:
    assert PaddleOCR().options.input.transparency == "ignore"


@pytest.mark.parametrize(
    ("given", "place", "expected"),
    [
        ({"drop_score": 0.5}, "recognition.score_thresh", 0.5),
        ({"use_dilation": True}, "detection.use_dilation", True),
        ({"det_db_score_mode": "slow"}, "detection.score_mode", "slow"),
        ({"det_box_type": "poly"}, "detection.box_type", "poly"),
        ({"max_batch_size": 8}, "recognition.batch_size", 8),
    ],
)
def test_names_of_paddleocr_2_are_obeyed_with_a_warning(given: dict[str, Any], place: str, expected: object) -> None:
    parameters._warn_deprecated.cache_clear()
    with pytest.warns(DeprecationWarning, match=next(iter(given))):
        options = PaddleOCR(**given, **OFF).options
    assert operator.attrgetter(place)(options) == expected


def test_parameters_of_paddleocr_2_that_decide_nothing_are_ignored() -> None:
    ocr = PaddleOCR(show_log=False, use_space_char=True, gpu_mem=500, **OFF)
    assert ocr.options == PaddleOCR(**OFF).options


def test_use_gpu_chooses_the_device() -> None:
    parameters._warn_deprecated.cache_clear()
    with pytest.warns(DeprecationWarning, match="use device='gpu'"):
        assert parameters.take_use_gpu({"use_gpu": True}, None) == "gpu"
    assert parameters.take_use_gpu({"use_gpu": True}, "gpu:1") == "gpu:1"
    assert parameters.take_use_gpu({"use_gpu": False}, None) is None


@pytest.mark.parametrize("name", parameters.REPLACED)
def test_other_parameters_of_paddleocr_2_are_answered_with_what_takes_their_place(name: str) -> None:
    with pytest.raises(OptionError, match=f"{name} is a parameter of PaddleOCR 2: "):
        PaddleOCR(**dict[str, Any]({name: "x"}), **OFF)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_parameters_of_ocr_of_paddleocr_2_are_obeyed_or_refused() -> None:
    ocr = PaddleOCR(**OFF)
    page = str(PAGES / "tiny.png")
    assert ocr.ocr(page, cls=True, det=True, rec=True)[0]["rec_texts"] == ocr.predict(page)[0]["rec_texts"]
    for given, said in (({"det": False}, "TextRecognition"), ({"rec": False}, "TextDetection"), ({"bin": 1}, "bin")):
        with pytest.raises(OptionError, match=said):
            ocr.ocr(page, **given)


def test_the_result_of_a_blank_page_has_the_usual_shapes() -> None:
    (result,) = PaddleOCR(**OFF).predict(np.full((60, 80, 3), 255, np.uint8))
    assert result["rec_boxes"].shape == (0, 4)
    assert result["doc_preprocessor_res"]["angle"] == -1


def test_a_result_is_printed_with_its_arrays(capsys: pytest.CaptureFixture[str]) -> None:
    (result,) = PaddleOCR(**OFF).predict(str(PAGES / "tiny.png"))
    result.print(format_json=False)
    printed = capsys.readouterr().out
    assert "'rec_boxes': array([[" in printed
    assert "input_img" not in printed


@pytest.mark.parametrize(
    ("given", "side", "limit_type"),
    [
        ({}, 1280, "max"),
        ({"text_det_limit_side_len": 64}, 64, "min"),
        ({"text_det_limit_side_len": 736}, 736, "min"),
        ({"text_det_limit_side_len": 960, "text_det_limit_type": "max"}, 960, "max"),
    ],
)
def test_a_side_in_high_performance_mode_has_the_usual_meaning(
    given: dict[str, Any], side: int, limit_type: str
) -> None:
    detection = PaddleOCR(enable_hpi=True, **given, **OFF).options.detection
    assert (detection.limit_side_len, detection.limit_type) == (side, limit_type)
