"""A user's script: pyright checks it in strict mode against the installed package (`make typed`). It is not run."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from ocr_onnx import (
    OCR,
    DetectionOptions,
    DocImgOrientationClassification,
    InputOptions,
    LineOrientationOptions,
    Models,
    OCRError,
    OCROptions,
    OCRResult,
    Orientation,
    PaddleOCR,
    Page,
    PageOrientationOptions,
    RecognitionOptions,
    Text,
    TextBox,
    TextDetection,
    TextImageUnwarping,
    TextLine,
    TextLineOrientationClassification,
    TextRecognition,
    Word,
    save,
)

options = OCROptions(
    use_doc_unwarping=True,
    page_orientation=PageOrientationOptions(score_thresh=0.5),
    detection=DetectionOptions(limit_side_len=960, limit_type="max"),
    line_orientation=LineOrientationOptions(batch_size=1),
    recognition=RecognitionOptions(padding="own"),
    input=InputOptions(pdf_pages="1-3", max_megapixels=20),
)
assert_type(OCROptions.high_performance(), OCROptions)
engine = OCR(options, models=Models(text_recognition=Path("rec.onnx")), device="gpu:0", cpu_threads=4)

array: NDArray[np.uint8] = np.zeros((100, 200, 3), np.uint8)
with Path("page.png").open("rb") as file:
    results = engine.predict(["page.png", Path("scans"), b"bytes", file, array, PIL.Image.new("RGB", (200, 100))])
assert_type(results, list[OCRResult])
assert_type(engine.warm_up(), int)

for result in engine.predict_iter("scan.pdf"):
    assert_type(result, OCRResult)
    assert_type(result.text, str)
    assert_type(result.source, Page)
    assert_type(result.source.path, str | None)
    assert_type(result.page.image, NDArray[np.uint8])
    assert_type(result.orientation, Orientation | None)
    assert_type(result.boxes, tuple[TextBox, ...])
    assert_type(result.lines, tuple[TextLine, ...])
    assert_type(result.img["ocr_res_img"], PIL.Image.Image)
    assert_type(result.save("page.txt"), Path)
    assert_type(save([result], "page.pdf"), Path)
    assert_type(result.save_to_json("output"), Path)
    assert_type(result.save_to_img("output"), list[Path])
    for line in result.lines:
        assert_type((line.text, line.score), tuple[str, float])
        assert_type(result.on_source(line.box.quad), NDArray[np.int32])
        assert_type(line.words, tuple[Word, ...] | None)

for outcome in engine.predict_iter("scans", return_exceptions=True):
    if isinstance(outcome, OCRError):
        assert_type(str(outcome), str)
    else:
        assert_type(outcome, OCRResult)

boxes = engine.detect(array, options.detection)
assert_type(boxes, list[TextBox])
assert_type(engine.recognize([array], options.recognition), list[Text])

with PaddleOCR(lang="ch", use_textline_orientation=False, text_det_limit_side_len=960) as compatible:
    for page in compatible.predict_iter("page.png", text_rec_score_thresh=0.5):
        page.print()
        page.save_all("output")
        assert_type(page.record, OCRResult)

for module in (
    TextDetection(model_name="PP-OCRv5_mobile_det", thresh=0.3),
    TextRecognition(device="cpu"),
    DocImgOrientationClassification(topk=2),
    TextLineOrientationClassification(),
    TextImageUnwarping(),
):
    for found in module.predict(array, batch_size=2):
        found.save_to_json("output")
