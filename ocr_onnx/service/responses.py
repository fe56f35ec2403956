"""The bodies of responses: PaddleX's envelope of logId, errorCode and errorMsg, as one JSON object or as NDJSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from starlette.responses import Response

from ocr_onnx.outputs.formats import Writer
from ocr_onnx.service.page_encoding import EncodedPage
from ocr_onnx.service.request_errors import RequestError

JSON, NDJSON = "application/json", "application/x-ndjson"

SUCCESS = "Success"


def envelope(log_id: str, code: int, text: str) -> dict[str, Any]:
    """The fields of every JSON response."""
    return {"logId": log_id, "errorCode": code, "errorMsg": text}


def success(log_id: str, text: str) -> Response:
    """A response with status 200 and no result."""
    return Response(json.dumps(envelope(log_id, 0, text)), 200, media_type=JSON)


def failure(log_id: str, error: RequestError) -> Response:
    """An error response."""
    text = json.dumps(envelope(log_id, error.status, error.message), ensure_ascii=False)
    return Response(text.encode("utf-8", "replace"), error.status, error.headers, JSON)


def json_parts(log_id: str, pages: Sequence[EncodedPage], kind: Literal["image", "pdf"]) -> Iterator[bytes]:
    """The parts of one JSON object with all pages. Pages are JSON already and are not copied."""
    yield json.dumps(envelope(log_id, 0, SUCCESS))[:-1].encode() + b', "result": {"ocrResults": ['
    for number, page in enumerate(pages):
        if number:
            yield b","
        yield page.body
    yield b'], "dataInfo": ' + json.dumps(data_info(pages, kind)).encode() + b"}}"


def document_parts(writer: Writer, pages: Sequence[EncodedPage]) -> Iterator[bytes]:
    """The parts of a document in an output format."""
    yield from (page.body for page in pages)
    yield (writer.tail if pages else writer.empty).encode()


def page_line(index: int, page: EncodedPage) -> bytes:
    """The NDJSON line of one page."""
    return b'{"page": %d, "result": %b}\n' % (index, page.body)


def last_line(content: dict[str, Any]) -> bytes:
    """The last line of NDJSON."""
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def data_info(pages: Sequence[EncodedPage], kind: Literal["image", "pdf"]) -> dict[str, Any]:
    """The `dataInfo` of PaddleX: the size of an image, or the sizes of the pages that were read of a document."""
    sizes = [{"width": width, "height": height} for width, height in (page.size for page in pages)]
    if kind == "image" and len(pages) == 1 and pages[0].count is None:
        return {**sizes[0], "type": "image"}
    return {"numPages": len(pages), "pages": sizes, "type": "pdf" if kind == "pdf" else "tiff"}
