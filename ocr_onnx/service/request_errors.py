"""Errors that a request is answered with: the HTTP status, and a message that reveals nothing about the server."""

from __future__ import annotations

import re

from ocr_onnx.errors import InputError, NotEnoughMemoryError, OCRError, OptionError, OutputError, StageNotLoadedError

UNAUTHORIZED = 401

INTERNAL = "Internal server error"

OBJECT_REPR = re.compile(r"<[^<>]* at 0x[0-9a-fA-F]+>")
"""Python's default repr of an object, which contains a memory address."""

STAGES = {
    "use_doc_orientation_classify": "useDocOrientationClassify",
    "use_doc_unwarping": "useDocUnwarping",
    "use_textline_orientation": "useTextlineOrientation",
}


class RequestError(Exception):
    """A request that is answered with an error response."""

    def __init__(self, status: int, message: str, *, retry_after: int | None = None, close: bool = False) -> None:
        super().__init__(message)
        self.status: int = status
        self.message: str = message
        self.log_id: str | None = None
        """The logId of an invalid request, if it could be read."""
        self.headers: dict[str, str] = {} if retry_after is None else {"Retry-After": str(retry_after)}
        if status == UNAUTHORIZED:
            self.headers["WWW-Authenticate"] = "Bearer"
        if close:
            self.headers["Connection"] = "close"


class ClientGoneError(Exception):
    """The request was canceled: its client disconnected, or its deadline passed."""


def from_ocr_error(error: OCRError) -> RequestError:
    """The error response for an exception of this package."""
    if isinstance(error, NotEnoughMemoryError):
        text = (
            "the page is too large for this server: reduce it, or set textDetLimitType 'max' and a textDetLimitSideLen"
        )
        return RequestError(422, text)
    if isinstance(error, StageNotLoadedError):
        stage = next((field for name, field in STAGES.items() if name in str(error)), "a stage")
        return RequestError(422, f"{stage} is true, but the server was started with that stage off")
    if isinstance(error, InputError | OptionError | OutputError):
        return RequestError(422, OBJECT_REPR.sub("it", str(error)))
    return RequestError(500, INTERNAL)
