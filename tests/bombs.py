"""Files that are made to do harm, small enough to be made here, and what decoding them takes."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096


def png(width: int, height: int, rows: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of one bit a pixel, with the data of so many empty rows."""
    squeeze = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8) if rows else b""
    packed = b"".join(squeeze.compress(row * 100) for _ in range(rows // 100)) + squeeze.flush()
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)),
        *chunks,
        (b"IDAT", packed),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )


def tiff(width: int, height: int, *extra: tuple[int, int], frames: int = 1) -> bytes:
    """A TIFF whose frames say what is wished of them, and hold nothing."""
    tags = sorted(
        [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 1), *extra]
    )
    entries = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    size = len(entries) + 4
    data = bytearray(b"II*\0" + struct.pack("<I", 8))
    for frame in range(frames):
        following = 0 if frame + 1 == frames else 8 + size * (frame + 1)
        data += entries + struct.pack("<I", following)
    return bytes(data)


def document(*objects: bytes) -> bytes:
    """A PDF of these objects, of which the first is the catalog."""
    data = b"%PDF-1.7\n"
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
    return data + b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start)


def drawing(content: bytes, *more: bytes, box: bytes = b"0 0 600 800", resources: bytes = b"") -> bytes:
    """A PDF of one page that draws this."""
    packed = zlib.compress(content, 9)
    return document(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[%s]/Contents 4 0 R/Resources<<%s>>>>" % (box, resources),
        b"<</Length %d/Filter/FlateDecode>>stream\n%s\nendstream" % (len(packed), packed),
        *more,
    )


def slow() -> bytes:
    """A PDF that takes a minute to draw, and little memory."""
    return drawing(b"0 0 600 800 re f\n" * 60_000)


def squiggly(width: int) -> tuple[bytes, bytes]:
    """A page, as object 3 of a document, whose squiggly underline is so wide (points), and its annotation, as object 4.

    PDFium draws each wave before it clips them to the page: 10**9 points take minutes and gigabytes.
    """
    corners = b"0 20 %d 20 0 0 %d 0" % (width, width)
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 50]/Annots[4 0 R]>>"
    return page, b"<</Type/Annot/Subtype/Squiggly/Rect[0 0 %d 20]/QuadPoints[%s]/C[1 0 0]>>" % (width, corners)


def form(content: bytes, resources: bytes) -> bytes:
    return b"<</Type/XObject/Subtype/Form/BBox[0 0 600 800]/Resources<<%s>>/Length %d>>stream\n%s\nendstream" % (
        resources,
        len(content),
        content,
    )


def nested_forms(depth: int, each: int) -> bytes:
    """Forms each of which draws the next several times."""
    name = b"/XObject<</F %d 0 R>>"
    forms = [form(b"/F Do " * each, name % (6 + i)) for i in range(depth)]
    return drawing(b"/F Do", *forms, form(b"0 0 600 800 re f", b""), resources=name % 5)


def gif(frames: int, side: int = 1) -> bytes:
    """A GIF that moves."""
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6) + frame * frames + b"\x3b"
