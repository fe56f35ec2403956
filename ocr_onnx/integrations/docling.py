"""A plug-in for docling: `PdfPipelineOptions(ocr_options=OnnxOcrOptions(), allow_external_plugins=True)`.

docling finds it by the entry point of the group `docling` that the installation of ocr-onnx registers.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from docling.datamodel.accelerator_options import AcceleratorOptions
from docling.datamodel.base_models import Page
from docling.datamodel.document import ConversionResult
from docling.datamodel.pipeline_options import OcrOptions
from docling.models.base_ocr_model import BaseOcrModel
from docling.utils.profiling import TimeRecorder
from docling_core.types.doc import BoundingBox, CoordOrigin
from docling_core.types.doc.page import BoundingRectangle, TextCell
from pydantic import Field

from ocr_onnx import OCR, OCROptions
from ocr_onnx.outputs.placed import on_source
from ocr_onnx.results import OCRResult


class OnnxOcrOptions(OcrOptions):  # type: ignore[misc]
    """Options of the engine `ocr-onnx`."""

    kind: ClassVar[Literal["ocr-onnx"]] = "ocr-onnx"
    canonicalize_lang: ClassVar[bool] = False

    lang: list[str] = Field(
        [], description="Languages as in ocr-onnx run --lang; the default models if there are none."
    )
    preset: str | None = Field(None, description="A choice of models and options: ocr-onnx models presets.")
    scale: float = Field(2.0, gt=0, description="Pixels per point at which pages are read.")


class OnnxOcrModel(BaseOcrModel):  # type: ignore[misc]
    """Reads the parts of a page that docling chooses."""

    multiple_languages: ClassVar[bool] = True

    def __init__(
        self,
        enabled: bool,
        artifacts_path: Path | None,
        options: OnnxOcrOptions,
        accelerator_options: AcceleratorOptions,
    ) -> None:
        super().__init__(
            enabled=enabled, artifacts_path=artifacts_path, options=options, accelerator_options=accelerator_options
        )
        self._options = options
        if enabled:
            lang, threads = ",".join(options.lang) or None, accelerator_options.num_threads
            self._ocr = OCR(
                OCROptions(use_doc_orientation_classify=False), lang=lang, preset=options.preset, cpu_threads=threads
            )

    def __call__(self, conv_res: ConversionResult, page_batch: Iterable[Page]) -> Iterable[Page]:
        """Add the cells of text to pages."""
        for page in page_batch:
            if self.enabled and page._backend is not None and page._backend.is_valid():  # noqa: SLF001 as docling's models do
                with TimeRecorder(conv_res, "ocr"):
                    cells = [cell for box in self.get_ocr_rects(page) if box.area() for cell in self._cells(page, box)]
                    self.post_process_cells(cells, page, conv_res)
            yield page

    def _cells(self, page: Page, box: BoundingBox) -> list[TextCell]:
        """Read a part of a page."""
        image = page._backend.get_page_image(scale=self._options.scale, cropbox=box)  # noqa: SLF001
        (result,) = self._ocr.predict(np.asarray(image.convert("RGB"))[:, :, ::-1])
        return [self._cell(result, i, box) for i in range(len(result.lines))]

    def _cell(self, result: OCRResult, index: int, box: BoundingBox) -> TextCell:
        line = result.lines[index]
        quad = on_source(result, line.box.quad) / self._options.scale + [box.l, box.t]
        (left, top), (right, bottom) = quad.min(axis=0).tolist(), quad.max(axis=0).tolist()
        place = BoundingBox(l=left, t=top, r=right, b=bottom, coord_origin=CoordOrigin.TOPLEFT)
        rectangle = BoundingRectangle.from_bounding_box(place)
        return TextCell(
            index=index, text=line.text, orig=line.text, confidence=line.score, from_ocr=True, rect=rectangle
        )

    @classmethod
    def get_options_type(cls) -> type[OcrOptions]:
        """Return the class of the options."""
        return OnnxOcrOptions


def ocr_engines() -> dict[str, list[Any]]:
    """Return the engine to docling."""
    return {"ocr_engines": [OnnxOcrModel]}
