"""Results of PaddleOCR's classes: dictionaries with methods for printing, drawing and saving."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ocr_onnx.declarations import checked_path
from ocr_onnx.outputs import saving
from ocr_onnx.paddle.parameters import refuse
from ocr_onnx.types import Page

if TYPE_CHECKING:
    import PIL.Image

MEMORY_KEYS = frozenset({"input_img", "output_img", "text_word_region"})
"""Keys that exist only in memory: PaddleOCR does not write them."""

Images = Mapping[str, "PIL.Image.Image"]


class PaddleResult(dict[str, Any]):
    """The result of one image with PaddleOCR's keys; values are arrays if they are arrays in PaddleOCR."""

    def __init__(self, page: Page, content: Mapping[str, Any], images: Callable[[], Images]) -> None:
        super().__init__(content)
        self._page, self._images = page, images

    @property
    def json(self) -> dict[str, dict[str, Any]]:
        """`{"res": …}` in JSON types, including changes to this dictionary. This is the content that save_to_json writes."""
        return {"res": json_value(self)}

    @property
    def img(self) -> dict[str, Any]:
        """The drawn result: one or more images, by name."""
        return dict(self._images())

    def print(self, format_json: bool = True, indent: int = 4, ensure_ascii: bool = False, **names: bool) -> None:
        """Print `json`, indented, or this dictionary with its arrays. `json_format` is another name of `format_json`."""
        formatted = names.pop("json_format", format_json)
        refuse(names)
        content = self.json if formatted else {"res": _without_memory_keys(self)}
        saving.print_result(content, indent, formatted=formatted, ensure_ascii=ensure_ascii)

    def save_to_json(self, save_path: str | Path, indent: int = 4, ensure_ascii: bool = False) -> None:
        """Write the content of `json` to a .json file, or to `<input's stem>_res.json` in a folder. Raises OutputError."""
        saving.save_json(
            json_value(self), self._page, checked_path("save_path", save_path), indent, ensure_ascii=ensure_ascii
        )

    def save_to_img(self, save_path: str | Path) -> None:
        """Write the images to `<input's stem>_<key>.<suffix>` in a folder, or to a file, others than the first beside it."""
        saving.save_images(self._images(), self._page, checked_path("save_path", save_path))

    def save_all(self, save_path: str | Path) -> None:
        """Write the JSON file and the images to a folder."""
        self.save_to_json(save_path)
        self.save_to_img(save_path)


def _is_disabled(value: Any) -> bool:
    """Return whether a value is the preprocessing result of disabled stages: without images, only its angle is left."""
    return isinstance(value, Mapping) and bool(value) and not value.keys() - {*MEMORY_KEYS, "angle"}


def _without_memory_keys(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of `json` with arrays in place of lists."""
    kept = {key: value for key, value in content.items() if key in json_value(content)}
    return {key: _without_memory_keys(value) if isinstance(value, Mapping) else value for key, value in kept.items()}


def json_value(value: Any) -> Any:
    """Convert a value to JSON types, without keys that exist only in memory."""
    if isinstance(value, Mapping):
        kept = {key: each for key, each in value.items() if key not in MEMORY_KEYS}
        return {key: json_value(each) for key, each in kept.items() if not _is_disabled(each)}
    if isinstance(value, list | tuple):
        return [json_value(each) for each in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
