"""`python -m ocr_onnx` is the command `ocr-onnx`."""

from ocr_onnx.cli import main

main(prog_name="ocr-onnx")
