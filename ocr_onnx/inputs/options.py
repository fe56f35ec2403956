"""How inputs are read: what is taken of a PDF, and where reading stops."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ocr_onnx.errors import OptionError
from ocr_onnx.options import check_number

MAX_PIXELS = 178_956_970
"""The largest picture read, in pixels; PDF pages are rendered smaller instead. Pillow's limit, and the reference's."""

PDF_SCALES = (0.1, 40)
"""The reference's least; 40 times 72 dots an inch is more than any scanner gives."""

ADDRESS = re.compile(r"https?://", re.IGNORECASE)

RANGE = re.compile(r"\s*(\d{1,9})\s*(?:(-)\s*(\d{1,9})?\s*)?")


@dataclass(frozen=True, slots=True)
class InputOptions:
    """How inputs are read. Raises OptionError for a value outside its range."""

    pdf_pages: str | None = None
    """Which pages of a PDF, counted from 1 as viewers do: "1-3,7,20-". None: all.

    They come in the document's order, each once; numbers past its end are passed over, and a document that has none of
    the pages is an InputNotFoundError. `Page.index` counts from 0 in the whole document, as PaddleOCR's page_index.
    """
    pdf_scale: float = 2.0
    """PDF pages are rendered at this times 72 dots an inch, or as large as `max_megapixels` allows."""
    pdf_password: str | None = field(default=None, repr=False)
    """Opens encrypted PDFs; others are not troubled by it."""
    max_megapixels: float = MAX_PIXELS / 1e6
    """The largest picture read, in millions of pixels; Pillow reads none larger than this default."""
    max_bytes: int = 2**28
    """The most that is read of an address or a file object; of a file on disk there is no limit."""
    download_timeout: float = 60
    """Seconds within which an address must have given all its bytes."""
    max_redirects: int = 5
    """How often an address may point to another."""

    def __post_init__(self) -> None:
        check_number("pdf_scale", self.pdf_scale, *PDF_SCALES)
        check_number("max_megapixels", self.max_megapixels, 1e-6, MAX_PIXELS / 1e6)
        check_number("max_bytes", self.max_bytes, 1, whole=True)
        check_number("download_timeout", self.download_timeout, 0.001, 86_400)
        check_number("max_redirects", self.max_redirects, 0, 100, whole=True)
        for name in ("pdf_pages", "pdf_password"):
            if not isinstance(getattr(self, name), str | None):
                raise OptionError(f"{name} must be a string, or None")
        self._ranges()

    @property
    def max_pixels(self) -> int:
        """`max_megapixels` in pixels."""
        return round(self.max_megapixels * 1e6)

    def pages(self, count: int) -> list[int]:
        """The indices, from 0, of the pages to read of a PDF that has `count`."""
        ranges = self._ranges()
        return [i for i in range(count) if any(first <= i + 1 <= last for first, last in ranges)]

    def _ranges(self) -> list[tuple[int, float]]:
        """First and last page of each part of `pdf_pages`."""
        if self.pdf_pages is None:
            return [(1, float("inf"))]
        found = []
        for part in self.pdf_pages.split(","):
            match = RANGE.fullmatch(part)
            first = int(match[1]) if match else 0
            last = float(match[3] or "inf") if match and match[2] else first
            if not 1 <= first <= last:
                raise OptionError(f"pdf_pages is {self.pdf_pages!r}: give pages counted from 1, such as '1-3,7,20-'")
            found.append((first, last))
        return found


def is_address(name: str) -> bool:
    """Whether a name is fetched from the web, and no path."""
    return ADDRESS.match(name) is not None
