"""The sample page in the package: real inputs on which two forms of a model are compared."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from ocr_onnx.inputs import sources
from ocr_onnx.models import zoo
from ocr_onnx.types import Image

PIECE_RATIO = 5
"""Width / height, approximately, of the pieces into which lines are split."""

INK_LEVEL = 128
"""A row of the page with a pixel darker than this contains text."""


def sample_page() -> Image:
    """Read the sample page."""
    (page,) = sources.read_pages(zoo.data_file("sample.png"))
    return page.image


def split_lines(page: Image) -> list[Image]:
    """Cut the sample page into its text lines, at the rows without ink."""
    inked = np.concatenate([[False], page.min(axis=(1, 2)) < INK_LEVEL, [False]])
    edges = np.flatnonzero(inked[1:] != inked[:-1])
    rows = [page[max(top - 4, 0) : bottom + 4] for top, bottom in zip(edges[::2], edges[1::2], strict=True)]
    return [row[:, : int(np.flatnonzero(row.min(axis=(0, 2)) < INK_LEVEL)[-1]) + 8] for row in rows]


def crops() -> list[Image]:
    """Return the lines of the sample page, each whole and split into pieces."""
    return [part for line in split_lines(sample_page()) for part in (line, *_pieces(line))]


def variants(image: Image) -> Iterator[Image]:
    """Yield an image four times: unchanged, inverted, blurred with low contrast and noise, and on a random color."""
    noise = np.random.default_rng(0)
    yield image
    yield 255 - image
    gray = cv2.GaussianBlur(image, (0, 0), 1.5) * 0.5 + 60 + noise.normal(0, 8, image.shape)
    yield gray.clip(0, 255).astype(np.uint8)
    yield (image * 0.3 + noise.integers(0, 255, 3) * 0.7).astype(np.uint8)


def _pieces(line: Image) -> list[Image]:
    height, width = line.shape[:2]
    count = max(round(width / height / PIECE_RATIO), 1)
    return [np.ascontiguousarray(part) for part in np.array_split(line, count, axis=1)]
