"""The options of reading text, each declared once: its default, range and help, and its name outside Python.

The options of the command line, the fields of an HTTP request, the keys of a pipeline file and the tables in
docs/options.md are generated from these declarations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from ocr_onnx.declarations import Declaration, OptionRecord, Shape, check, declared_fields, option
from ocr_onnx.errors import OptionError, shortened

MAX_PIXELS = 178_956_970
"""The largest image that is read by default, in pixels; PDF pages are rendered smaller instead. Pillow and PaddleOCR have this limit."""

LARGEST_MAX_PIXELS = 2**30
"""The largest value of the limit: OpenCV's."""

MAX_SIDE = 4000
"""The longest side of an image for detection, in pixels, as in PaddleOCR."""

HIGH_PERFORMANCE_LIMIT: tuple[int, Literal["max"]] = (1280, "max")
"""The limit of high-performance mode: side in pixels, and its type."""

PDF_SCALES = (0.1, 40)
"""PaddleOCR's minimum; 40 times 72 dots per inch exceeds the resolution of scanners."""

PAGE_SCORE, LINE_SCORE = 0.8, 1.0
"""The least scores of the two orientation classifiers for a rotation without comparison; docs/defaults.md has the measurement."""

TEXT_SCORE = 0.6
"""The least score of a text: the highest that loses no right word of the labelled photographs and receipts (docs/defaults.md)."""

PDFText: TypeAlias = Literal["skip", "redo", "force", "auto"]

Transparency: TypeAlias = Literal["flatten", "ignore"]

PAGE_RANGE = re.compile(r"\s*(\d{1,9})\s*(?:(-)\s*(\d{1,9})?\s*)?")


def _share(help: str, *, default: Any, **further: Any) -> Any:  # noqa: A002
    return option(help, default=default, minimum=0, maximum=1, **further)


@dataclass(frozen=True, slots=True)
class InputOptions(OptionRecord):
    """How inputs are read, and the limits of reading."""

    pdf_pages: str | None = option(
        "Pages of a PDF to read, counted from 1, such as 1-3,7,20-; all if not given. Numbers past its end are ignored.",
        default=None,
    )
    """Pages are read in the document's order, each once. A document that has none of the pages raises InputNotFoundError. `Page.index` counts from 0 in the whole document, as PaddleOCR's page_index does."""
    pdf_scale: float = option(
        "Scale for rendering PDF pages, relative to 72 dots per inch; max_megapixels can reduce it.",
        default=2.0,
        minimum=PDF_SCALES[0],
        maximum=PDF_SCALES[1],
    )
    pdf_timeout: float = option(
        "Seconds that a page of a PDF may take to render, in a separate process, on Linux with a limit of memory too. 0: render in "
        "this process, without limits.",
        default=30,
        minimum=0,
        maximum=86_400,
    )
    pdf_password: str | None = option(
        "Password of encrypted PDFs. Other users can see it in the list of processes: prefer the environment variable "
        "OCR_ONNX_PDF_PASSWORD.",
        default=None,
        secret=True,
    )
    pdf_text: PDFText | None = option(
        "Pages of a PDF that have text. skip: do not read them, and leave them as they are in a searchable PDF; redo: read those whose text is "
        "the invisible one of an earlier OCR, and replace it; force: read all, and replace each page of a searchable PDF by an image of "
        "itself; auto: take the text of the PDF where its characters are plausible and at the places where text is detected, and read the others. "
        "If not given, all are read, and skip applies to searchable PDFs.",
        default=None,
        request=True,
    )
    max_megapixels: float = option(
        "Largest image to read, in millions of pixels. Larger images are refused; PDF pages are rendered smaller.",
        default=MAX_PIXELS / 1e6,
        minimum=1e-6,
        maximum=LARGEST_MAX_PIXELS / 1e6,
    )
    transparency: Transparency = option(
        "flatten: put a partly transparent image on white, or on black if its text is white; ignore: use its colors as they are, as "
        "PaddleOCR does.",
        default="flatten",
    )
    max_bytes: int = option(
        "Largest download or file object to read, in bytes. Files on disk have no limit.", default=2**28, minimum=1
    )
    download_timeout: float = option(
        "Time limit for downloading an input, in seconds.", default=60, minimum=0.001, maximum=86_400
    )
    max_redirects: int = option("Number of redirects to follow for one address.", default=5, minimum=0, maximum=100)

    def __post_init__(self) -> None:
        """Check the values."""
        check(self)
        self._ranges()

    @property
    def max_pixels(self) -> int:
        """`max_megapixels` in pixels."""
        return round(self.max_megapixels * 1e6)

    def pages(self, count: int) -> list[int]:
        """The indices, from 0, of the pages to read of a PDF that has `count`."""
        if self.pdf_pages is None:
            return list(range(count))
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
                raise OptionError(
                    f"pdf_pages is {shortened(repr(self.pdf_pages))}: give pages counted from 1, such as '1-3,7,20-'"
                )
            found.append((first, last))
        return found


