"""What the OpenAPI document says beyond the types: bodies, answers, examples."""

from __future__ import annotations

from typing import Any

from ocr_onnx.service import messages
from ocr_onnx.service.envelopes import LINES

TITLE = "ocr-onnx"

DESCRIPTION = "Reads the text of pictures and PDFs with PaddleOCR's models. The wire is that of PaddleX's OCR service."

REASONS = {
    400: "The request is no HTTP that is understood.",
    401: "An API key is needed.",
    403: "A page of another site asks, and no API keys are in use.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is neither JSON nor a form.",
    421: "The Host header has an unknown name, and no API keys are in use.",
    422: "The request, or the file in it, cannot be understood, or asks for too much.",
    429: "This client has too many requests in progress.",
    500: "An error of the server.",
    503: "Too many requests wait, or the server is shutting down.",
    504: "The work took longer than the server allows.",
}

RETRY: dict[str, dict[str, Any]] = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
}

SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers that are errors."""
    return {
        status: {
            "model": messages.Answer,
            "description": REASONS[status],
            **({"headers": RETRY} if status in {429, 503} else {}),
        }
        for status in statuses
    }


def answers() -> dict[int | str, dict[str, Any]]:
    """Those of POST /ocr."""
    lines = {"schema": {"type": "string", "description": "A line a page: {page, result}; the last: logId to dataInfo."}}
    success = {"model": messages.OCRAnswer, "description": "The pages, read.", "content": {LINES: lines}}
    return {200: success, **refusals(*REASONS)}


def body() -> dict[str, Any]:
    """The body of POST /ocr, as JSON or as a form."""
    schema = messages.FULL_REQUEST.model_json_schema(by_alias=True)
    upload = {"type": "string", "format": "binary", "description": "The file, or any form of `file` in JSON."}
    form = {**schema, "title": "OCRForm", "properties": {**schema["properties"], "file": upload}}
    form.pop("examples", None)
    example = {"a picture": {"value": {"file": messages.WHITE, "fileType": 1, "visualize": False}}}
    content = {
        "application/json": {"schema": schema, "examples": example},
        "multipart/form-data": {"schema": form},
    }
    return {"requestBody": {"required": True, "content": content}}
