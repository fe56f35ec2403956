"""The parts of the OpenAPI document that FastAPI cannot derive: bodies, responses, examples."""

from __future__ import annotations

from typing import Any

from ocr_onnx.outputs.formats import FORMATS
from ocr_onnx.service import messages
from ocr_onnx.service.responses import JSON, NDJSON

TITLE = "ocr-onnx"

DESCRIPTION = "Reads the text of images and PDFs with PaddleOCR's models, using the protocol of PaddleX's OCR service."

STATUS_DESCRIPTIONS = {
    400: "The request is not valid HTTP.",
    401: "No valid API key was sent.",
    403: "A page of another site sent the request, and the server uses no API keys.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is neither JSON nor a form.",
    421: "The Host header has an unknown name, and the server uses no API keys.",
    422: "A field or the file is invalid, or exceeds a limit.",
    429: "This client has too many requests in progress.",
    500: "Internal error.",
    503: "The queue is full, not enough memory is free, or the server is shutting down.",
    504: "The deadline passed during processing.",
}

RETRY: dict[str, dict[str, Any]] = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
}

SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses with these statuses."""
    return {
        status: {
            "model": messages.Envelope,
            "description": STATUS_DESCRIPTIONS[status],
            **({"headers": RETRY} if status in {429, 503} else {}),
        }
        for status in statuses
    }


def ocr_responses() -> dict[int | str, dict[str, Any]]:
    """The responses of POST /ocr."""
    lines = "One line {page, result} per page; the last line has logId to dataInfo."
    texts = {NDJSON: lines} | {
        writer.media_type: f"With format {writer.name}: {writer.help}."
        for writer in FORMATS.values()
        if writer.media_type not in {NDJSON, JSON}
    }
    content = {media_type: {"schema": {"type": "string", "description": text}} for media_type, text in texts.items()}
    success = {
        "model": messages.OCRResponse | list[dict[str, Any]],
        "description": "The text of the pages.",
        "content": content,
    }
    return {200: success, **error_responses(*STATUS_DESCRIPTIONS)}


def body() -> dict[str, Any]:
    """The body of POST /ocr, as JSON or as a form."""
    schema = messages.FULL_REQUEST.model_json_schema(by_alias=True)
    upload = {"type": "string", "format": "binary", "description": "The file, or the value that `file` has in JSON."}
    form = {**schema, "title": "OCRForm", "properties": {**schema["properties"], "file": upload}}
    form.pop("examples", None)
    example = {"an image": {"value": {"file": messages.WHITE, "fileType": 1, "visualize": False}}}
    content = {
        "application/json": {"schema": schema, "examples": example},
        "multipart/form-data": {"schema": form},
    }
    return {"requestBody": {"required": True, "content": content}}
