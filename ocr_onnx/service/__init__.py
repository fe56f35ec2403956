"""The HTTP service: `ocr-onnx serve`, installed with the extra `serve`."""
