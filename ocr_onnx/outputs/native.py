"""A page's result as a dictionary of our own names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ocr_onnx.types import RecognizedPage, TextLine, Word


def to_dict(result: RecognizedPage) -> dict[str, Any]:
    """The result in types that JSON has. Points are (x, y) in pixels of the page as it was recognized."""
    height, width = result.page.image.shape[:2]
    return {
        "path": result.source.path,
        "page": None if result.source.index is None else result.source.index + 1,
        "pages": result.source.count,
        "width": width,
        "height": height,
        "angle": result.angle,
        "text": result.text,
        "lines": [_line(line) for line in result.lines],
    }


def _line(line: TextLine) -> dict[str, Any]:
    found = {"text": line.text, "score": line.score, "quad": line.box.quad.tolist()}
    return found if line.words is None else {**found, "words": _words(line.words)}


def _words(words: Sequence[Word]) -> list[dict[str, Any]]:
    return [{"text": word.text, "quad": word.box.tolist()} for word in words]
