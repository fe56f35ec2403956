"""The messages of PaddleX's OCR service as pydantic models: the request and the responses."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.alias_generators import to_camel

from ocr_onnx.options import Place, places
from ocr_onnx.outputs.formats import FORMATS
from ocr_onnx.service.request_errors import RequestError

FORMAT_HELP = "; ".join(f"{writer.name}: {writer.help}" for writer in FORMATS.values())

LOG_ID = r"^[A-Za-z0-9._-]{1,64}$"

WHITE = "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAEUlEQVR42mP8z4AKmBhGtAAAIBABH+35zCgAAAAASUVORK5CYII="
"""A small white image, as Base64 PNG."""

POINT = Annotated[list[int], Field(min_length=2, max_length=2)]
QUAD = Annotated[list[POINT], Field(min_length=4)]
BOX = Annotated[list[int], Field(min_length=4, max_length=4)]


class OCRRequest(BaseModel):
    """A request to read a file. Unknown fields are ignored; null means the server's setting."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        alias_generator=to_camel,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        json_schema_extra={"examples": [{"file": WHITE, "fileType": 1, "visualize": False}]},
    )

    file: str = Field(
        min_length=1,
        description="The file as Base64 or a data URL; or, if the server allows it, an http or https URL.",
    )
    file_type: Literal[0, 1] | None = Field(None, description="0: PDF, 1: image, null: detected from the contents.")
    visualize: bool | None = Field(None, description="Return images: ocrImage, docPreprocessingImage, inputImage.")
    log_id: str | None = Field(None, pattern=LOG_ID, description="Returned in the response; null: a new UUID.")
    format: str | None = None

    def values(self) -> dict[str, Any]:
        """The pipeline options of the request by declared name; None: the server's setting."""
        return {place.declaration.name: getattr(self, place.declaration.name) for place in REQUEST_OPTIONS}


REQUEST_OPTIONS = tuple(place for place in places() if place.declaration.request)
"""The options that a request may set."""

TYPES: dict[str, Any] = {"boolean": bool, "integer": int, "number": float, "text": str}


def field_of(place: Place) -> tuple[Any, Any]:
    """The type and pydantic field of an option."""
    declared = place.declaration
    kind: Any = Literal.__getitem__(declared.choices) if declared.choices else TYPES[declared.kind]
    bounds = {"ge": declared.minimum, "le": min(declared.maximum, declared.request_maximum)}
    limits: dict[str, Any] = {name: bound for name, bound in bounds.items() if math.isfinite(bound)}
    return kind | None, Field(None, description=declared.help, **limits)


_fields: Any = {place.declaration.name: field_of(place) for place in REQUEST_OPTIONS}
FORMAT_NAMES: Any = Literal.__getitem__(tuple(FORMATS))
_fields["format"] = (
    FORMAT_NAMES | None,
    Field(None, description=f"Format of the response; null: PaddleX's JSON. {FORMAT_HELP}."),
)
FULL_REQUEST = create_model("OCRRequest", __base__=OCRRequest, __doc__=OCRRequest.__doc__, **_fields)
"""OCRRequest with the pipeline options and the formats as fields."""


class ModelSettings(BaseModel):
    """The stages that were on."""

    use_doc_preprocessor: bool
    use_textline_orientation: bool


class PreprocessorSettings(BaseModel):
    """The preprocessing stages that were on."""

    use_doc_orientation_classify: bool
    use_doc_unwarping: bool


class PreprocessorResult(BaseModel):
    """The result of preprocessing."""

    model_config: ClassVar[ConfigDict] = ConfigDict(protected_namespaces=())

    model_settings: PreprocessorSettings
    angle: int = Field(description="Degrees by which the page was rotated counterclockwise; -1: the stage was off.")


class DetectionParameters(BaseModel):
    """The detection options that were used."""

    limit_side_len: int
    limit_type: Literal["min", "max"]
    thresh: float
    max_side_limit: int
    box_thresh: float
    unclip_ratio: float


