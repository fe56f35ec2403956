"""`ocr_onnx.converters` under the name that it has in a checkout and in the source distribution; wheels leave it out."""

from ocr_onnx.converters import convert, take_in

__all__ = ["convert", "take_in"]
