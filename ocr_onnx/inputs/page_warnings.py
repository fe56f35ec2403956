"""Keep the warnings of decoding a page, such as missing fonts, for `Page.warnings`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace

from ocr_onnx.types import Page

logger: logging.Logger = logging.getLogger(__name__)

_found: ContextVar[list[str] | None] = ContextVar("warnings of the page that is being decoded", default=None)


def warn(message: str) -> None:
    """Log a warning, and keep it for the page that is being decoded."""
    # JSON cannot contain the bytes of a file's name that are not UTF-8.
    message = message.encode("utf-8", "replace").decode()
    logger.warning("%s", message)
    found = _found.get()
    if found is not None:
        found.append(message)


def decode_page(
    decode: Callable[[], Page], path: str | None, index: int | None = None, count: int | None = None
) -> Page:
    """Return the page that `decode` returns, with its origin and the warnings of decoding it."""
    found: list[str] = []
    token = _found.set(found)
    try:
        return replace(decode(), path=path, index=index, count=count, warnings=tuple(found))
    finally:
        _found.reset(token)
