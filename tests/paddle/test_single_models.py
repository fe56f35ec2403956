"""Single models as PaddleOCR's classes give them, compared with what those gave."""

from __future__ import annotations

import json
import logging
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import PIL.Image
import pytest
from conftest import PAGES, UNWARPING
from numpy.typing import NDArray

import ocr_onnx
from ocr_onnx import TextDetection, TextImageUnwarping, TextLineOrientationClassification, TextRecognition
from ocr_onnx.errors import DeviceUnavailableError, ModelError, ModelNotFoundError, OptionError
from ocr_onnx.models.metadata import stamped
from ocr_onnx.paddle import parameters as parameters_module
from ocr_onnx.runtime.batching import CPU_SHAPES
from ocr_onnx.runtime.providers import Placement
from ocr_onnx.stages import loading
from ocr_onnx.types import Tensor

RECORDED_MODELS = {"TextDetection": "PP-OCRv5_mobile_det", "TextRecognition": "PP-OCRv5_mobile_rec"}
"""The models that PaddleOCR was given by their folders."""

RECORDED = [json.loads(line) for line in (PAGES / "modules.jsonl").read_text("utf-8").splitlines()]

SIGN = PAGES / "sign.png"


def load(source: dict[str, Any]) -> str | NDArray[np.uint8]:
    path = str(PAGES / source["image"])
    if "cut" not in source:
        return path
    left, top, right, bottom = source["cut"]
    return np.asarray(cv2.imread(path), np.uint8)[top:bottom, left:right]


def expected(result: dict[str, Any], number: int, batch_size: int) -> dict[str, Any]:
    """PaddleX gives every result of a batch the class ids of the whole batch; ours have their own."""
    if "class_ids" in result:
        return result | {"class_ids": [result["class_ids"][number % batch_size]]}
    return result


