"""An OCR agent for unstructured: the environment variable OCR_AGENT=ocr_onnx.integrations.unstructured.OCRAgentOnnx.

unstructured loads only agents of the modules in OCR_AGENT_MODULES_WHITELIST. `pip install 'ocr-onnx[unstructured,cpu]'`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from unstructured.documents.elements import ElementType
from unstructured.partition.utils.ocr_models.ocr_interface import OCRAgent
from unstructured_inference.inference.elements import TextRegions
from unstructured_inference.inference.layoutelement import LayoutElements

from ocr_onnx import OCR, OCRResult
from ocr_onnx.outputs.placed import box_of, on_source
from ocr_onnx.types import Block, Quad

TYPES = {
    "heading": ElementType.TITLE,
    "paragraph": ElementType.NARRATIVE_TEXT,
    "list": ElementType.LIST_ITEM,
    "table": ElementType.TABLE,
}
"""unstructured's type of each kind of block. With one, unstructured downloads no model to tell the types of texts apart."""


class OCRAgentOnnx(OCRAgent):  # type: ignore[misc]
    """Reads images with the default models."""

    def __init__(self, language: str | None = None) -> None:
        """`language` has Tesseract's names, as unstructured gives them: "eng+deu"."""
        self._ocr = OCR(lang=language or None)

    def is_text_sorted(self) -> bool:
        """Return True: elements are in reading order."""
        return True

    def get_text_from_image(self, image: Image.Image) -> str:
        """Return the text of an image in reading order."""
        return self._read(image).text

    def get_layout_from_image(self, image: Image.Image) -> TextRegions:
        """Return the lines of an image, which unstructured assigns to the parts of a page in its strategy `hi_res`."""
        result = self._read(image)
        boxes = _boxes(result, [line.box.quad for line in result.lines])
        return TextRegions(boxes, np.array([line.text for line in result.lines], object))

    def get_layout_elements_from_image(self, image: Image.Image) -> LayoutElements:
        """Return the blocks of an image, each item of a list by itself, with their types."""
        result = self._read(image)
        parts = [(block, text) for block in result.blocks for text in _texts(block)]
        kinds = list(TYPES)
        return LayoutElements(
            _boxes(result, [block.box for block, _ in parts]),
            np.array([text for _, text in parts], object),
            element_class_ids=np.array([kinds.index(block.kind) for block, _ in parts]),
            element_class_id_map=dict(enumerate(TYPES.values())),
        )

    def _read(self, image: Image.Image) -> OCRResult:
        (result,) = self._ocr.predict(np.asarray(image.convert("RGB"))[:, :, ::-1])
        return result


def _texts(block: Block) -> list[str]:
    return block.text.splitlines() if block.kind == "list" else [block.text]


def _boxes(result: OCRResult, quads: Sequence[Quad]) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Return the upright boxes in the image, one in each row."""
    return np.array([box_of(on_source(result, quad)) for quad in quads], np.int64).reshape(-1, 4)
