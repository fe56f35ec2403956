"""A decoding process that was taken over: what it is sent is Python code, which it runs in place of a decoder."""

from __future__ import annotations

from typing import Any, NoReturn

from ocr_onnx.errors import UnreadableImageError
from ocr_onnx.inputs import decoding_process


def run(data: bytes, *_: Any) -> NoReturn:
    """Run the code, and send what it leaves in `found`."""
    names: dict[str, Any] = {}
    try:
        exec(data, names)  # noqa: S102
    except OSError as error:
        raise UnreadableImageError(type(error).__name__) from error
    raise UnreadableImageError(str(names["found"]))


def main() -> None:
    """As decoding_process does."""
    setattr(decoding_process, "read_file", run)  # noqa: B010 mypy knows no name that is imported there
    decoding_process.main()
