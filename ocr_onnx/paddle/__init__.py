"""PaddleOCR's interface: its classes, parameters, results and pipeline files."""
