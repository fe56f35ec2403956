"""PaddleOCR's names and shapes: its classes, parameters, results and pipeline files."""
