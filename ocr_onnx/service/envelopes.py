"""What answers are wrapped in: logId, errorCode, errorMsg; as one JSON object, or as a line a page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from starlette.responses import Response

from ocr_onnx.service.page_answers import PageAnswer
from ocr_onnx.service.refusals import Refused

JSON, LINES = "application/json", "application/x-ndjson"

SUCCESS = "Success"


def said(log_id: str, code: int, text: str) -> dict[str, Any]:
    """What every answer has."""
    return {"logId": log_id, "errorCode": code, "errorMsg": text}


def answer(log_id: str, text: str) -> Response:
    """One without a result."""
    return Response(json.dumps(said(log_id, 0, text)), 200, media_type=JSON)


def refusal(log_id: str, refused: Refused) -> Response:
    """One that says what went wrong."""
    text = json.dumps(said(log_id, refused.status, refused.message), ensure_ascii=False)
    return Response(text.encode("utf-8", "replace"), refused.status, refused.headers, JSON)


def whole(log_id: str, pages: Sequence[PageAnswer], kind: Literal["image", "pdf"]) -> Iterator[bytes]:
    """The parts of one JSON object with all pages. They are JSON already, and are passed on without a copy."""
    yield json.dumps(said(log_id, 0, SUCCESS))[:-1].encode() + b', "result": {"ocrResults": ['
    for number, page in enumerate(pages):
        if number:
            yield b","
        yield page.body
    yield b'], "dataInfo": ' + json.dumps(data_info(pages, kind)).encode() + b"}}"


def line(index: int, page: PageAnswer) -> bytes:
    """One page on a line."""
    return b'{"page": %d, "result": %b}\n' % (index, page.body)


def last_line(content: dict[str, Any]) -> bytes:
    """What ends the lines."""
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def data_info(pages: Sequence[PageAnswer], kind: Literal["image", "pdf"]) -> dict[str, Any]:
    """What the input was: a picture of a size, or a document and the sizes of the pages that were read of it."""
    sizes = [{"width": width, "height": height} for width, height in (page.size for page in pages)]
    if kind == "image" and len(pages) == 1 and pages[0].count is None:
        return {**sizes[0], "type": "image"}
    return {"numPages": len(pages), "pages": sizes, "type": "pdf" if kind == "pdf" else "tiff"}
