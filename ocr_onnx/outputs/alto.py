"""Write pages as ALTO 4: XML in which each block, line and word has its box."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocr_onnx import __version__
from ocr_onnx.outputs.hocr import escaped
from ocr_onnx.outputs.paddle import printable_path
from ocr_onnx.outputs.placed import Box, PlacedBlock, PlacedLine, PlacedWord, page_number, placed_blocks, size_of

if TYPE_CHECKING:
    from ocr_onnx.types import Quad, RecognizedPage

NAMESPACE = "http://www.loc.gov/standards/alto/ns-v4#"

SCHEMA = "http://www.loc.gov/standards/alto/v4/alto-4-4.xsd"


def head(first: RecognizedPage) -> str:
    """Return the beginning of a document, with the name of the first page's file."""
    name = printable_path(first.source)
    image = (
        ""
        if name is None
        else f"""
  <sourceImageInformation>
   <fileName>{escaped(name)}</fileName>
  </sourceImageInformation>"""
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<alto xmlns="{NAMESPACE}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="{NAMESPACE} {SCHEMA}">
 <Description>
  <MeasurementUnit>pixel</MeasurementUnit>{image}
  <Processing ID="processing">
   <processingSoftware>
    <softwareName>ocr-onnx</softwareName>
    <softwareVersion>{__version__}</softwareVersion>
   </processingSoftware>
  </Processing>
 </Description>
 <Layout>
"""


def page(result: RecognizedPage, number: int) -> str:
    """Return one page; `number`, counted from 1, is its place in the output."""
    width, height = size_of(result)
    blocks = (_block(block, f"{number}_{i}") for i, block in enumerate(placed_blocks(result), 1))
    return (
        f'  <Page ID="page_{number}" PHYSICAL_IMG_NR="{page_number(result, number)}" WIDTH="{width}" HEIGHT="{height}">\n'
        f"   <PrintSpace {_place(Box(0, 0, width, height))}>\n{''.join(blocks)}   </PrintSpace>\n  </Page>\n"
    )


def _place(box: Box) -> str:
    return f'HPOS="{box.left}" VPOS="{box.top}" WIDTH="{box.width}" HEIGHT="{box.height}"'


def _block(block: PlacedBlock, name: str) -> str:
    lines = "".join(_line(line, f"{name}_{i}") for i, line in enumerate(block.lines, 1))
    return f'    <TextBlock ID="block_{name}" {_place(block.box)}>\n{lines}    </TextBlock>\n'


def _line(line: PlacedLine, name: str) -> str:
    words = "".join(
        _word(word, f"{name}_{i}", with_shape=not line.is_upright) + ("<SP/>" * word.space_after)
        for i, word in enumerate(line.words, 1)
    )
    shape = "" if line.is_upright else _shape(line.quad)
    return f'     <TextLine ID="line_{name}" {_place(line.box)}>{shape}{words}</TextLine>\n'


def _word(word: PlacedWord, name: str, *, with_shape: bool) -> str:
    begin = f'<String ID="word_{name}" CONTENT="{escaped(word.text)}" {_place(word.box)} WC="{word.score:.2f}"'
    return f"{begin}>{_shape(word.quad)}</String>" if with_shape else f"{begin}/>"


def _shape(quad: Quad) -> str:
    points = " ".join(f"{x},{y}" for x, y in quad.tolist())
    return f'<Shape><Polygon POINTS="{points}"/></Shape>'
