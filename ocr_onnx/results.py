"""The result of a page, with its conversion to a dictionary, a file and an image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocr_onnx.declarations import checked_path
from ocr_onnx.errors import UnmappableError
from ocr_onnx.types import Quad, RecognizedPage

if TYPE_CHECKING:
    import PIL.Image


def save(results: Iterable[OCRResult], path: str | Path, format: str | None = None) -> Path:  # noqa: A002 the command line's word
    """Write the pages of a document to one file and return its path; the format follows from the suffix if not given.

    Raises OptionError for an unknown format or suffix, and OutputError if the file cannot be written.
    """
    from ocr_onnx.outputs import formats

    return formats.save(results, checked_path("path", path), format)


@dataclass(frozen=True, slots=True, eq=False)
class OCRResult(RecognizedPage):
    """One page with its text. Coordinates are pixels of `page.image`."""

    def __repr__(self) -> str:
        """Return a short line: the arrays of the page would fill the screen."""
        height, width = self.page.image.shape[:2]
        page = "" if self.source.index is None else f", page {self.source.index + 1} of {self.source.count}"
        return (
            f"<OCRResult of {self.source.path or 'an image'}{page}: {width} x {height} pixels, {len(self.lines)} lines>"
        )

    def on_source(self, quad: Quad) -> Quad:
        """Map points (x, y) of `page.image`, such as a box's corners, to points of `source.image`.

        Raises UnmappableError if the page was unwarped, which has no inverse.
        """
        if self.options.use_doc_unwarping:
            raise UnmappableError("the page was unwarped, so its points cannot be mapped back: turn unwarping off")
        from ocr_onnx.outputs.placed import on_source

        return on_source(self, quad)

    @property
    def text(self) -> str:
        """The text in reading order: paragraphs, with an empty line between them.

        If `options.reading_order` is "paddle", the text of `lines`, one line each, without empty lines.
        """
        from ocr_onnx.outputs.plain import page_text

        return page_text(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a dictionary of JSON types: page size, rotation, lines and blocks."""
        from ocr_onnx.outputs.native import to_dict

        return to_dict(self)

    @property
    def json(self) -> dict[str, dict[str, Any]]:
        """The result with PaddleOCR's names, under the key `res`, as JSON types."""
        from ocr_onnx.outputs.paddle import to_dict

        return {"res": to_dict(self)}

    @property
    def img(self) -> dict[str, PIL.Image.Image]:
        """Images of the result.

        `ocr_res_img`: the page with its boxes, next to the recognized text at the same positions; `preprocessed_img`: the
        page before and after rotation and unwarping.
        """
        from ocr_onnx.outputs.drawing import draw_images

        return draw_images(self)

    def print(self, format_json: bool = True, indent: int = 4, ensure_ascii: bool = False) -> None:
        """Print `json`, indented, or as a dictionary on one line."""
        from ocr_onnx.outputs.saving import print_result

        print_result(self.json, indent, formatted=format_json, ensure_ascii=ensure_ascii)

    def save(self, path: str | Path, format: str | None = None) -> Path:  # noqa: A002 the command line's word
        """Write the page to a file and return its path; the format follows from the suffix if not given.

        `ocr_onnx.save` writes several pages.

        Raises OptionError for an unknown format or suffix, and OutputError if the file cannot be written.
        """
        from ocr_onnx.outputs import formats

        return formats.save([self], checked_path("path", path), format)

    def save_to_json(self, save_path: str | Path, indent: int = 4, ensure_ascii: bool = False) -> Path:
        """Write `json` to a .json file, or to `<input's stem>_res.json` in a folder; return the file's path."""
        from ocr_onnx.outputs.saving import save_json

        return save_json(
            self.json["res"], self.source, checked_path("save_path", save_path), indent, ensure_ascii=ensure_ascii
        )

    def save_to_img(self, save_path: str | Path) -> list[Path]:
        """Write `img` to `<input's stem>_<key>.<suffix>` in a folder, or to a file, others than the first beside it; return the paths."""
        from ocr_onnx.outputs.saving import save_images

        return save_images(self.img, self.source, checked_path("save_path", save_path))
