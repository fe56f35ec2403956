"""What ocr-onnx is measured by: fidelity to the reference, and later accuracy, latency and service load."""
