"""A function for PyMuPDF4LLM: `pymupdf4llm.to_markdown("scan.pdf", ocr_function=ocr_function())`.

`pip install 'ocr-onnx[pymupdf,cpu]'`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymupdf4llm.ocr.exec_ocr_interface import exec_ocr_full

from ocr_onnx import OCR
from ocr_onnx.outputs.placed import on_source


def ocr_function(ocr: OCR | None = None) -> Callable[..., None]:
    """Return a function that adds the text that `ocr`, or the default models, read to a page of PyMuPDF, without its sound text."""
    engine = ocr or OCR()

    def read(image: NDArray[np.uint8]) -> list[tuple[list[list[int]], str, float]]:
        """Read a page in RGB."""
        (result,) = engine.predict(image[:, :, ::-1])
        return [(on_source(result, line.box.quad).tolist(), line.text, line.score) for line in result.lines]

    def add_text(page: Any, dpi: int = 150, language: str | None = None, *, keep_ocr_text: bool = False) -> None:
        exec_ocr_full(page, read, dpi=dpi, language=language, keep_ocr_text=keep_ocr_text)

    return add_text
