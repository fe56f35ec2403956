"""The options of reading text, each declared once: its default, range and help, and its name outside Python.

The options of the command line, the fields of an HTTP request, the keys of a pipeline file and the tables in
docs/options.md are generated from these declarations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ocr_onnx.declarations import Declaration, Shape, check, declaration, declared_fields, option
from ocr_onnx.errors import OptionError

MAX_PIXELS = 178_956_970
"""The largest image that is read, in pixels; PDF pages are rendered smaller instead. Pillow and PaddleOCR have this limit."""

MAX_SIDE = 4000
"""The longest side of an image for detection, in pixels, as in PaddleOCR."""

PDF_SCALES = (0.1, 40)
"""PaddleOCR's minimum; 40 times 72 dots per inch exceeds the resolution of scanners."""

PAGE_RANGE = re.compile(r"\s*(\d{1,9})\s*(?:(-)\s*(\d{1,9})?\s*)?")


@dataclass(frozen=True, slots=True)
class InputOptions:
    """How inputs are read, and the limits of reading. Raises OptionError for a value out of range."""

    pdf_pages: str | None = option(
        "text",
        "pdf_pages",
        "Pages of a PDF to read, counted from 1, such as 1-3,7,20-; all if not given.",
        default=None,
    )
    """Pages are read in the document's order, each once. Numbers past its end are ignored; a document that has none of the
    pages raises InputNotFoundError. `Page.index` counts from 0 in the whole document, as PaddleOCR's page_index does."""
    pdf_scale: float = option(
        "number",
        "pdf_scale",
        "Scale for rendering PDF pages, relative to 72 dots per inch; max_megapixels can reduce it.",
        default=2.0,
        minimum=PDF_SCALES[0],
        maximum=PDF_SCALES[1],
    )
    pdf_password: str | None = option(
        "text",
        "pdf_password",
        "Password of encrypted PDFs. Other users can see it in the list of processes: prefer the environment variable "
        "OCR_ONNX_PDF_PASSWORD.",
        default=None,
        secret=True,
    )
    max_megapixels: float = option(
        "number",
        "max_megapixels",
        "Largest image to read, in millions of pixels. Larger images are refused; PDF pages are rendered smaller.",
        default=MAX_PIXELS / 1e6,
        minimum=1e-6,
        maximum=MAX_PIXELS / 1e6,
    )
    max_bytes: int = option(
        "integer",
        "max_bytes",
        "Largest download or file object to read, in bytes. Files on disk have no limit.",
        default=2**28,
        minimum=1,
    )
    download_timeout: float = option(
        "number",
        "download_timeout",
        "Time limit for downloading an input, in seconds.",
        default=60,
        minimum=0.001,
        maximum=86_400,
    )
    max_redirects: int = option(
        "integer",
        "max_redirects",
        "Number of redirects to follow for one address.",
        default=5,
        minimum=0,
        maximum=100,
    )

    def __post_init__(self) -> None:
        check(self)
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
            match = PAGE_RANGE.fullmatch(part)
            first = int(match[1]) if match else 0
            last = float(match[3] or "inf") if match and match[2] else first
            if not 1 <= first <= last:
                raise OptionError(f"pdf_pages is {self.pdf_pages!r}: give pages counted from 1, such as '1-3,7,20-'")
            found.append((first, last))
        return found


