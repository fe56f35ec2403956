"""Use PaddleOCR's class and result keys: python paddleocr_drop_in.py page.png."""

import sys

from ocr_onnx import PaddleOCR

ocr = PaddleOCR(use_doc_unwarping=False, text_det_limit_side_len=960, text_det_limit_type="max")
for result in ocr.predict(sys.argv[1]):
    for text, score in zip(result["rec_texts"], result["rec_scores"], strict=True):
        print(f"{score:.3f} {text}")
