"""Protocols of other OCR services, so that their clients can use this one: a table of routes, each with its request and its reply."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from starlette.datastructures import Headers

from ocr_onnx.inputs.urls import is_url
from ocr_onnx.outputs.formats import Writer
from ocr_onnx.outputs.placed import on_source
from ocr_onnx.outputs.plain import page_text
from ocr_onnx.service import bodies
from ocr_onnx.service.request_errors import RequestError
from ocr_onnx.types import RecognizedPage

HEADER_LENGTH = "inference-header-content-length"
"""KServe's header with the length of the JSON at the beginning of a binary body."""

MAX_HEADER = 2**16
"""Bytes of that JSON. docling sends 300."""

MODEL = "ocr"
"""The name of the model in the paths of KServe's protocol, as docling expects by default."""

NO_TENSOR = (
    "the body must be the JSON of an inference request with its tensors in binary form, and one of them image: UINT8 pixels in RGB of the shape "
    "[1, height, width, 3]; in docling, keep use_binary_data"
)

MODEL_METADATA: dict[str, Any] = {
    "name": MODEL,
    "versions": ["1"],
    "platform": "ocr-onnx",
    "inputs": [
        {"name": "lang_type", "datatype": "BYTES", "shape": [-1, 1]},
        {"name": "image", "datatype": "UINT8", "shape": [1, -1, -1, 3]},
    ],
    "outputs": [
        {"name": "boxes", "datatype": "FP32", "shape": [-1, 4, 2]},
        {"name": "txts", "datatype": "BYTES", "shape": [-1]},
        {"name": "scores", "datatype": "FP32", "shape": [-1]},
    ],
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """The protocol of one service."""

    method: str
    path: str
    files: Callable[[Headers, bytearray], Awaitable[list[bytes]]]
    """Takes the files out of a request. Raises RequestError."""
    reply: Callable[[Sequence[Sequence[dict[str, Any]]]], Any]
    """Makes the JSON of a reply from the pages of each file, which `PAGE` describes."""


def _page(result: RecognizedPage, _: int) -> str:
    height, width = result.source.image.shape[:2]
    lines = [
        {"text": line.text, "score": line.score, "quad": on_source(result, line.box.quad).tolist()}
        for line in result.lines
    ]
    return json.dumps({"text": page_text(result), "width": width, "height": height, "lines": lines})


PAGE = Writer("page", "the text and the lines of a page in pixels of the input", ".json", "application/json", _page)


class Tensor(BaseModel):
    """An input of KServe's protocol."""

    name: str
    shape: list[int] = Field(max_length=4)
    datatype: str
    parameters: dict[str, Any] = {}

    @property
    def size(self) -> int:
        """Its bytes in the body."""
        size = self.parameters.get("binary_data_size")
        return size if isinstance(size, int) and size >= 0 else 0


class InferenceRequest(BaseModel):
    """The JSON of a request of KServe's protocol."""

    inputs: list[Tensor] = Field(max_length=8)


class ImageURL(BaseModel):
    """An image of NVIDIA's protocol."""

    url: str


class NVIDIARequest(BaseModel):
    """A request of NVIDIA's protocol."""

    input: list[ImageURL] = Field(min_length=1, max_length=32)


async def _tensor(headers: Headers, body: bytearray) -> list[bytes]:
    """The pixels of KServe's protocol as a file (PPM)."""
    text = headers.get(HEADER_LENGTH, "")
    length = int(text) if text.isdecimal() and len(text) < 9 else MAX_HEADER + 1
    header = bytes(body[:length]) if length <= min(MAX_HEADER, len(body)) else b""
    try:
        inputs = InferenceRequest.model_validate_json(header).inputs
    except ValidationError:
        raise RequestError(422, NO_TENSOR) from None
    for tensor in inputs:
        content = body[length : length + tensor.size]
        if tensor.name == "image" and tensor.datatype == "UINT8":
            count, height, width, channels = (*tensor.shape, 0, 0, 0, 0)[:4]
            if (count, channels) == (1, 3) and min(height, width) > 0 and math.prod(tensor.shape) == len(content):
                return [b"P6\n%d %d\n255\n" % (width, height) + content]
        length += tensor.size
    raise RequestError(422, NO_TENSOR)


def _tensors(files: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    lines = [line for pages in files for page in pages for line in page["lines"]]
    numbers = [float(number) for line in lines for point in line["quad"] for number in point]
    data = {
        "boxes": ("FP32", [len(lines), 4, 2], numbers),
        "txts": ("BYTES", [len(lines)], [line["text"] for line in lines]),
        "scores": ("FP32", [len(lines)], [line["score"] for line in lines]),
    }
    outputs = [
        {"name": name, "datatype": kind, "shape": shape, "data": values} for name, (kind, shape, values) in data.items()
    ]
    return {"model_name": MODEL, "model_version": "1", "outputs": outputs}


async def _whole_body(_: Headers, body: bytearray) -> list[bytes]:
    if not body:
        raise RequestError(422, "the body is empty: send the file as the body")
    return [bytes(body)]


def _documents(files: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [
        {"page_content": page["text"], "metadata": {"page": number, "pages": len(pages)}}
        for pages in files
        for number, page in enumerate(pages, 1)
    ]


async def _upload(headers: Headers, body: bytearray) -> list[bytes]:
    parsed = await bodies.parse_body(headers, body)
    if parsed.url is not None:
        raise RequestError(422, "file must be an upload")
    return [parsed.data]


def _results(files: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    return {
        "results": [
            {"text": line["text"], "bbox": _upright(line["quad"]), "confidence": line["score"]}
            for pages in files
            for page in pages
            for line in page["lines"]
        ]
    }


def _upright(quad: list[list[int]]) -> list[int]:
    columns, rows = zip(*quad, strict=True)
    return [min(columns), min(rows), max(columns), max(rows)]


async def _data_urls(_: Headers, body: bytearray) -> list[bytes]:
    bodies.check_json(body)
    try:
        images = NVIDIARequest.model_validate_json(bytes(body)).input
    except ValidationError:
        raise RequestError(
            422, 'the body must be {"input": [{"type": "image_url", "url": "data:image/png;base64,..."}]}'
        ) from None
    if any(is_url(image.url) for image in images):
        raise RequestError(422, "url is an address: send the image as a data URL")
    return [bodies.decode(image.url) for image in images]


def _detections(files: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    return {
        "data": [
            {"text_detections": [_detection(line, page) for page in pages for line in page["lines"]]} for pages in files
        ]
    }


def _detection(line: dict[str, Any], page: dict[str, Any]) -> dict[str, Any]:
    points = [{"x": x / page["width"], "y": y / page["height"]} for x, y in line["quad"]]
    return {
        "text_prediction": {"text": line["text"], "confidence": line["score"]},
        "bounding_box": {"points": points, "type": "quadrilateral"},
    }


DIALECTS = (
    Dialect("POST", f"/v2/models/{MODEL}/infer", _tensor, _tensors),
    Dialect("PUT", "/process", _whole_body, _documents),
    Dialect("POST", "/liteparse/ocr", _upload, _results),
    Dialect("POST", "/v1/infer", _data_urls, _detections),
)
"""KServe's protocol, version 2 (docling); Open WebUI's external document loader; LiteParse's OCR server; NVIDIA's NIM for Image OCR."""
