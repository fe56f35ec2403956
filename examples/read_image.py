"""Print the text of an image: python read_image.py page.png."""

import sys

from ocr_onnx import OCR

ocr = OCR()
for result in ocr.predict(sys.argv[1]):
    print(result.text)
