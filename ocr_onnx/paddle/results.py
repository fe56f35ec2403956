"""Results as PaddleOCR's classes hand them out: dictionaries that print, draw and save themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ocr_onnx.outputs import saving
from ocr_onnx.paddle.parameters import refuse
from ocr_onnx.types import Page

if TYPE_CHECKING:
    import PIL.Image

IN_MEMORY = frozenset({"input_img", "output_img", "text_word_region"})
"""Keys that PaddleOCR does not write."""

Pictures = Mapping[str, "PIL.Image.Image"]


class PaddleResult(dict[str, Any]):
    """What was found in one picture, under PaddleOCR's keys, with arrays where it has arrays."""

    def __init__(self, page: Page, found: Mapping[str, Any], pictures: Callable[[], Pictures]) -> None:
        super().__init__(found)
        self._page, self._pictures = page, pictures

    @property
    def json(self) -> dict[str, dict[str, Any]]:
        """`{"res": …}` in types that JSON knows, with what was changed in the dictionary: what save_to_json writes."""
        return {"res": plain(self)}

    @property
    def img(self) -> dict[str, Any]:
        """The result drawn, a picture or several by name."""
        return dict(self._pictures())

    def print(self, format_json: bool = True, indent: int = 4, ensure_ascii: bool = False, **names: bool) -> None:
        """Print `json`, indented, or on one line as a dictionary; `json_format` is another name of format_json."""
        formatted = names.pop("json_format", format_json)
        refuse(names)
        saving.print_result(self.json, indent, formatted=formatted, ensure_ascii=ensure_ascii)

    def save_to_json(self, save_path: str | Path, indent: int = 4, ensure_ascii: bool = False) -> None:
        """Write the content of `json` to a .json file, or to `<input's stem>_res.json` in a folder."""
        saving.save_json(plain(self), self._page, Path(save_path), indent, ensure_ascii=ensure_ascii)

    def save_to_img(self, save_path: str | Path) -> None:
        """Write the pictures to a file (the last one stays), or to `<input's stem>_<key>.<suffix>` in a folder."""
        saving.save_images(self._pictures(), self._page, Path(save_path))

    def save_all(self, save_path: str | Path) -> None:
        """Write both into a folder."""
        self.save_to_json(save_path)
        self.save_to_img(save_path)


def plain(value: Any) -> Any:
    """The same in types that JSON knows, without what is in memory alone."""
    if isinstance(value, Mapping):
        kept = {key: each for key, each in value.items() if key not in IN_MEMORY}
        # What held nothing else is a stage that was off.
        return {key: plain(each) for key, each in kept.items() if plain(each) != {} or each == {}}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