@dataclass(frozen=True, slots=True)
class PageOrientationOptions:
    """When pages are rotated. Raises OptionError for a value out of range."""

    score_thresh: float = option(
        "number",
        "doc_orientation_classify_score_thresh",
        "Rotate a page only if the classifier's score is at least this. PaddleOCR always rotates.",
        default=0.0,
        minimum=0,
        maximum=1,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class DetectionOptions:
    """How an image is resized for detection, and which regions are text. Raises OptionError for a value out of range."""

    limit_side_len: int = option(
        "integer",
        "text_det_limit_side_len",
        "Side limit of images for detection, in pixels; text_det_limit_type defines its meaning.",
        default=64,
        minimum=1,
        request=True,
        request_maximum=MAX_SIDE,
    )
    limit_type: Literal["min", "max"] = option(
        "text",
        "text_det_limit_type",
        "min: enlarge images whose shorter side is below text_det_limit_side_len; max: reduce images whose longer side is "
        "above it.",
        default="min",
        choices=("min", "max"),
        request=True,
    )
    max_side_limit: int = option(
        "integer",
        "text_det_max_side_limit",
        "Longest side of an image for detection, in pixels, whatever text_det_limit_side_len says.",
        default=MAX_SIDE,
        minimum=1,
    )
    thresh: float = option(
        "number",
        "text_det_thresh",
        "Probability above which a pixel is text.",
        default=0.3,
        minimum=0,
        maximum=1,
        request=True,
    )
    box_thresh: float = option(
        "number",
        "text_det_box_thresh",
        "Drop boxes whose mean probability is below this.",
        default=0.6,
        minimum=0,
        maximum=1,
        request=True,
    )
    unclip_ratio: float = option(
        "number",
        "text_det_unclip_ratio",
        "Expansion of text regions: each grows by its area times this, divided by its perimeter.",
        default=1.5,
        minimum=0,
        maximum=100,
        request=True,
        # Boxes that grow further cover the page.
        request_maximum=10,
    )
    input_shape: Shape | None = option(
        "shape",
        "text_det_input_shape",
        "Stretch images to this shape (3 HEIGHT WIDTH) for detection; the size limits are then ignored.",
        default=None,
    )
    max_candidates: int | None = option(
        "integer",
        "text_det_max_candidates",
        "Largest number of text regions to consider on a page; if not given, as the model says, else 1000.",
        default=None,
        minimum=1,
    )
    score_mode: Literal["fast", "slow"] | None = option(
        "text",
        "text_det_score_mode",
        "fast: score a region by the mean probability in its rectangle; slow: inside its outline. If not given, as the model "
        "says, else fast.",
        default=None,
        choices=("fast", "slow"),
    )
    use_dilation: bool | None = option(
        "boolean",
        "text_det_use_dilation",
        "Dilate the text mask by one pixel. If not given, as the model says, else False.",
        default=None,
    )
    box_type: Literal["quad", "poly"] | None = option(
        "text",
        "text_det_box_type",
        "quad: boxes are rectangles, possibly rotated; poly: polygons. If not given, as the model says, else quad.",
        default=None,
        choices=("quad", "poly"),
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class LineOrientationOptions:
    """When text lines are rotated. Raises OptionError for a value out of range."""

    batch_size: int = option(
        "integer",
        "textline_orientation_batch_size",
        "Batch size of line orientation. As in PaddleX 3.7, the first line's result applies to the whole batch; 1 decides "
        "for each line.",
        default=6,
        minimum=1,
    )
    score_thresh: float = option(
        "number",
        "textline_orientation_score_thresh",
        "Rotate a line only if the classifier's score is at least this. PaddleOCR always rotates.",
        default=0.0,
        minimum=0,
        maximum=1,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class RecognitionOptions:
    """How line crops are padded, and which texts are kept. Raises OptionError for a value out of range."""

    batch_size: int = option(
        "integer",
        "text_recognition_batch_size",
        "Batch size of recognition: crops, sorted by aspect ratio, are padded to the width of the widest in the batch.",
        default=6,
        minimum=1,
    )
    padding: Literal["batch", "own"] = option(
        "text",
        "text_rec_padding",
        "batch: pad crops to the widest of their batch, as PaddleOCR does; own: pad each crop by itself, which is faster and "
        "changes the text of some lines.",
        default="batch",
        choices=("batch", "own"),
    )
    """docs/performance.md has the cost of `own` in accuracy."""
    score_thresh: float = option(
        "number",
        "text_rec_score_thresh",
        "Drop texts whose score is below this; 0 keeps all, empty texts too.",
        default=0.0,
        minimum=0,
        maximum=1,
        request=True,
    )
    input_shape: Shape | None = option(
        "shape",
        "text_rec_input_shape",
        "Stretch line crops to this shape (3 HEIGHT WIDTH) for recognition; HEIGHT must be the model's.",
        default=None,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class OCROptions:
    """The options of the whole pipeline. Raises OptionError for a value out of range."""

    use_doc_orientation_classify: bool = option(
        "boolean",
        "use_doc_orientation_classify",
        "Detect the orientation of each page and rotate it upright.",
        default=True,
        request=True,
    )
    use_doc_unwarping: bool = option(
        "boolean",
        "use_doc_unwarping",
        "Unwarp photographs of curved pages. It makes flat pages worse.",
        default=False,
        request=True,
    )
    use_textline_orientation: bool = option(
        "boolean",
        "use_textline_orientation",
        "Rotate upside-down text lines by 180°.",
        default=True,
        request=True,
    )
    return_word_box: bool = option(
        "boolean", "return_word_box", "Return the boxes of the words in each line.", default=False, request=True
    )
    page_orientation: PageOrientationOptions = field(default_factory=PageOrientationOptions)
    detection: DetectionOptions = field(default_factory=DetectionOptions)
    line_orientation: LineOrientationOptions = field(default_factory=LineOrientationOptions)
    recognition: RecognitionOptions = field(default_factory=RecognitionOptions)
    input: InputOptions = field(default_factory=InputOptions)

    def __post_init__(self) -> None:
        check(self)

    @classmethod
    def high_performance(cls) -> OCROptions:
        """The options of high-performance mode; docs/performance.md has the gain and the cost of each.

        Large pages are reduced for detection, and recognition pads each line by itself.
        """
        return cls(
            detection=DetectionOptions(limit_side_len=1280, limit_type="max"),
            recognition=RecognitionOptions(padding="own"),
        )


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {"text_det_limit_side_len": 960, "text_det_limit_type": "max"},
}
"""Values of options by declared names, for each preset."""


@dataclass(frozen=True, slots=True)
class Models:
    """The model of each stage: an official name, or the path of an .onnx file. A stage that is off loads no model."""

    text_detection: str | Path = "PP-OCRv5_mobile_det"
    text_recognition: str | Path = "PP-OCRv5_mobile_rec"
    doc_orientation: str | Path = "PP-LCNet_x1_0_doc_ori"
    doc_unwarping: str | Path = "UVDoc"
    textline_orientation: str | Path = "PP-LCNet_x1_0_textline_ori"


class Place(NamedTuple):
    """Where an option is in OCROptions."""

    group: str
    """The field of OCROptions that holds it; empty for a field of OCROptions itself."""
    field: str
    default: Any
    declaration: Declaration

    def of(self, options: OCROptions) -> Any:
        """The option's value."""
        return getattr(getattr(options, self.group) if self.group else options, self.field)


def places() -> Iterator[Place]:
    """Every option below OCROptions, in the order of declaration."""
    defaults = OCROptions()
    for outer in fields(OCROptions):
        declared = declaration(outer)
        if declared is not None:
            yield Place("", outer.name, outer.default, declared)
            continue
        for inner, declaration_of_inner in declared_fields(getattr(defaults, outer.name)):
            yield Place(outer.name, inner.name, inner.default, declaration_of_inner)


def changed(options: OCROptions, values: Mapping[str, Any]) -> OCROptions:
    """The options with new `values`, by the names of their declarations; None leaves an option as it is.

    Raises KeyError for an unknown name, and OptionError for a value out of range.
    """
    by_name = {place.declaration.name: place for place in places()}
    groups: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        place = by_name[name]
        if value is not None:
            groups.setdefault(place.group, {})[place.field] = value
    inner = {group: replace(getattr(options, group), **found) for group, found in groups.items() if group}
    return replace(options, **groups.get("", {}), **inner)
