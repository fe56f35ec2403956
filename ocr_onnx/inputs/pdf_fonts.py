"""Give PDFium the fonts that a PDF does not embed, from the installed font packages, and remember those that are missing.

PDFium has fonts for the Latin script. For a Chinese, Japanese or Korean font that is not installed, it takes one from the system's
folders, which may lack the glyphs, or draws nothing.
"""

from __future__ import annotations

import ctypes
import struct
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pypdfium2

from ocr_onnx.errors import OptionError
from ocr_onnx.inputs import fonts
from ocr_onnx.inputs.page_warnings import warn

SHIFT_JIS, HANGUL, GB2312, BIG5 = 128, 129, 134, 136
"""Character sets, by the numbers of Windows."""

SAMPLES = {SHIFT_JIS: ("あ", "JP"), HANGUL: ("한", "KR"), GB2312: ("中", "SC"), BIG5: ("繁", "TC")}
"""A character that a font of the character set has, and the language of the face in a font collection."""

WHOLE_FONT, WHOLE_COLLECTION = 0, int.from_bytes(b"ttcf", "big")
"""The tables by which PDFium asks for the bytes from the face to the end of the file, and for the whole font collection."""

FIRST_FACE = 12
"""Offset in a font collection of the offset of its first face."""


class _InstalledFonts(pypdfium2.PdfSysfontBase):  # type: ignore[misc]
    """The fonts of the system, and those of font packages for the character sets in SAMPLES."""

    def __init__(self) -> None:
        super().__init__()
        self.missing: set[str] = set()
        """The names of fonts that neither the system nor a font package replaces."""
        self._data: dict[int, _FontData] = {}

    def MapFont(self, _: Any, *wanted: Any) -> Any:  # noqa: N802 PDFium's name
        """Return the handle of a font; `wanted` is weight, whether italic, character set, pitch, name, and a pointer."""
        charset, name = wanted[2], wanted[4]
        if charset not in SAMPLES:
            return self.default.MapFont(self.default, *wanted)
        if named := self.default.GetFont(self.default, name):
            return named
        if (data := _font_data(charset)) is not None:
            self._data[data.handle] = data
            return data.handle
        found = self.default.MapFont(self.default, *wanted)
        if not found:
            self.missing.add(ctypes.string_at(name).decode("utf-8", "replace"))
        return found

    def GetFontData(self, _: Any, handle: int, table: int, buffer: Any, size: int) -> int:  # noqa: N802
        """Copy a table of a font to `buffer` if it is large enough; return the table's size."""
        if (data := self._data.get(handle)) is None:
            return int(self.default.GetFontData(self.default, handle, table, buffer, size))
        part = data.table(table)
        if buffer and size >= len(part):
            ctypes.memmove(buffer, part, len(part))
        return len(part)

    def GetFaceName(self, _: Any, handle: int, buffer: Any, size: int) -> int:  # noqa: N802
        """Return the length of the face's name; 0 if it is not known."""
        return 0 if handle in self._data else self.default.GetFaceName(self.default, handle, buffer, size)

    def GetFontCharset(self, _: Any, handle: int) -> int:  # noqa: N802
        """Return the character set of a font."""
        data = self._data.get(handle)
        return int(self.default.GetFontCharset(self.default, handle)) if data is None else data.charset

    def DeleteFont(self, _: Any, handle: int) -> None:  # noqa: N802
        """Release a font; those of font packages are kept."""
        if handle not in self._data:
            self.default.DeleteFont(self.default, handle)


class _FontData:
    """The content of a font file, and a handle for PDFium that no other font has: an address that is kept."""

    def __init__(self, path: Path, charset: int) -> None:
        self.charset = charset
        self._address = ctypes.create_string_buffer(1)
        self.handle: int = ctypes.addressof(self._address)
        self._content = path.read_bytes()
        self._is_collection = self._content.startswith(b"ttcf")
        face = fonts.face_index(path, SAMPLES[charset][1])
        self._face_at = struct.unpack_from(">I", self._content, FIRST_FACE + 4 * face)[0] if self._is_collection else 0

    def table(self, table: int) -> bytes:
        """Return the bytes for `table`; none for a single table, which PDFium then reads from the whole font."""
        if table == WHOLE_FONT:
            return self._content[self._face_at :]
        return self._content if table == WHOLE_COLLECTION and self._is_collection else b""


@cache
def _font_data(charset: int) -> _FontData | None:
    with suppress(OptionError, OSError):  # PDFium calls this, and cannot pass exceptions on.
        path = fonts.find_font(SAMPLES[charset][0])
        return None if path is None else _FontData(path, charset)
    return None


@cache
def installed_fonts() -> _InstalledFonts | None:
    """Register the installed fonts with PDFium, at the first call; None if the application has registered fonts of its own.

    The caller holds the lock of PDFium.
    """
    if pypdfium2.PdfSysfontBase.SINGLETON is not None:
        return None
    made = _InstalledFonts()
    made.setup()
    return made


def find_installed() -> list[Path]:
    """Search the folders of fonts now, because a sandbox will forbid it; return the files of the fonts."""
    found = []
    for sample, _ in SAMPLES.values():
        with suppress(OptionError, OSError):
            found.append(fonts.find_font(sample))
    return [path for path in found if path is not None]


def warn_of_missing(page: pypdfium2.PdfPage, name: str) -> None:
    """Warn if the text of a rendered page uses a font for which no other one is installed; `name` is the page's name."""
    known = installed_fonts()
    if known is None or not known.missing:
        return
    texts = page.get_objects(filter=[pypdfium2.raw.FPDF_PAGEOBJ_TEXT])
    used = {text.get_font().get_base_name() for text in texts}
    if found := sorted(used & known.missing):
        warn(
            f"{name} uses the font {', '.join(found)}, which is neither in the PDF nor installed, so its text is missing: pip install "
            f"{fonts.CJK_PACKAGE}, or set {fonts.FONT_VARIABLE} to a font file"
        )