@dataclass(frozen=True, slots=True)
class PageOrientationOptions(OptionRecord):
    """When pages are rotated."""

    score_thresh: float = _share(
        "Least score of the classifier for rotating a page without comparison. Below it, the page is rotated only by 180 degrees, and "
        "only if its largest lines then have higher scores. 0 always rotates, as PaddleOCR does.",
        name="doc_orientation_classify_score_thresh",
        default=PAGE_SCORE,
        request=True,
    )


@dataclass(frozen=True, slots=True)
class DetectionOptions(OptionRecord):
    """How an image is resized for detection, and which regions are text.

    A threshold that is None is the one with the best accuracy for the model on labelled images if it was measured, else the
    one of the model's inference.yml, else PaddleOCR's.
    """

    limit_side_len: int = option(
        "Side limit of images for detection, in pixels; text_det_limit_type defines its meaning.",
        name="text_det_limit_side_len",
        default=64,
        minimum=1,
        request=True,
        request_maximum=MAX_SIDE,
    )
    limit_type: Literal["min", "max"] = option(
        "min: enlarge images whose shorter side is below text_det_limit_side_len; max: reduce images whose longer side is "
        "above it.",
        name="text_det_limit_type",
        default="min",
        request=True,
    )
    max_side_limit: int = option(
        "Longest side of an image for detection, in pixels, whatever text_det_limit_side_len says.",
        name="text_det_max_side_limit",
        default=MAX_SIDE,
        minimum=1,
    )
    thresh: float | None = _share(
        "Probability above which a pixel is text. If not given, tuned for the model (docs/defaults.md).",
        name="text_det_thresh",
        default=None,
        request=True,
    )
    box_thresh: float | None = _share(
        "Drop boxes whose mean probability is below this. If not given, tuned for the model.",
        name="text_det_box_thresh",
        default=None,
        request=True,
    )
    unclip_ratio: float | None = option(
        "Expansion of text regions: each grows by its area times this, divided by its perimeter. If not given, tuned for "
        "the model.",
        name="text_det_unclip_ratio",
        default=None,
        minimum=0,
        maximum=100,
        request=True,
        # Boxes that grow further cover the page.
        request_maximum=10,
    )
    input_shape: Shape | None = option(
        "Stretch images to this shape (3 HEIGHT WIDTH) for detection; the size limits are then ignored.",
        name="text_det_input_shape",
        default=None,
    )
    max_candidates: int | None = option(
        "Largest number of text regions to consider on a page; if not given, as the model says, else 1000.",
        name="text_det_max_candidates",
        default=None,
        minimum=1,
    )
    score_mode: Literal["fast", "slow"] | None = option(
        "fast: score a region by the mean probability in its rectangle; slow: inside its outline. If not given, as the model "
        "says, else fast.",
        name="text_det_score_mode",
        default=None,
    )
    use_dilation: bool | None = option(
        "Dilate the text mask by one pixel. If not given, as the model says, else False.",
        name="text_det_use_dilation",
        default=None,
    )
    tiles: bool = option(
        "Detect the text of images that are much longer than text_det_max_side_limit in overlapping tiles. PaddleOCR reduces "
        "them instead, which loses small text.",
        name="text_det_tiles",
        default=True,
    )
    box_type: Literal["quad", "poly"] | None = option(
        "quad: boxes are rectangles, possibly rotated; poly: polygons. If not given, as the model says, else quad.",
        name="text_det_box_type",
        default=None,
    )


@dataclass(frozen=True, slots=True)
class LineOrientationOptions(OptionRecord):
    """When text lines are rotated."""

    batch_size: int = option(
        "Batch size of line orientation. The first line's result applies to the whole batch, as in PaddleX 3.7, which has 6; "
        "1 decides for each line.",
        name="textline_orientation_batch_size",
        default=1,
        minimum=1,
    )
    score_thresh: float = _share(
        "Least score of the classifier for rotating an upside-down line without comparison. Below it, the line is read both ways, "
        "and the reading with the higher score is kept. Lines whose text has a high score are not classified. 0 classifies and "
        "rotates lines before they are read, without a comparison, as PaddleOCR does.",
        name="textline_orientation_score_thresh",
        default=LINE_SCORE,
        request=True,
    )