class PrunedResult(BaseModel):
    """The result of one page under PaddleOCR's names. Points are (x, y) in pixels of the rotated, unwarped page."""

    model_config: ClassVar[ConfigDict] = ConfigDict(protected_namespaces=())

    model_settings: ModelSettings
    doc_preprocessor_res: PreprocessorResult | None = None
    dt_polys: list[QUAD] = Field(description="All detected boxes, in the order of readingOrder; null: PaddleOCR's.")
    dt_scores: list[float]
    text_det_params: DetectionParameters
    text_type: Literal["general"]
    textline_orientation_angles: list[Literal[-1, 0, 1]] = Field(description="1: upside down; -1: the stage was off.")
    text_rec_score_thresh: float
    return_word_box: bool
    rec_texts: list[str] = Field(description="The texts at or above text_rec_score_thresh.")
    rec_scores: list[float]
    rec_polys: list[QUAD]
    rec_boxes: list[BOX] = Field(description="Left, top, right and bottom of each text.")
    text_word: list[list[str]] | None = None
    text_word_boxes: list[list[BOX]] | None = None
    warnings: list[str] | None = Field(None, description="What may be missing in the text; absent if there is nothing.")


class EmptyResult(BaseModel):
    """The result of a page that cannot be read."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


class PageResult(BaseModel):
    """One page. Images are Base64 JPEG; absent if they were not made.

    A page of a document that cannot be read has an empty `prunedResult`, and the fields `page`, `errorCode` and `errorMsg`.
    """

    pruned_result: PrunedResult | EmptyResult = Field(alias="prunedResult")
    page: int | None = Field(None, description="The page, counted from 1; only if it cannot be read.")
    error_code: int | None = Field(None, alias="errorCode", description="Only if the page cannot be read.")
    error_msg: str | None = Field(None, alias="errorMsg", description="Only if the page cannot be read.")
    text: str | None = Field(None, description="Paragraphs in reading order; only if readingOrder is columns.")
    ocr_image: str | None = Field(
        None, alias="ocrImage", description="The page with its boxes, and the text beside it."
    )
    doc_preprocessing_image: str | None = Field(
        None, alias="docPreprocessingImage", description="The page before and after rotation and unwarping."
    )
    input_image: str | None = Field(None, alias="inputImage")


class Size(BaseModel):
    """The size of a page in pixels."""

    width: int
    height: int


class ImageInfo(Size):
    """A single image."""

    type: Literal["image"]


class DocumentInfo(BaseModel):
    """The pages that were read of a PDF or a multi-page TIFF."""

    num_pages: int = Field(alias="numPages", description="Number of pages that were read.")
    pages: list[Size]
    type: Literal["pdf", "tiff"]


class Result(BaseModel):
    """All pages."""

    ocr_results: list[PageResult] = Field(alias="ocrResults")
    data_info: ImageInfo | DocumentInfo = Field(alias="dataInfo", discriminator="type")


class Envelope(BaseModel):
    """The fields of every JSON response; an error response has no others."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra={"examples": [{"logId": "5e0b…", "errorCode": 422, "errorMsg": "file is empty"}]}
    )

    log_id: str = Field(alias="logId", description="The request's logId, or a new UUID.")
    error_code: int = Field(alias="errorCode", description="0, or the HTTP status of an error.")
    error_msg: str = Field(alias="errorMsg")


class OCRResponse(Envelope):
    """The text of all pages."""

    error_code: Literal[0] = Field(alias="errorCode")
    error_msg: Literal["Success"] = Field(alias="errorMsg")
    result: Result


def parse(given: bytes | bytearray | dict[str, Any]) -> OCRRequest:
    """Validate JSON, or the fields of a form. Raises RequestError (422) whose message is a JSON list of the problems."""
    try:
        return (
            FULL_REQUEST.model_validate(given) if isinstance(given, dict) else FULL_REQUEST.model_validate_json(given)
        )
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        problems = [{"type": e["type"], "loc": ".".join(map(str, ("body", *e["loc"]))), "msg": e["msg"]} for e in found]
        invalid = RequestError(422, json.dumps(problems, ensure_ascii=False))
        invalid.log_id = _log_id(given)
        raise invalid from None


class _WithLogId(BaseModel):
    log_id: str | None = Field(None, pattern=LOG_ID, alias="logId")


def _log_id(given: bytes | bytearray | dict[str, Any]) -> str | None:
    """The logId of an invalid request, if it is valid itself."""
    try:
        found = _WithLogId.model_validate(given) if isinstance(given, dict) else _WithLogId.model_validate_json(given)
    except ValidationError:
        return None
    return found.log_id
