"""The HTTP service: POST /ocr as PaddleX serves it, bounded in everything. `pip install 'ocr-onnx[serve,cpu]'`."""
