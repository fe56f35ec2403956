"""Read all files of a folder and report those that cannot be read: python folder_with_errors.py scans/ texts/."""

import sys
from pathlib import Path

from ocr_onnx import OCR, OCRError

source, target = map(Path, sys.argv[1:])
ocr = OCR()
failed = 0
for result in ocr.predict_iter(source, return_exceptions=True):
    if isinstance(result, OCRError):
        failed += 1
        print(f"Error: {result}", file=sys.stderr)
        continue
    # The pages of a PDF or TIFF are numbered from 0.
    page = "" if result.source.index is None else f"_{result.source.index}"
    print(result.save(target / f"{Path(str(result.source.path)).stem}{page}.txt"))
sys.exit(1 if failed else 0)
