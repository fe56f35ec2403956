"""Read an image with your own recognition model: python own_model.py page.png my_rec.onnx.

Make the model from a Paddle directory with: ocr-onnx convert ./my_finetuned_rec -o my_rec.onnx
"""

import sys

from ocr_onnx import OCR, Models

image, model = sys.argv[1:]
ocr = OCR(models=Models(text_recognition=model))
print(ocr.metadata()["text_recognition"].name, file=sys.stderr)
for result in ocr.predict(image):
    print(result.text)
