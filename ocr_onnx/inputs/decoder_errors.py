"""Convert what decoders raise to InputErrors, and keep the error of one page in the place of that page."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import cv2
import PIL.Image

from ocr_onnx.errors import ImageTooLargeError, InputError, NotEnoughMemoryError, OCRError, UnreadableImageError
from ocr_onnx.inputs.page_warnings import decode_page
from ocr_onnx.runtime import memory
from ocr_onnx.types import Page

DAMAGE = (OSError, SyntaxError, ValueError, TypeError, IndexError, RuntimeError, struct.error, Warning)
"""The exceptions of Pillow's decoders for damaged files; Warning is one if the application turns warnings into errors."""

OBJECT_REPR = re.compile(r"<[^<>]* at 0x[0-9a-fA-F]+>")
"""Python's default repr of an object, which contains a memory address."""

MAX_REASON = 200
"""Characters of a decoder's message that are repeated: some contain the data."""

MAX_FAILURES = 100
"""Pages: a small damaged file can claim to have millions."""

REDUCE = "reduce it, or split it into parts"


@contextmanager
def decoder_errors(name: str) -> Iterator[None]:
    """Convert every exception of a decoder to an InputError; `name` is the name of the input or page in the message.

    Damaged files make decoders raise exceptions of any type. Exceptions of this package pass.
    """
    try:
        yield
    except OCRError:
        raise
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError(f"{name}: {error} Reduce it, or split it into parts.") from error
    except MemoryError as error:
        raise out_of_memory(name) from error
    except cv2.error as error:
        if error.code == cv2.Error.STS_NO_MEM:
            raise out_of_memory(name) from error
        raise _undecodable(name, error) from error
    except DAMAGE as error:
        raise UnreadableImageError(
            f"{name} is damaged or truncated: {_reason(error)}; download or copy it again"
        ) from error
    except Exception as error:
        raise _undecodable(name, error) from error


def require_memory(pixels: int, bytes_per_pixel: int, name: str) -> None:
    """Raise NotEnoughMemoryError if decoding `pixels` would exceed the memory limit of the process."""
    memory.require(pixels * bytes_per_pixel, f"decoding {name}", REDUCE)


def decode_pages(
    decode: Callable[[int, str], Page], indices: Sequence[int], count: int, path: str | None, name: str
) -> Iterator[Page | InputError]:
    """Yield the pages with these indices, counted from 0, of a file with `count` pages; for a page that cannot be decoded, its error.

    `decode` gets the index of a page and its name in messages, and returns the page without path and index. Raises
    UnreadableImageError after MAX_FAILURES errors in succession.
    """
    failures = 0
    for index in indices:
        outcome = _page_or_error(partial(decode, index, f"page {index + 1} of {name}"), path, index, count)
        failures = failures + 1 if isinstance(outcome, InputError) else 0
        yield outcome
        del outcome
        if failures == MAX_FAILURES and index != indices[-1]:
            raise UnreadableImageError(
                f"{name} is damaged: {MAX_FAILURES} pages in succession cannot be read, and the pages after page {index + 1} are "
                "skipped; download or copy it again"
            )


def _page_or_error(decode: Callable[[], Page], path: str | None, index: int, count: int) -> Page | InputError:
    try:
        return decode_page(decode, path, index, count)
    except InputError as error:
        error.source, error.page = path, index + 1
        return error


def out_of_memory(name: str) -> NotEnoughMemoryError:
    """Return the error for an input or page, with this name in the message, that does not fit into memory."""
    return NotEnoughMemoryError(f"decoding {name} needs more memory than this process may take: {REDUCE}")


def _undecodable(name: str, error: Exception) -> UnreadableImageError:
    return UnreadableImageError(
        f"{name} cannot be decoded ({type(error).__name__}: {_reason(error)}): it is damaged, or its decoder does not support "
        "it; save it again in another format"
    )


def _reason(error: BaseException) -> str:
    reason = " ".join(OBJECT_REPR.sub("the data", str(error)).split())
    return reason if len(reason) <= MAX_REASON else f"{reason[:MAX_REASON]}…"
