"""Open a PDF in a decoding process, so that a damaged or hostile page cannot take all time and memory, or in this process.

PDFium has no time limit: a file of a few hundred bytes can keep it busy for minutes.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
from functools import cache
from typing import TYPE_CHECKING

from ocr_onnx.errors import InputError, OCRError
from ocr_onnx.inputs.pdf import RENDER_BYTES, Document, PdfiumDocument
from ocr_onnx.options import InputOptions

if TYPE_CHECKING:
    from ocr_onnx.inputs.decoding import Decoder

logger: logging.Logger = logging.getLogger(__name__)

BASE_MEMORY = 2**29
"""Bytes that a decoding process may take besides those for the pixels of a page."""

SHORTEST = 0.001
"""The shortest time limit, in seconds."""

_decoders: dict[tuple[float, int], Decoder] = {}
"""By time limit and largest image."""


def open_pdf(data: bytes, name: str, options: InputOptions) -> Document:
    """Open a PDF, in a process with limits if `pdf_timeout` is not 0 and such a process can be started, else in this one.

    Raises UnreadableImageError if it is damaged or encrypted.
    """
    if options.pdf_timeout:
        try:
            return _decoder(options).document(data, name, options)
        except InputError:
            raise
        except OCRError as error:
            _warn(str(error))
    return PdfiumDocument(data, name, options)


def _decoder(options: InputOptions) -> Decoder:
    """Return the decoder with the limits of `options`, whose processes are kept for later PDFs."""
    from ocr_onnx.inputs.decoding import Decoder
    from ocr_onnx.inputs.decoding_client import SIMPLIFY, DecodeLimits

    key = options.pdf_timeout, options.max_pixels
    if key not in _decoders:
        limits = DecodeLimits(
            memory=BASE_MEMORY + RENDER_BYTES * options.max_pixels,
            cpu_seconds=math.ceil(options.pdf_timeout),
            wall_seconds=max(options.pdf_timeout, SHORTEST),
            max_pixels=options.max_pixels,
            remedy=f"{SIMPLIFY}; or raise pdf_timeout",
        )
        _decoders.setdefault(key, Decoder(limits, on_missing=_log_missing))
    return _decoders[key]


def _log_missing(features: tuple[str, ...]) -> None:
    """The limits of time and memory work without these features."""
    logger.debug("the kernel does not support %s", " and ".join(features))


@cache
def _warn(reason: str) -> None:
    logger.warning("PDFs are rendered in this process, without a time limit: %s", reason)


def _after_fork() -> None:
    """The processes belong to the parent."""
    for decoder in _decoders.values():
        decoder.abandon()
    _decoders.clear()


@atexit.register
def _end_processes() -> None:
    for decoder in tuple(_decoders.values()):
        decoder.end_idle()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
