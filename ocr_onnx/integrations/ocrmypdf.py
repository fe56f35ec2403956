"""A plug-in for OCRmyPDF 17: `ocrmypdf --ocr-engine ocr-onnx scan.pdf searchable.pdf`.

`pip install 'ocr-onnx[ocrmypdf,cpu]'` registers it. OCRmyPDF goes on to use Tesseract unless it is chosen by its name, or by
`--plugin ocr_onnx.integrations.ocrmypdf`.
"""

from __future__ import annotations

import argparse
import logging
import math
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
from ocrmypdf import hookimpl
from ocrmypdf.hocrtransform import BoundingBox, OcrClass, OcrElement
from ocrmypdf.languages import iso_639_2_from_3
from ocrmypdf.models.ocr_element import Baseline
from ocrmypdf.pluginspec import OcrEngine, OrientationConfidence

from ocr_onnx import OCR, OCRResult, __version__
from ocr_onnx.errors import OptionError
from ocr_onnx.inputs import sources
from ocr_onnx.models import languages, presets
from ocr_onnx.options import PAGE_SCORE
from ocr_onnx.outputs.formats import FORMATS
from ocr_onnx.outputs.placed import Box, PlacedBlock, PlacedLine, PlacedWord, placed_blocks, size_of
from ocr_onnx.runtime import openvino
from ocr_onnx.runtime.provider_specs import Mode
from ocr_onnx.runtime.selection import choose_placement
from ocr_onnx.runtime.threads import cpu_count
from ocr_onnx.stages import page_frame

NAME = "ocr-onnx"

PRESET = "fast"
"""The preset if none is chosen: it is faster than Tesseract, and more accurate (benchmarks/results/ocrmypdf.md)."""

TESSERACT_LANGUAGES = {"chi_sim": "ch", "chi_tra": "chinese_cht", "frk": "de", "kor": "korean", "jpn": "japan"}
"""Languages of `-l` with another name here; for others, the two-letter code of ISO 639 is used."""

VERTICAL = "_vert"
"""The end of Tesseract's names of models for vertical text; our models read both directions."""

ROTATED, SURE = 14.0, 15.0
"""OCRmyPDF rotates a page from the first confidence; the second is the highest."""

MAX_RESOLUTION = 200.0
"""Pixels per inch. Pages of 300 are read as accurately when they are reduced, in four fifths of the time."""

FULL_TURN = 360

STEEP = 45.0
"""Degrees from which a line is described by its angle instead of the slope of its baseline."""

DESCENT = 0.25
"""The part of a line's box that is below its baseline."""


class OnnxEngine(OcrEngine):  # type: ignore[misc]
    """Reads pages with ocr-onnx, one core for each page: OCRmyPDF reads several pages at a time."""

    @staticmethod
    def version() -> str:
        """Return the version of ocr-onnx."""
        return __version__

    @staticmethod
    def creator_tag(options: Any) -> str:  # noqa: ARG004 the interface
        """Return the name and version for the metadata of the PDF."""
        return f"{NAME} {__version__}"

    def __str__(self) -> str:
        return f"{NAME} {__version__}"

    @staticmethod
    def languages(options: Any) -> set[str]:
        """Return the requested languages that a model supports; OCRmyPDF reports the others."""
        return {code for code in options.languages if _language(code) is not None} or {"eng"}

    @staticmethod
    def get_orientation(input_file: Path, options: Any) -> OrientationConfidence:
        """Return by how many degrees clockwise to rotate a page."""
        ocr, (page,) = _ocr(options), sources.read_pages(input_file)
        if ocr.classify_page is None:
            return OrientationConfidence(0, 0.0)
        angle, score = ocr.classify_page(page.image)
        sure = max(score - PAGE_SCORE, 0) / (1 - PAGE_SCORE)
        return OrientationConfidence(-angle % FULL_TURN, ROTATED * min(score / PAGE_SCORE, 1) + (SURE - ROTATED) * sure)

    @staticmethod
    def get_deskew(input_file: Path, options: Any) -> float:
        """Return by how many degrees counter-clockwise to rotate a page so that its lines are level."""
        (page,) = sources.read_pages(input_file)
        return math.degrees(page_frame.skew([box.quad for box in _ocr(options).detect(page.image)]))

    @staticmethod
    def supports_generate_ocr() -> bool:
        """Return True: OCRmyPDF calls `generate_ocr`."""
        return True

    @staticmethod
    def generate_ocr(input_file: Path, options: Any, page_number: int = 0) -> tuple[OcrElement, str]:
        """Return the blocks, lines and words of a page, and its text."""
        result = _read(input_file, options, MAX_RESOLUTION)
        width, height = size_of(result)
        page = OcrElement(
            OcrClass.PAGE,
            bbox=BoundingBox(0, 0, width, height),
            dpi=result.source.resolution,
            page_number=page_number,
            children=[_block(block) for block in placed_blocks(result)],
        )
        return page, result.text

    @staticmethod
    def generate_hocr(input_file: Path, output_hocr: Path, output_text: Path, options: Any) -> None:
        """Write a page as hOCR, and its text."""
        result = _read(input_file, options)
        output_hocr.write_text("".join(FORMATS["hocr"].write([result])), "utf-8")
        output_text.write_text(result.text, "utf-8")

    @staticmethod
    def generate_pdf(input_file: Path, output_pdf: Path, output_text: Path, options: Any) -> None:
        """Raise NotImplementedError: OCRmyPDF makes the PDF."""
        raise NotImplementedError(f"{NAME} leaves the PDF to OCRmyPDF: use --pdf-renderer fpdf2 or auto")


