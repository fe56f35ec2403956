"""`python -m ocr_onnx` is the command `ocr-onnx`."""

from ocr_onnx.cli.main import main

main(prog_name="ocr-onnx")
