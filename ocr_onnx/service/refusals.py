"""What a request is refused with: the status, and a text that says no more than the client may know."""

from __future__ import annotations

import re

from ocr_onnx.errors import InputError, NotEnoughMemoryError, OCRError, OptionError, StageNotLoadedError

UNAUTHORIZED = 401

INTERNAL = "Internal server error"

ADDRESS = re.compile(r"<[^<>]* at 0x[0-9a-fA-F]+>")
"""How Python shows an object without a name, with its place in memory."""

STAGES = {
    "use_doc_orientation_classify": "useDocOrientationClassify",
    "use_doc_unwarping": "useDocUnwarping",
    "use_textline_orientation": "useTextlineOrientation",
}


class Refused(Exception):  # noqa: N818 an answer, and no error of the server
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str, *, retry_after: int | None = None, close: bool = False) -> None:
        super().__init__(message)
        self.status: int = status
        self.message: str = message
        self.log_id: str | None = None
        """What the request calls itself, where that is known though it cannot be understood."""
        self.headers: dict[str, str] = {} if retry_after is None else {"Retry-After": str(retry_after)}
        if status == UNAUTHORIZED:
            self.headers["WWW-Authenticate"] = "Bearer"
        if close:
            self.headers["Connection"] = "close"


class ClientGoneError(Exception):
    """Nobody waits for the answer."""


def of(error: OCRError) -> Refused:
    """What the client is told of an error of ours."""
    if isinstance(error, NotEnoughMemoryError):
        text = (
            "the page is too large for this server: reduce it, or set textDetLimitType 'max' and a textDetLimitSideLen"
        )
        return Refused(422, text)
    if isinstance(error, StageNotLoadedError):
        stage = next((field for name, field in STAGES.items() if name in str(error)), "a stage")
        return Refused(422, f"{stage} is true, and this server was started without that stage")
    if isinstance(error, InputError | OptionError):
        return Refused(422, ADDRESS.sub("it", str(error)))
    return Refused(500, INTERNAL)
