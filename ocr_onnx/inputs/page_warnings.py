"""Keep the warnings of decoding a page, such as missing fonts, for `Page.warnings`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar

from ocr_onnx.types import Image, Page

logger: logging.Logger = logging.getLogger(__name__)

_found: ContextVar[list[str] | None] = ContextVar("warnings of the page that is being decoded", default=None)


def warn(message: str) -> None:
    """Log a warning, and keep it for the page that is being decoded."""
    logger.warning("%s", message)
    found = _found.get()
    if found is not None:
        found.append(message)


def decode_page(
    decode: Callable[[], Image], path: str | None, index: int | None = None, count: int | None = None
) -> Page:
    """Return the page that `decode` returns, with the warnings of decoding it."""
    found: list[str] = []
    token = _found.set(found)
    try:
        return Page(decode(), path, index, count, tuple(found))
    finally:
        _found.reset(token)
