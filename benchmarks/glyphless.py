"""Make the font of invisible text in searchable PDFs: ocr_onnx/outputs/glyphless.ttf.

    python -m benchmarks.glyphless

Its glyph is as wide as the font is high, because a reader of PDFs places characters by the widths of their glyphs. Its outline is
a line, which has no area: PDFium leaves out characters whose outline has no extent, and joins two lines whose outlines overlap. The outline
is therefore lower than the font, as that of most letters.
"""

from __future__ import annotations

import io
from typing import Any

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from ocr_onnx.outputs.pdf_font import ASCENT, DESCENT, FONT_FILE, UNITS

BOTTOM, TOP = 50, 550
"""Of the outline: half of the height of the font, in its middle. Boxes of handwritten lines overlap."""

GLYPH = "any"
"""The glyph of all characters; PDF/A forbids to use .notdef."""

EPOCH = 2082844800
"""1970-01-01 in seconds since 1904, the dates in the font: the file must not depend on the day."""


def make() -> bytes:
    """Return the font."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, BOTTOM))
    pen.lineTo((UNITS, TOP))
    pen.closePath()
    builder: Any = FontBuilder(UNITS, isTTF=True)
    builder.setupGlyphOrder([".notdef", GLYPH])
    builder.setupCharacterMap({})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), GLYPH: pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (UNITS, 0), GLYPH: (UNITS, 0)})
    builder.setupHorizontalHeader(ascent=ASCENT, descent=DESCENT)
    builder.setupNameTable({"familyName": "Glyphless", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=ASCENT, sTypoDescender=DESCENT)
    builder.setupPost(keepGlyphNames=False)
    builder.font["head"].created = builder.font["head"].modified = EPOCH
    builder.font.recalcTimestamp = False
    buffer = io.BytesIO()
    builder.save(buffer)
    return buffer.getvalue()


if __name__ == "__main__":
    FONT_FILE.write_bytes(make())
