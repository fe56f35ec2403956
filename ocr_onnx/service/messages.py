"""What goes over the wire: PaddleX's request and answers, field by field."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.alias_generators import to_camel

from ocr_onnx.options import Place, places
from ocr_onnx.service.refusals import Refused

LOG_ID = r"^[A-Za-z0-9._-]{1,64}$"

WHITE = "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAEUlEQVR42mP8z4AKmBhGtAAAIBABH+35zCgAAAAASUVORK5CYII="
"""A small white picture, as PNG in Base64."""

POINT = Annotated[list[int], Field(min_length=2, max_length=2)]
QUAD = Annotated[list[POINT], Field(min_length=4)]
BOX = Annotated[list[int], Field(min_length=4, max_length=4)]


class OCRRequest(BaseModel):
    """What to read and how. Fields that are not listed are ignored; null is the server's own setting."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        alias_generator=to_camel,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        json_schema_extra={"examples": [{"file": WHITE, "fileType": 1, "visualize": False}]},
    )

    file: str = Field(
        min_length=1,
        description="The file in Base64, with or without data:…;base64, before it; or, where the server allows it, an "
        "http or https address.",
    )
    file_type: Literal[0, 1] | None = Field(None, description="0: PDF, 1: picture, null: as its contents say.")
    visualize: bool | None = Field(None, description="Send pictures: ocrImage, docPreprocessingImage, inputImage.")
    log_id: str | None = Field(None, pattern=LOG_ID, description="Returned in the answer; null: a new UUID.")

    def values(self) -> dict[str, Any]:
        """The options that the request sets, by their declared names; None: the server's setting."""
        return {place.declaration.name: getattr(self, place.declaration.name) for place in OF_REQUESTS}


OF_REQUESTS = tuple(place for place in places() if place.declaration.request)
"""The options that a request may set."""

TYPES: dict[str, Any] = {"boolean": bool, "integer": int, "number": float, "text": str}


def field_of(place: Place) -> tuple[Any, Any]:
    """Type and field of a request's option."""
    declared = place.declaration
    kind: Any = Literal.__getitem__(declared.choices) if declared.choices else TYPES[declared.kind]
    bounds = {"ge": declared.minimum, "le": min(declared.maximum, declared.request_maximum)}
    limits: dict[str, Any] = {name: bound for name, bound in bounds.items() if math.isfinite(bound)}
    return kind | None, Field(None, description=declared.help, **limits)


_fields: Any = {place.declaration.name: field_of(place) for place in OF_REQUESTS}
FULL_REQUEST = create_model("OCRRequest", __base__=OCRRequest, __doc__=OCRRequest.__doc__, **_fields)
"""OCRRequest with the options as fields."""


class ModelSettings(BaseModel):
    """Which stages the page went through."""

    use_doc_preprocessor: bool
    use_textline_orientation: bool


class PreprocessorSettings(BaseModel):
    """What was done to the page before."""

    use_doc_orientation_classify: bool
    use_doc_unwarping: bool


class PreprocessorResult(BaseModel):
    """How the page stood."""

    model_config: ClassVar[ConfigDict] = ConfigDict(protected_namespaces=())

    model_settings: PreprocessorSettings
    angle: int = Field(description="Degrees it was turned counter-clockwise; -1: that stage was off.")


class DetectionParameters(BaseModel):
    """How its text was found."""

    limit_side_len: int
    limit_type: Literal["min", "max"]
    thresh: float
    max_side_limit: int
    box_thresh: float
    unclip_ratio: float


class PrunedResult(BaseModel):
    """What was read on one page, as PaddleOCR names it. Points are (x, y) in pixels of the page, turned and flat."""

    model_config: ClassVar[ConfigDict] = ConfigDict(protected_namespaces=())

    model_settings: ModelSettings
    doc_preprocessor_res: PreprocessorResult | None = None
    dt_polys: list[QUAD] = Field(description="All boxes found, in reading order.")
    dt_scores: list[float]
    text_det_params: DetectionParameters
    text_type: Literal["general"]
    textline_orientation_angles: list[Literal[-1, 0, 1]] = Field(description="1: upside down; -1: that stage was off.")
    text_rec_score_thresh: float
    return_word_box: bool
    rec_texts: list[str] = Field(description="The texts at or above text_rec_score_thresh.")
    rec_scores: list[float]
    rec_polys: list[QUAD]
    rec_boxes: list[BOX] = Field(description="Left, top, right, bottom of each.")
    text_word: list[list[str]] | None = None
    text_word_boxes: list[list[BOX]] | None = None


class PageResult(BaseModel):
    """One page. Pictures are JPEG in Base64; those that were not made are left out."""

    pruned_result: PrunedResult = Field(alias="prunedResult")
    ocr_image: str | None = Field(
        None, alias="ocrImage", description="The page with its boxes, and the text beside it."
    )
    doc_preprocessing_image: str | None = Field(
        None, alias="docPreprocessingImage", description="The page before and after it was turned and made flat."
    )
    input_image: str | None = Field(None, alias="inputImage")


class Size(BaseModel):
    """Of a page, in pixels."""

    width: int
    height: int


class ImageInfo(Size):
    """A single picture."""

    type: Literal["image"]


class DocumentInfo(BaseModel):
    """Of a PDF, or a TIFF with several pages, what was read of it."""

    num_pages: int = Field(alias="numPages", description="How many pages were read.")
    pages: list[Size]
    type: Literal["pdf", "tiff"]


class Result(BaseModel):
    """All pages."""

    ocr_results: list[PageResult] = Field(alias="ocrResults")
    data_info: ImageInfo | DocumentInfo = Field(alias="dataInfo", discriminator="type")


class Answer(BaseModel):
    """What every answer begins with; of one that failed, all of it."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra={"examples": [{"logId": "5e0b…", "errorCode": 422, "errorMsg": "file is empty"}]}
    )

    log_id: str = Field(alias="logId", description="The request's logId, or a new UUID.")
    error_code: int = Field(alias="errorCode", description="0, or the status.")
    error_msg: str = Field(alias="errorMsg")


class OCRAnswer(Answer):
    """The pages, read."""

    error_code: Literal[0] = Field(alias="errorCode")
    error_msg: Literal["Success"] = Field(alias="errorMsg")
    result: Result


def parse(given: bytes | bytearray | dict[str, Any]) -> OCRRequest:
    """A request of its JSON, or of the fields of a form. Raises Refused (422), whose text is a list of what is wrong."""
    try:
        return (
            FULL_REQUEST.model_validate(given) if isinstance(given, dict) else FULL_REQUEST.model_validate_json(given)
        )
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        problems = [{"type": e["type"], "loc": ".".join(map(str, ("body", *e["loc"]))), "msg": e["msg"]} for e in found]
        refused = Refused(422, json.dumps(problems, ensure_ascii=False))
        refused.log_id = _log_id(given)
        raise refused from None


class _Named(BaseModel):
    log_id: str | None = Field(None, pattern=LOG_ID, alias="logId")


def _log_id(given: bytes | bytearray | dict[str, Any]) -> str | None:
    """What a request that cannot be understood calls itself, where that can be."""
    try:
        named = _Named.model_validate(given) if isinstance(given, dict) else _Named.model_validate_json(given)
    except ValidationError:
        return None
    return named.log_id
