"""Write pages as hOCR 1.2: HTML in which each block, line and word has its box."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ocr_onnx import __version__
from ocr_onnx.outputs.paddle import printable_path
from ocr_onnx.outputs.placed import Box, PlacedBlock, PlacedLine, page_number, placed_blocks, size_of

if TYPE_CHECKING:
    from ocr_onnx.types import RecognizedPage

XML_CONTROLS = dict.fromkeys({*range(0x20), 0xFFFE, 0xFFFF} - {0x9, 0xA, 0xD}, "\ufffd")
"""Characters that XML forbids, each with the replacement character."""


def head(_: RecognizedPage) -> str:
    """Return the beginning of a document."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
 <head>
  <title>ocr-onnx</title>
  <meta http-equiv="Content-Type" content="text/html; charset=utf-8"/>
  <meta name="ocr-system" content="ocr-onnx {__version__}"/>
  <meta name="ocr-capabilities" content="ocr_page ocr_carea ocr_par ocr_line ocrx_word ocrp_wconf"/>
 </head>
 <body>
"""


def page(result: RecognizedPage, number: int) -> str:
    """Return one page; `number`, counted from 1, is its place in the output."""
    width, height = size_of(result)
    image = escaped(printable_path(result.source) or "")
    properties = [f'image "{image}"', _bbox(Box(0, 0, width, height)), f"ppageno {page_number(result, number) - 1}"]
    if result.source.resolution is not None:
        dpi = round(result.source.resolution)
        properties.append(f"scan_res {dpi} {dpi}")
    blocks = (_block(block, f"{number}_{i}") for i, block in enumerate(placed_blocks(result), 1))
    title = "; ".join(properties)
    return f"  <div class='ocr_page' id='page_{number}' title='{title}'>\n{''.join(blocks)}  </div>\n"


def escaped(text: str) -> str:
    """Return a text for XML."""
    return escape(text.translate(XML_CONTROLS))


def _bbox(box: Box) -> str:
    return "bbox " + " ".join(map(str, box))


def _block(block: PlacedBlock, name: str) -> str:
    lines = "".join(_line(line, f"{name}_{i}") for i, line in enumerate(block.lines, 1))
    title = _bbox(block.box)
    return (
        f"   <div class='ocr_carea' id='block_{name}' title='{title}'>\n"
        f"    <p class='ocr_par' id='par_{name}' title='{title}'>\n{lines}    </p>\n   </div>\n"
    )


def _line(line: PlacedLine, name: str) -> str:
    properties = [_bbox(line.box), f"x_size {line.size:.0f}"]
    if not line.is_upright:
        properties.append(f"textangle {line.angle:.1f}")
    words = "".join(
        f"<span class='ocrx_word' id='word_{name}_{i}' title='{_bbox(word.box)}; x_wconf {word.confidence}'>"
        f"{escaped(word.text)}</span>{' ' * word.space_after}"
        for i, word in enumerate(line.words, 1)
    )
    return f"     <span class='ocr_line' id='line_{name}' title='{'; '.join(properties)}'>{words}</span>\n"
