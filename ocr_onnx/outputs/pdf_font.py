"""The font of invisible text in PDFs: it has no outlines, and a code for each character that a document uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pikepdf

FONT_FILE = Path(__file__).parent / "glyphless.ttf"
"""Made by `python -m benchmarks.glyphless`."""

UNITS = 1000
"""The height of the font, and the width of each character."""

ASCENT, DESCENT = 800, -200

MAX_CODES = 0xFFFF
"""Codes have two bytes; 0 is none."""

GLYPH = b"\0\1"
"""The index of the glyph that all characters have; the first is .notdef."""

MAPPED_AT_ONCE = 100
"""The largest number of codes in one part of a character map."""

REPLACEMENT = "\ufffd"

CMAP = """/CIDInit /ProcSet findresource begin
12 dict begin
begincmap
/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def
/CMapName /Adobe-Identity-UCS def
/CMapType 2 def
1 begincodespacerange
<0000> <FFFF>
endcodespacerange
{maps}
endcmap
CMapName currentdict /CMap defineresource pop
end
end
"""


class GlyphlessFont:
    """The font of one document; codes are given to characters as they occur."""

    def __init__(self, document: pikepdf.Pdf) -> None:
        self._document = document
        self._codes: dict[str, int] = {}
        self.object: pikepdf.Object = document.make_indirect(self._dictionary())
        """The font's dictionary, complete after `finish`."""

    def encoded(self, text: str) -> str:
        """Return a text as a hexadecimal string of the font."""
        return "".join(f"{self._code(character):04X}" for character in text)

    def finish(self) -> None:
        """Write the maps from codes to characters and to the glyph."""
        import pikepdf

        glyphs = pikepdf.Stream(self._document, GLYPH * (len(self._codes) + 1))
        self.object["/DescendantFonts"][0]["/CIDToGIDMap"] = self._document.make_indirect(glyphs)
        cmap = CMAP.format(maps="\n".join(self._maps()))
        self.object["/ToUnicode"] = pikepdf.Stream(self._document, cmap.encode("ascii"))

    def _code(self, character: str) -> int:
        if len(self._codes) >= MAX_CODES - 1 and character not in self._codes:
            character = REPLACEMENT
        return self._codes.setdefault(character, len(self._codes) + 1)

    def _maps(self) -> Iterator[str]:
        codes = list(self._codes.items())
        for start in range(0, len(codes), MAPPED_AT_ONCE):
            part = codes[start : start + MAPPED_AT_ONCE]
            yield f"{len(part)} beginbfchar"
            yield from (f"<{code:04X}> <{c.encode('utf-16-be', 'replace').hex().upper()}>" for c, code in part)
            yield "endbfchar"

    def _dictionary(self) -> pikepdf.Dictionary:
        import pikepdf
        from pikepdf import Dictionary, Name

        document = self._document
        file = pikepdf.Stream(document, FONT_FILE.read_bytes())
        file["/Length1"] = FONT_FILE.stat().st_size
        descriptor = Dictionary(
            Type=Name.FontDescriptor,
            FontName=Name.Glyphless,
            # Fixed width, and not of the Latin alphabet.
            Flags=5,
            FontBBox=[0, DESCENT, UNITS, ASCENT],
            ItalicAngle=0,
            Ascent=ASCENT,
            Descent=DESCENT,
            CapHeight=ASCENT,
            StemV=80,
            FontFile2=document.make_indirect(file),
        )
        descendant = Dictionary(
            Type=Name.Font,
            Subtype=Name.CIDFontType2,
            BaseFont=Name.Glyphless,
            CIDSystemInfo=Dictionary(
                Registry=pikepdf.String("Adobe"), Ordering=pikepdf.String("Identity"), Supplement=0
            ),
            DW=UNITS,
            FontDescriptor=document.make_indirect(descriptor),
        )
        return Dictionary(
            Type=Name.Font,
            Subtype=Name.Type0,
            BaseFont=Name.Glyphless,
            Encoding=Name("/Identity-H"),
            DescendantFonts=[document.make_indirect(descendant)],
        )