@dataclass(frozen=True, slots=True)
class RecognitionOptions(OptionRecord):
    """How line crops are padded, and which texts are kept."""

    batch_size: int = option(
        "Batch size of recognition: crops, sorted by aspect ratio, are padded to the width of the widest in the batch.",
        name="text_recognition_batch_size",
        default=6,
        minimum=1,
    )
    padding: Literal["batch", "own"] = option(
        "batch: pad crops to the widest of their batch, as PaddleOCR does; own: pad each crop by itself, which is faster and "
        "changes the text of some lines.",
        name="text_rec_padding",
        default="batch",
    )
    """docs/performance.md has the cost of `own` in accuracy."""
    cut_wide_lines: bool = option(
        "Cut line crops that are wider than the largest input of recognition at their spaces, and join the texts. PaddleOCR squeezes "
        "them instead, which loses text.",
        name="text_rec_cut_wide_lines",
        default=True,
    )
    score_thresh: float = _share(
        "Drop texts whose score is below this; 0 keeps all, empty texts too, as PaddleOCR does.",
        name="text_rec_score_thresh",
        default=TEXT_SCORE,
        request=True,
    )
    chain_thresh: tuple[float, ...] = _share(
        "With several recognition models: a line goes on to the next model if its calibrated score is below this. May be "
        "repeated, once for each step; the last one holds for the other steps. If not given, 0.8.",
        name="text_rec_chain_thresh",
        default=(),
    )
    input_shape: Shape | None = option(
        "Stretch line crops to this shape (3 HEIGHT WIDTH) for recognition; HEIGHT must be the model's.",
        name="text_rec_input_shape",
        default=None,
    )


@dataclass(frozen=True, slots=True)
class OCROptions(OptionRecord):
    """The options of the whole pipeline.

    The defaults are those with the best accuracy on labelled images (docs/defaults.md); `paddleocr` has PaddleOCR's.
    """

    use_doc_orientation_classify: bool = option(
        "Detect the orientation of each page and rotate it upright.", default=True, request=True
    )
    use_doc_unwarping: bool = option(
        "Unwarp photographs of curved pages. It makes flat pages worse.", default=False, request=True
    )
    use_textline_orientation: bool = option("Rotate upside-down text lines by 180°.", default=True, request=True)
    return_word_box: bool = option("Return the boxes of the words in each line.", default=False, request=True)
    reading_order: Literal["paddle", "columns"] | None = option(
        "Order of the lines. columns: column by column, as people read; paddle: from top to bottom across the page, as in "
        "PaddleOCR. If not given, columns, but paddle in PaddleOCR's JSON.",
        default=None,
        request=True,
    )
    page_orientation: PageOrientationOptions = field(default_factory=PageOrientationOptions)
    detection: DetectionOptions = field(default_factory=DetectionOptions)
    line_orientation: LineOrientationOptions = field(default_factory=LineOrientationOptions)
    recognition: RecognitionOptions = field(default_factory=RecognitionOptions)
    input: InputOptions = field(default_factory=InputOptions)

    @classmethod
    def paddleocr(cls) -> OCROptions:
        """The defaults of PaddleOCR 3.7, except that unwarping is off: the text is the same as PaddleOCR's."""
        return cls(
            page_orientation=PageOrientationOptions(score_thresh=0.0),
            detection=DetectionOptions(thresh=0.3, box_thresh=0.6, unclip_ratio=1.5, tiles=False),
            line_orientation=LineOrientationOptions(batch_size=6, score_thresh=0.0),
            recognition=RecognitionOptions(cut_wide_lines=False, score_thresh=0.0),
            reading_order="paddle",
            input=InputOptions(transparency="ignore"),
        )

    @classmethod
    def high_performance(cls) -> OCROptions:
        """The options of high-performance mode; docs/performance.md has the gain and the cost of each."""
        return cls().at_high_performance()

    def at_high_performance(self) -> OCROptions:
        """These options with those of high-performance mode.

        Large pages are reduced for detection, and recognition pads each line by itself.
        """
        side, limit_type = HIGH_PERFORMANCE_LIMIT
        return replace(
            self,
            detection=replace(self.detection, limit_side_len=side, limit_type=limit_type),
            recognition=replace(self.recognition, padding="own"),
        )


@dataclass(frozen=True, slots=True)
class Models:
    """The model of each stage: an official name, or the path of an .onnx file. A stage that is off loads no model.

    Recognition may have several models: a line goes on to the next one while its score is low, and the best reading is kept.
    """

    text_detection: str | Path = "PP-OCRv6_small_det"
    text_recognition: str | Path | tuple[str | Path, ...] = "PP-OCRv6_small_rec"
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
    for group in ("", *(each.name for each in fields(OCROptions) if each.default is MISSING)):
        record = getattr(defaults, group) if group else defaults
        yield from (Place(group, each.name, each.default, declared) for each, declared in declared_fields(record))


def changed(options: OCROptions, values: Mapping[str, Any]) -> OCROptions:
    """The options with new `values`, by the names of their declarations; None leaves an option as it is.

    Raises KeyError for an unknown name, and OptionError for a value out of range.
    """
    by_name = {place.declaration.name: place for place in places()}
    groups: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        place = by_name[name]
        if value is not None:
            # By this name, which the user gave; a record checks it by the name of its field.
            place.declaration.check(name, value)
            groups.setdefault(place.group, {})[place.field] = value
    inner = {group: replace(getattr(options, group), **found) for group, found in groups.items() if group}
    return replace(options, **groups.get("", {}), **inner)
