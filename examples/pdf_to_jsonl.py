"""Write one JSON object per page of a PDF: python pdf_to_jsonl.py report.pdf report.jsonl."""

import json
import sys
from pathlib import Path

from ocr_onnx import OCR

source, target = sys.argv[1:]
ocr = OCR()
with Path(target).open("w", encoding="utf-8") as file:
    # predict_iter holds a few pages in memory, predict all of them.
    for result in ocr.predict_iter(source):
        file.write(json.dumps(result.to_dict(), ensure_ascii=False) + "\n")