@pytest.mark.parametrize("recorded", RECORDED, ids=[f"{r['module']}{r['init']}{r['predict']}" for r in RECORDED])
def test_a_module_gives_what_paddleocrs_gives(recorded: dict[str, Any], tmp_path: Path) -> None:
    model_name = RECORDED_MODELS.get(recorded["module"])
    model = getattr(ocr_onnx, recorded["module"])(**{"model_name": model_name} | recorded["init"])
    results = model.predict([load(source) for source in recorded["inputs"]], **recorded["predict"])
    assert len(results) == len(recorded["results"])
    for number, (result, theirs) in enumerate(zip(results, recorded["results"], strict=True)):
        found = dict(result.json["res"])
        wanted = expected(theirs, number, recorded["predict"].get("batch_size", 1))
        assert list(found) == list(wanted)
        if found["input_path"] is not None:
            found["input_path"] = Path(found["input_path"]).name
        for key, value in wanted.items():
            close = pytest.approx(value, abs=1e-3) if "score" in key else value
            assert found[key] == close, key
    types = {key: name for key, name in recorded["types"].items() if key != "vis_font"}
    assert {key: type(value).__name__ for key, value in results[0].items()} == types
    if "files" in recorded:
        assert {key: type(value).__name__ for key, value in results[0].img.items()} == recorded["pictures"]
        results[0].save_all(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == recorded["files"]


def test_pictures_are_captioned_with_what_was_read(tmp_path: Path) -> None:
    crop = load({"image": "sign.png", "cut": [74, 168, 340, 245]})
    (result,) = TextRecognition().predict(crop)
    picture = result.img["res"]
    assert isinstance(picture, PIL.Image.Image)
    assert (np.asarray(picture)[80:].max(axis=2) < 100).any()
    result.save_to_img(tmp_path / "line.png")
    assert (tmp_path / "line.png").exists()


def test_boxes_are_drawn_on_a_copy() -> None:
    (result,) = TextDetection().predict(SIGN)
    drawn = result.img["res"]
    assert (drawn == [255, 0, 0]).all(axis=2).any()
    np.testing.assert_array_equal(result["input_img"], cv2.imread(str(SIGN)))


def test_results_can_be_pickled() -> None:
    for model in (TextDetection(), TextLineOrientationClassification()):
        (result,) = model.predict(SIGN)
        again = pickle.loads(pickle.dumps(result))  # noqa: S301
        assert again.json == result.json
        np.testing.assert_array_equal(np.asarray(again.img["res"]), np.asarray(result.img["res"]))


def test_printing_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    (result,) = TextDetection().predict(SIGN)
    result.print()
    assert json.loads(capsys.readouterr().out) == result.json
    result.print(format_json=False)
    printed = capsys.readouterr().out
    assert "'dt_polys': array([[[" in printed
    assert "input_img" not in printed


def test_pages_are_read_one_batch_at_a_time() -> None:
    def sources() -> Any:
        yield SIGN
        yield SIGN
        pytest.fail("read ahead of the batch")

    results = TextDetection().predict_iter(sources(), batch_size=2)
    assert next(results)["dt_polys"].shape == (3, 4, 2)


@pytest.mark.parametrize(
    ("made_with", "error", "message"),
    [
        ({"model_nam": "x"}, OptionError, "Unknown argument: model_nam"),
        ({"thresh": 7}, OptionError, "thresh"),
        ({"cpu_threads": 0}, OptionError, "cpu_threads"),
        ({"precision": "int8"}, OptionError, "precision"),
        ({"device": "npu"}, OptionError, "device"),
        ({"device": "cpu", "providers": ["CPUExecutionProvider"]}, OptionError, "device and providers are both given"),
        ({"providers": ["NoSuchExecutionProvider"]}, DeviceUnavailableError, "NoSuchExecutionProvider"),
        ({"model_dir": "none.onnx"}, ModelNotFoundError, "none.onnx"),
        ({"model_name": "PP-OCRv5_mobile_rec"}, ModelError, "not for text_detection"),
    ],
)
def test_what_cannot_be_made_is_said(made_with: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        TextDetection(**made_with)


def test_a_model_under_another_name_is_refused() -> None:
    file = Path(ocr_onnx.__file__).parent / "models" / "weights" / "PP-OCRv5_mobile_det.onnx"
    assert TextDetection(model_dir=file).metadata.name == "PP-OCRv5_mobile_det"
    with pytest.raises(ModelError, match="contains PP-OCRv5_mobile_det"):
        TextDetection(model_name="PP-OCRv4_mobile_det", model_dir=file)


def test_text_is_detected_and_recognized_with_pp_ocrv6_as_in_paddleocr() -> None:
    names = [model.metadata.name for model in (TextDetection(), TextRecognition())]
    assert names == ["PP-OCRv6_small_det", "PP-OCRv6_small_rec"]


def test_a_model_runs_on_providers_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    named = [("CPUExecutionProvider", {"arena_extend_strategy": "kSameAsRequested"})]
    (provider,) = _made_with(monkeypatch, providers=named).providers
    assert provider.options["arena_extend_strategy"] == "kSameAsRequested"
    assert _made_with(monkeypatch).reason == "the default"


def _made_with(monkeypatch: pytest.MonkeyPatch, **parameters: Any) -> Placement:
    """Where TextDetection has its model run."""
    seen: list[Placement] = []
    load = loading.load

    def note(name: Any, task: Any, placement: Placement, threads: int) -> Any:
        seen.append(placement)
        return load(name, task, placement, threads)

    monkeypatch.setattr(loading, "load", note)
    assert len(TextDetection(**parameters).predict(SIGN)) == 1
    return seen[0]


def test_detection_pads_pages_to_the_shapes_of_its_device_as_the_pipeline_does() -> None:
    detection, seen = TextDetection(limit_side_len=320), list[tuple[int, ...]]()
    run = detection.run

    def record(tensor: Tensor) -> tuple[NDArray[Any], ...]:
        seen.append(tensor.shape)
        return run(tensor)

    detection.run, detection.shapes = record, replace(CPU_SHAPES, sides=(416,))
    detection.predict(PAGES / "sign.png")
    assert seen == [(1, 3, 416, 416)]


def test_a_call_takes_the_stages_parameters_alone() -> None:
    with pytest.raises(OptionError, match="Unknown argument: topk"):
        TextDetection().predict(SIGN, topk=2)
    with pytest.raises(OptionError, match="Unknown argument: thresh"):
        TextLineOrientationClassification().predict(SIGN, thresh=0.5)
    with pytest.raises(OptionError, match="batch_size"):
        TextRecognition().predict(SIGN, batch_size=0)


def test_parameters_without_effect_are_named(caplog: pytest.LogCaptureFixture) -> None:
    parameters_module._say_without_effect.cache_clear()
    TextDetection(enable_mkldnn=True, enable_hpi=None, precision="fp32")
    assert not caplog.text
    with caplog.at_level(logging.WARNING):
        TextDetection(enable_mkldnn=False, use_tensorrt=True)
    assert "use_tensorrt has no effect here" in caplog.text
    assert "enable_mkldnn has no effect here" in caplog.text


def test_numbers_of_numpys_are_taken() -> None:
    detection = TextDetection(thresh=np.float32(0.25), cpu_threads=np.int64(1))  # type: ignore[arg-type]
    assert (detection.options.thresh, detection.options.box_thresh) == (0.25, TextDetection().options.box_thresh)
    (found,) = detection.predict(SIGN, batch_size=np.int64(2), box_thresh=np.float32(0.5))  # type: ignore[arg-type]
    assert len(found["dt_polys"]) == 3


def test_a_call_changes_nothing_for_the_next() -> None:
    model = TextDetection()
    before = model.predict(SIGN)[0].json
    assert model.predict(SIGN, unclip_ratio=3.0)[0].json != before
    assert model.predict(SIGN)[0].json == before


def test_a_page_is_unwarped_by_its_graph(tmp_path: Path) -> None:
    shape = ["n", 3, "h", "w"]
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "flat", value[:1], value[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "UVDoc.onnx").write_bytes(stamped(model.SerializeToString(), UNWARPING))
    (result,) = TextImageUnwarping(model_dir=tmp_path / "UVDoc.onnx").predict(SIGN)
    assert list(result) == ["input_path", "page_index", "input_img", "doctr_img"]
    flat, page = result["doctr_img"].astype(int), result["input_img"].astype(int)
    assert np.abs(flat - page[:, :, ::-1]).max() <= 1
    np.testing.assert_array_equal(result.img["res"], result["doctr_img"])


def test_a_folder_with_an_onnx_export_is_a_model(tmp_path: Path) -> None:
    embedded = Path(ocr_onnx.__file__).parent / "models" / "weights" / "PP-OCRv5_mobile_det.onnx"
    (tmp_path / "inference.onnx").write_bytes(embedded.read_bytes())
    found = TextDetection(model_dir=tmp_path).predict(SIGN)[0].json
    assert found == TextDetection(model_name="PP-OCRv5_mobile_det").predict(SIGN)[0].json
