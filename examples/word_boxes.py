"""Print each word with its box (left, top, right, bottom) in pixels: python word_boxes.py page.png."""

import sys

from ocr_onnx import OCR, OCROptions

ocr = OCR(OCROptions(return_word_box=True))
for result in ocr.predict(sys.argv[1]):
    for line in result.lines:
        for word in line.words or ():
            left, top = word.box.min(axis=0)
            right, bottom = word.box.max(axis=0)
            print(left, top, right, bottom, word.text)
