"""Prepare real pictures for verify_models, photographs, receipts and pages, as the pipeline does."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.pictures import spread
from ocr_onnx.inputs import sources
from ocr_onnx.models import store
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.options import DetectionOptions
from ocr_onnx.runtime.session import Session
from ocr_onnx.runtime.threads import cpu_count
from ocr_onnx.stages import detection, geometry, orientation, recognition
from ocr_onnx.types import Image, Tensor

PICTURES = {
    "icdar2015/*.jpg": 10,
    "sroie/*.jpg": 6,
    "zh_pdf_pages/*.png": 5,
    "boarding_pass/general_ocr_002.png": 1,
    "paddleocr_docimgs/doc/imgs_en/*.jpg": 2,
    "paddleocr_docimgs/doc/imgs/*.jpg": 4,
    "tess_test/*.tif": 2,
}
"""How many are taken of each kind: street scenes, receipts, Chinese reports, a boarding pass, mixed ones, book pages."""

SIDE = 960
"""Pictures are reduced to this before detection, in pixels: Paddle takes a second for each."""

CROPS = 2
"""Taken of each picture."""

GROUP = 6
"""Crops are padded to the widest of so many, as in the pipeline."""

EMBEDDED = "PP-OCRv5_mobile_det"
"""Finds the crops."""

DETECTION = DetectionOptions(SIDE, "max")


def real_inputs(metadata: ModelMetadata, data: Path) -> Mapping[str, Tensor]:
    """What a model is given of the pictures in `data`, by the pictures' names; nothing for unwarping."""
    return {f"image {name}": tensor for name, tensor in _tensors(metadata, data)}


def _tensors(metadata: ModelMetadata, data: Path) -> Iterator[tuple[str, Tensor]]:
    if metadata.task == "text_detection":
        for name, picture in pictures(data).items():
            yield name, detection.preprocess(picture, DETECTION, metadata)
    elif metadata.task == "text_recognition":
        cut = crops(data)
        widths = recognition.padded_widths(list(cut.values()), GROUP, metadata.input_shape)
        for (name, crop), width in zip(cut.items(), widths, strict=True):
            yield name, recognition.preprocess(crop, width, metadata.input_shape)
    elif metadata.task == "doc_orientation":
        for number, (name, picture) in enumerate(pictures(data).items()):
            yield name, orientation.preprocess_page(geometry.rotate(picture, number % 4 * 90), metadata)
    elif metadata.task == "textline_orientation":
        for number, (name, crop) in enumerate(crops(data).items()):
            yield name, orientation.preprocess_line(geometry.rotate(crop, number % 2 * 180), metadata)


@functools.cache
def pictures(data: Path) -> Mapping[str, Image]:
    """The pictures by name, spread over each folder."""
    return {
        f"{path.parent.name}/{path.name}": next(iter(sources.read_pages(path))).image for path in spread(data, PICTURES)
    }


@functools.cache
def crops(data: Path) -> Mapping[str, Image]:
    """Lines that the embedded detector finds on the pictures, from the top and the middle of each."""
    path = store.find(EMBEDDED)
    run = Session(path, threads=cpu_count())
    detect = detection.TextDetector(run, ModelMetadata.from_properties(run.properties, str(path)))
    found: dict[str, Image] = {}
    for name, picture in pictures(data).items():
        cut = [geometry.crop(picture, box.quad) for box in geometry.reading_order(detect(picture, DETECTION))]
        cut = [crop for crop in cut if crop.size]
        for number in range(0, len(cut), max(1, len(cut) // CROPS))[:CROPS]:
            found[f"{name} {number}"] = cut[number]
    return found
