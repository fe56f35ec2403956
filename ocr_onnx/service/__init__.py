"""The HTTP service: POST /ocr with PaddleX's protocol, with limits. `pip install 'ocr-onnx[serve,cpu]'`."""
