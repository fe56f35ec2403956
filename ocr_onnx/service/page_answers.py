"""A page's result as the wire has it: PaddleOCR's keys, and pictures as JPEG in Base64."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass, replace
from typing import Any

import PIL.Image

from ocr_onnx.outputs.drawing import draw_images, fit, to_pil
from ocr_onnx.outputs.paddle import to_dict
from ocr_onnx.results import OCRResult

PRUNED = frozenset({"input_path", "page_index"})
"""Keys that are left out, wherever they stand."""

QUALITY = 95
"""Of JPEGs: OpenCV's, and so the reference's."""


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """One element of `ocrResults`, written."""

    body: bytes
    """JSON in UTF-8."""
    size: tuple[int, int]
    """The (width, height) of the page as it was given."""
    count: int | None
    """How many pages the whole document has; None for a single picture."""

    def without_body(self) -> PageAnswer:
        """What is needed of it once it is sent."""
        return replace(self, body=b"")


def page_answer(result: OCRResult, *, visualize: bool, largest: tuple[int, int]) -> PageAnswer:
    """Write a page's result; pictures are scaled down to `largest` (height, width) before they are made."""
    answer: dict[str, Any] = {"prunedResult": _pruned(to_dict(result))}
    if visualize:
        drawn = draw_images(result, largest)
        named = {
            "ocrImage": drawn["ocr_res_img"],
            "docPreprocessingImage": drawn.get("preprocessed_img"),
            "inputImage": to_pil(fit(result.source.image, largest)),
        }
        answer |= {name: jpeg(picture, largest) for name, picture in named.items() if picture is not None}
    height, width = result.source.image.shape[:2]
    body = json.dumps(answer, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return PageAnswer(body.encode(), (width, height), result.source.count)


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(each) for key, each in value.items() if key not in PRUNED}
    return value


def jpeg(picture: PIL.Image.Image, largest: tuple[int, int]) -> str:
    """A picture, reduced where a side is longer than `largest` (height, width) allows: JPEG in Base64."""
    height, width = largest
    if picture.width > width or picture.height > height:
        picture.thumbnail((width, height))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return base64.b64encode(buffer.getbuffer()).decode("ascii")