@hookimpl  # type: ignore[untyped-decorator]
def get_ocr_engine(options: Any) -> OcrEngine | None:
    """Return the engine, if this module is given as --plugin, unless another engine is named."""
    return OnnxEngine() if getattr(options, "ocr_engine", "auto") in {"auto", NAME} else None


class Registered:
    """The plug-in as it is registered by the installation: it waits until it is chosen by its name."""

    @hookimpl  # type: ignore[untyped-decorator]
    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the name of the engine, and its options."""
        for action in parser._actions:  # noqa: SLF001 argparse has no other way to extend the choices of an option
            if "--ocr-engine" in action.option_strings and isinstance(action.choices, list):
                action.choices.append(NAME)
        group = parser.add_argument_group(NAME, f"Options of --ocr-engine {NAME}")
        group.add_argument(
            "--ocr-onnx-preset",
            choices=list(presets.PRESETS),
            default=PRESET,
            help="Models. default: the most accurate ones of the package.",
        )
        group.add_argument(
            "--ocr-onnx-mode", choices=get_args(Mode), default="standard", help="As that of ocr-onnx run."
        )

    @hookimpl  # type: ignore[untyped-decorator]
    def get_ocr_engine(self, options: Any) -> OcrEngine | None:
        """Return the engine if it is chosen by its name."""
        return OnnxEngine() if getattr(options, "ocr_engine", None) == NAME else None


registered: Registered = Registered()


def _language(code: str) -> str | None:
    """Return the name of a language of `-l`; None if no model supports it."""
    name = code.removesuffix(VERTICAL)
    name = TESSERACT_LANGUAGES.get(name) or iso_639_2_from_3(name) or name
    try:
        return languages.canonical(name)
    except OptionError:
        return None


def _ocr(options: Any) -> OCR:
    langs = ",".join(filter(None, map(_language, options.languages)))
    preset = getattr(options, "ocr_onnx_preset", None) or PRESET
    mode = getattr(options, "ocr_onnx_mode", None) or "standard"
    # By default, the threads that read pages share a pipeline.
    sharing = getattr(options, "jobs", None) if getattr(options, "use_threads", True) else 1
    return _loaded(langs or None, preset, mode, sharing or cpu_count())


@lru_cache(maxsize=1)
def _loaded(lang: str | None, preset: str, mode: Mode, sharing: int) -> OCR:
    # OCRmyPDF shows information of every library.
    logging.getLogger("ocr_onnx").setLevel(logging.WARNING)
    # On OpenVINO, the number of calls that run at the same time is fixed.
    placement = openvino.within(choose_placement(mode=mode), sharing)
    return OCR(lang=lang, preset=preset, device=placement, mode=mode, cpu_threads=1)


def _read(file: Path, options: Any, max_resolution: float = math.inf) -> OCRResult:
    """Read a page, which OCRmyPDF has rotated upright if that is requested; reduced if its resolution is higher."""
    ocr, (page,) = _ocr(options), sources.read_pages(file)
    if (page.resolution or 0) > max_resolution:
        factor = max_resolution / (page.resolution or 1)
        image = cv2.resize(page.image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        page = replace(page, image=np.asarray(image, np.uint8), resolution=max_resolution)
    return ocr.read(page, replace(ocr.options, use_doc_orientation_classify=False))


def _block(block: PlacedBlock) -> OcrElement:
    lines = [_line(line) for line in block.lines]
    return OcrElement(OcrClass.PARAGRAPH, bbox=_box(block.box), children=lines)


def _line(line: PlacedLine) -> OcrElement:
    turned = (line.angle + FULL_TURN / 2) % FULL_TURN - FULL_TURN / 2
    element = OcrElement(OcrClass.LINE, bbox=_box(line.box), children=[_word(part) for part in _between_spaces(line)])
    if abs(turned) >= STEEP:
        element.textangle = turned
    else:
        begin = line.quad[3] + (line.quad[0] - line.quad[3]) * DESCENT
        slope = -math.tan(math.radians(turned))
        element.baseline = Baseline(slope, float(begin[1] - line.box.bottom))
    return element


def _between_spaces(line: PlacedLine) -> list[list[PlacedWord]]:
    """Return the words in groups between two spaces: OCRmyPDF writes a space after each."""
    groups: list[list[PlacedWord]] = [[]]
    for word in line.words:
        groups[-1].append(word)
        if word.space_after:
            groups.append([])
    return [group for group in groups if group]


def _word(words: list[PlacedWord]) -> OcrElement:
    left, top = (min(word.box[i] for word in words) for i in (0, 1))
    right, bottom = (max(word.box[i] for word in words) for i in (2, 3))
    return OcrElement(
        OcrClass.WORD,
        bbox=BoundingBox(left, top, right, bottom),
        text="".join(word.text for word in words),
        confidence=min(word.score for word in words),
    )


def _box(box: Box) -> BoundingBox:
    return BoundingBox(*box)
