"""Find the text that a PDF page has, and remove the invisible text of an earlier OCR."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ocr_onnx.inputs.pdf_text import INVISIBLE

if TYPE_CHECKING:
    import pikepdf

SHOWING = frozenset({"Tj", "TJ", "'", '"'})
"""Operators that show text."""

MAX_DEPTH = 8
"""Of forms in forms."""


def rendering_modes(page: pikepdf.Page) -> set[int]:
    """Return the rendering modes in which a page and its forms show text; none if it has no text."""
    return {mode for each in (page, *_forms(page.obj)) for mode in _modes(each)}


def remove_invisible(page: pikepdf.Page, document: pikepdf.Pdf) -> None:
    """Remove the text objects of a page and its forms that show invisible text alone."""
    import pikepdf

    for form in _forms(page.obj):
        form.write(pikepdf.unparse_content_stream(_visible(form)))
    page.obj["/Contents"] = pikepdf.Stream(document, pikepdf.unparse_content_stream(_visible(page)))


def _forms(holder: Any, depth: int = 0) -> Iterator[Any]:
    """Yield the form XObjects that a page or a form uses."""
    objects = holder.get("/Resources", {}).get("/XObject", {})
    for each in dict(objects).values():
        if each.get("/Subtype") == "/Form" and depth < MAX_DEPTH:
            yield each
            yield from _forms(each, depth + 1)


def _modes(holder: Any) -> Iterator[int]:
    """Yield the rendering mode of each operator that shows text."""
    for _, mode in _with_modes(holder):
        if mode is not None:
            yield mode


def _with_modes(holder: Any) -> Iterator[tuple[Any, int | None]]:
    """Yield each instruction of a content stream, with the rendering mode if it shows text."""
    import pikepdf

    mode, saved = 0, []
    for instruction in pikepdf.parse_content_stream(holder):
        operator = str(instruction.operator)
        if operator == "q":
            saved.append(mode)
        elif operator == "Q" and saved:
            mode = saved.pop()
        elif operator == "Tr":
            mode = int(instruction.operands[0])
        yield instruction, mode if operator in SHOWING else None


def _visible(holder: Any) -> list[Any]:
    """Return the instructions of a content stream without text objects that show invisible text alone."""
    kept: list[Any] = []
    text: list[Any] = []
    modes: set[int] = set()
    is_text = False
    for instruction, mode in _with_modes(holder):
        operator = str(instruction.operator)
        is_text = is_text or operator == "BT"
        (text if is_text else kept).append(instruction)
        if mode is not None:
            modes.add(mode)
        if operator == "ET":
            kept += text if modes != {INVISIBLE} else []
            text, modes, is_text = [], set(), False
    return kept + text
