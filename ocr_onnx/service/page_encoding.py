"""Encode the result of a page: as PaddleX's JSON with Base64 images, or in an output format of the package."""

from __future__ import annotations

import base64
import io
import json
import pickle
from dataclasses import dataclass, replace
from typing import Any

import PIL.Image

from ocr_onnx.errors import InputError
from ocr_onnx.outputs.drawing import draw_images, fit, to_pil
from ocr_onnx.outputs.formats import Writer
from ocr_onnx.outputs.paddle import to_dict
from ocr_onnx.outputs.placed import placed_page
from ocr_onnx.outputs.plain import page_text
from ocr_onnx.results import OCRResult
from ocr_onnx.service import request_errors

REMOVED_KEYS = frozenset({"input_path", "page_index"})
"""Keys that PaddleX removes from its result at every level."""

JPEG_QUALITY = 95
"""OpenCV's default, which PaddleX uses."""


@dataclass(frozen=True, slots=True)
class EncodedPage:
    """The encoded result of one page."""

    body: bytes
    """JSON, or text of another format, in UTF-8; of a format that is made of the file, the pickled PlacedPage."""
    size: tuple[int, int]
    """(width, height) of the input page in pixels."""
    count: int | None
    """Number of pages of the whole document; None for a single image."""

    error: bool = False
    """Whether the page could not be read; the body then says why."""

    def without_body(self) -> EncodedPage:
        """The same without the body, which was sent."""
        return replace(self, body=b"")


def encode_page(
    result: OCRResult, *, visualize: bool, max_size: tuple[int, int], writer: Writer | None = None, number: int = 1
) -> EncodedPage:
    """Encode a page with `writer`, else as an element of PaddleX's `ocrResults`; with its text if columns are requested.

    `number`, counted from 1, is the place of the page in the answer. Images, which only PaddleX's JSON has, are reduced to `max_size` (height, width) before they are drawn.
    """
    if writer is None:
        body = _paddlex_json(result, max_size, visualize=visualize).encode()
    elif writer.file:
        body = pickle.dumps(placed_page(result))
    else:
        body = writer.part(result, number).encode()
    height, width = result.source.image.shape[:2]
    return EncodedPage(body, (width, height), result.source.count)


def encode_error(error: InputError) -> EncodedPage:
    """Encode the error of a page as an element of PaddleX's `ocrResults`: an empty result, the status and the message."""
    found = request_errors.from_ocr_error(error)
    content: dict[str, Any] = {
        "prunedResult": {},
        "page": error.page,
        "errorCode": found.status,
        "errorMsg": found.message,
    }
    return EncodedPage(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"), (0, 0), None, error=True)


def _paddlex_json(result: OCRResult, max_size: tuple[int, int], *, visualize: bool) -> str:
    content: dict[str, Any] = {"prunedResult": _pruned(to_dict(result))}
    if result.options.reading_order == "columns":
        content["text"] = page_text(result)
    if visualize:
        drawn = draw_images(result, max_size)
        images = {
            "ocrImage": drawn["ocr_res_img"],
            "docPreprocessingImage": drawn.get("preprocessed_img"),
            "inputImage": to_pil(fit(result.source.image, max_size)),
        }
        content |= {name: jpeg(image, max_size) for name, image in images.items() if image is not None}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(each) for key, each in value.items() if key not in REMOVED_KEYS}
    return value


def jpeg(image: PIL.Image.Image, max_size: tuple[int, int]) -> str:
    """Encode an image as Base64 JPEG, reduced to `max_size` (height, width) if it is larger."""
    height, width = max_size
    if image.width > width or image.height > height:
        image.thumbnail((width, height))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return base64.b64encode(buffer.getbuffer()).decode("ascii")
