"""Convert the result of a page to the native dictionary, `OCRResult.to_dict()`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ocr_onnx.outputs.paddle import printable_path
from ocr_onnx.outputs.plain import page_text

if TYPE_CHECKING:
    from ocr_onnx.types import Block, RecognizedPage, TextLine, Word


def to_dict(result: RecognizedPage) -> dict[str, Any]:
    """Return the result in JSON types. Points are (x, y) in pixels of the recognized page, after rotation and unwarping."""
    height, width = result.page.image.shape[:2]
    return {
        "path": printable_path(result.source),
        "page": None if result.source.index is None else result.source.index + 1,
        "pages": result.source.count,
        "width": width,
        "height": height,
        "resolution": result.source.resolution,
        "scale": result.source.scale,
        "angle": result.angle,
        "from_pdf": result.source.layer is not None,
        "text": page_text(result),
        "lines": [_line(line) for line in result.lines],
        "blocks": [_block(block) for block in result.blocks],
        "warnings": list(result.warnings),
    }


def _block(block: Block) -> dict[str, Any]:
    return {
        "kind": block.kind,
        "text": block.text,
        "quad": block.box.tolist(),
        "rows": [[_line(line) for line in row] for row in block.rows],
    }


def _line(line: TextLine) -> dict[str, Any]:
    found = {"text": line.text, "score": line.score, "quad": line.box.quad.tolist()}
    if line.model is not None:
        found["model"] = line.model
    return found if line.words is None else {**found, "words": _words(line.words)}


def _words(words: Sequence[Word]) -> list[dict[str, Any]]:
    return [{"text": word.text, "score": word.score, "quad": word.box.tolist()} for word in words]
