"""What a page was read to: records to work with, and their shapes as dictionary, file and picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocr_onnx.errors import UnmappableError
from ocr_onnx.stages import geometry
from ocr_onnx.types import Orientation, Page, Quad, TextBox, TextLine

if TYPE_CHECKING:
    import PIL.Image

    from ocr_onnx.pipeline import OCROptions


@dataclass(frozen=True, slots=True, eq=False)
class OCRResult:
    """One page, read. Coordinates are those of `page.image`."""

    source: Page
    """The page as it was given."""
    page: Page
    """The page as it was read: turned upright and made flat, where that was asked for."""
    orientation: Orientation | None
    """How it stood; None where that stage was off."""
    boxes: tuple[TextBox, ...]
    """All that detection found, in reading order."""
    lines: tuple[TextLine, ...]
    """What was read in them, less what lies below score_thresh."""
    options: OCROptions

    @property
    def angle(self) -> int | None:
        """By how many degrees the page was turned counter-clockwise; None where that stage was off."""
        return None if self.orientation is None else self.orientation.angle

    def on_source(self, quad: Quad) -> Quad:
        """Points (x, y) of `page.image`, such as a box's corners, as points of `source.image`.

        Raises UnmappableError where the page was unwarped: there is no way back.
        """
        if self.options.use_doc_unwarping:
            raise UnmappableError("the page was unwarped, and its points cannot be found on the input: turn that off")
        height, width = self.source.image.shape[:2]
        return geometry.turned_back(quad, self.angle or 0, (width, height))

    @property
    def text(self) -> str:
        """The lines' text, one line each; lines in which nothing was read are left out."""
        return "\n".join(line.text for line in self.lines if line.text)

    @property
    def json(self) -> dict[str, dict[str, Any]]:
        """The result as PaddleOCR names its parts, under the key `res`, in types that JSON knows."""
        from ocr_onnx.outputs.saving import to_dict

        return {"res": to_dict(self)}

    @property
    def img(self) -> dict[str, PIL.Image.Image]:
        """`ocr_res_img`: the page with its boxes, and beside it the text in its place. `preprocessed_img`: before and after turning and unwarping."""
        from ocr_onnx.outputs.drawing import pictures

        return pictures(self)

    def print(self, format_json: bool = True, indent: int = 4, ensure_ascii: bool = False) -> None:
        """Print `json`, indented, or on one line as a dictionary."""
        from ocr_onnx.outputs.saving import show

        show(self.json, indent, formatted=format_json, ensure_ascii=ensure_ascii)

    def save_to_json(self, save_path: str | Path, indent: int = 4, ensure_ascii: bool = False) -> Path:
        """Write `json` to a .json file, or to `<input's stem>_res.json` in a folder; returns the file."""
        from ocr_onnx.outputs.saving import save_json

        return save_json(self.json["res"], self.source, Path(save_path), indent, ensure_ascii=ensure_ascii)

    def save_to_img(self, save_path: str | Path) -> list[Path]:
        """Write `img` to a picture file, or to `<input's stem>_<key>.<suffix>` in a folder; returns the files."""
        from ocr_onnx.outputs.saving import save_pictures

        return save_pictures(self.img, self.source, Path(save_path))
