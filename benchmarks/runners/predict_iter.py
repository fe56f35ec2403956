"""Read all pictures of a list, from their bytes, in one call of ocr-onnx's predict_iter."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.runners.ocr_onnx import PACKAGES, engine, lines
from benchmarks.runners.protocol import Line, Reader, Settings, serve


def prepare(settings: Settings) -> Reader:
    """As benchmarks.runners.ocr_onnx, for many pictures at once."""
    ocr = engine(settings)

    def read(path: str) -> list[Line]:
        files = [Path(file).read_bytes() for file in json.loads(Path(path).read_text("utf-8"))]
        return [line for page in ocr.predict_iter(files) for line in lines(page)]

    return read


if __name__ == "__main__":
    serve(prepare, PACKAGES)
