"""The protocols of other OCR services, each with the request that its client sends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import PIL.Image
import pytest
from conftest import PAGES, pdf
from served import SIGN, Running, base64_of, read, running

from ocr_onnx import OCROptions, OCRResult, Page
from ocr_onnx.service.dialects import MODEL_METADATA
from ocr_onnx.service.engine import Check

PAGE_NUMBERS = ["page 0", "page 1"]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running() as server:
        yield server


def inference(image: np.ndarray[Any, Any], **changed: Any) -> tuple[bytes, dict[str, str]]:
    """The body and headers of docling's KserveV2HttpClient with binary tensors."""
    language = (7).to_bytes(4, "little") + b"english"
    pixels = np.ascontiguousarray(image).tobytes()
    tensors = [
        {"name": "lang_type", "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": len(language)}},
        {
            "name": "image",
            "shape": list(image.shape),
            "datatype": "UINT8",
            "parameters": {"binary_data_size": len(pixels)},
        }
        | changed,
    ]
    outputs = [{"name": name, "parameters": {"binary_data": True}} for name in ("boxes", "txts", "scores")]
    header = json.dumps({"inputs": tensors, "outputs": outputs}, separators=(",", ":")).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(header))}
    return header + language + pixels, headers


def rgb(name: str) -> np.ndarray[Any, Any]:
    with PIL.Image.open(PAGES / name) as image:
        return np.asarray(image.convert("RGB"))[np.newaxis]


def infer(server: Running, body: bytes, headers: dict[str, str]) -> httpx.Response:
    return server.send("POST", "/v2/models/ocr/infer", content=body, headers=headers)


def test_kserves_protocol_returns_boxes_texts_and_scores(server: Running) -> None:
    content = infer(server, *inference(rgb("sign.png"))).json()
    tensors = {each["name"]: each for each in content["outputs"]}
    assert [(name, each["datatype"], each["shape"]) for name, each in tensors.items()] == [
        ("boxes", "FP32", [1, 4, 2]),
        ("txts", "BYTES", [1]),
        ("scores", "FP32", [1]),
    ]
    assert tensors["boxes"]["data"] == [1, 2, 9, 2, 9, 6, 1, 6]
    assert (tensors["txts"]["data"], tensors["scores"]["data"]) == (["page None"], [0.8])


def test_the_pixels_of_kserves_protocol_are_read_as_they_are() -> None:
    seen = []

    def keep(page: Page, options: OCROptions, check: Check) -> OCRResult:
        seen.append(page.image)
        return read(page, options, check)

    with running(keep) as server:
        infer(server, *inference(rgb("sign.png")))
    assert np.array_equal(seen[0][:, :, ::-1], rgb("sign.png")[0])


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "picture"},
        {"datatype": "FP32"},
        {"shape": [1, 2, 2, 3]},
        {"shape": [2, 50, 76, 3]},
        {"shape": [1, -100, -152, 3]},
        {"shape": []},
        {"parameters": {}},
    ],
)
def test_an_invalid_tensor_is_refused(server: Running, changed: dict[str, Any]) -> None:
    answer = infer(server, *inference(rgb("sign.png"), **changed))
    assert answer.status_code == 422
    assert "UINT8" in answer.json()["errorMsg"]


@pytest.mark.parametrize("length", ["", "x", "999999999", "-1", "10"])
def test_a_wrong_length_of_the_header_is_refused(server: Running, length: str) -> None:
    body, headers = inference(rgb("sign.png"))
    answer = infer(server, body, headers | {"Inference-Header-Content-Length": length})
    assert answer.status_code == 422


def test_kserves_protocol_reports_health_and_the_model(server: Running) -> None:
    paths = ("/v2/health/live", "/v2/health/ready", "/v2/models/ocr/ready")
    assert [server.get(path).status_code for path in paths] == [200] * 3
    assert server.get("/v2/models/ocr").json() == MODEL_METADATA


def test_open_webui_gets_the_text_of_each_page(server: Running) -> None:
    headers = {"Content-Type": "application/pdf", "X-Filename": "report.pdf", "Authorization": "Bearer none"}
    answer = server.send("PUT", "/process", content=pdf((50, 60), (40, 30)), headers=headers)
    assert answer.json() == [
        {"page_content": text, "metadata": {"page": number, "pages": 2}} for number, text in enumerate(PAGE_NUMBERS, 1)
    ]
    assert server.send("PUT", "/process", content=b"").status_code == 422


def test_liteparse_gets_upright_boxes(server: Running) -> None:
    answer = server.send("POST", "/liteparse/ocr", files={"file": ("page.png", SIGN)}, data={"language": "en"})
    assert answer.json() == {"results": [{"text": "page None", "bbox": [1, 2, 9, 6], "confidence": 0.8}]}


def test_clients_of_nvidia_get_boxes_relative_to_each_image(server: Running) -> None:
    image = {"type": "image_url", "url": f"data:image/png;base64,{base64_of(SIGN)}"}
    content = server.send("POST", "/v1/infer", json={"input": [image, image], "merge_levels": ["sentence"]}).json()
    _, height, width, _ = rgb("sign.png").shape
    assert len(content["data"]) == 2
    (found,) = content["data"][1]["text_detections"]
    assert found["text_prediction"] == {"text": "page None", "confidence": 0.8}
    assert found["bounding_box"]["points"][0] == {"x": 1 / width, "y": 2 / height}
    assert server.send("POST", "/v1/infer", json={"input": []}).status_code == 422
    address = [{"type": "image_url", "url": "http://example.com/page.png"}]
    assert "data URL" in server.send("POST", "/v1/infer", json={"input": address}).json()["errorMsg"]


def test_paperless_paddleocr_sends_what_paddlex_takes(server: Running) -> None:
    content = {"file": base64_of(SIGN), "fileType": 1, "visualize": False}
    (page,) = server.send("POST", "/ocr", json=content).json()["result"]["ocrResults"]
    assert page["prunedResult"]["rec_texts"] == ["page None"]
    assert {"rec_boxes", "rec_polys", "rec_scores"} <= page["prunedResult"].keys()


def test_other_protocols_require_a_key_too(tmp_path: Any) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-this-test-0123456789abcdef\n")
    with running(api_key_file=keys) as server:
        assert server.send("PUT", "/process", content=SIGN).status_code == 401
        assert infer(server, *inference(rgb("sign.png"))).status_code == 401
        key = {"Authorization": "Bearer a-key-of-this-test-0123456789abcdef"}
        assert server.send("PUT", "/process", content=SIGN, headers=key).status_code == 200
