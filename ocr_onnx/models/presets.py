"""Presets: models and options that are chosen together, for speed or for accuracy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocr_onnx.declarations import check_text
from ocr_onnx.errors import OptionError, shortened
from ocr_onnx.models.zoo import nearest
from ocr_onnx.options import Models, OCROptions, changed, places


@dataclass(frozen=True, slots=True)
class Preset:
    """Models of detection and recognition, with values of options by declared names."""

    name: str
    help: str
    text_detection: str
    text_recognition: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, options: OCROptions) -> OCROptions:
        """Return the options with the preset's values for those that have their default."""
        default = {place.declaration.name for place in places() if place.of(options) == place.default}
        return changed(options, {name: value for name, value in self.values.items() if name in default})


DEFAULT = Preset(
    "default", "best accuracy of the embedded models", str(Models().text_detection), str(Models().text_recognition)
)

PRESETS: Mapping[str, Preset] = {
    each.name: each
    for each in (
        Preset(
            "fast",
            "shortest time, for clear text",
            "PP-OCRv6_tiny_det",
            "PP-OCRv6_tiny_rec",
            {"text_det_limit_side_len": 960, "text_det_limit_type": "max", "text_rec_padding": "own"},
        ),
        DEFAULT,
        Preset(
            "accurate",
            "largest models, PaddleOCR 3.7's default; downloaded",
            "PP-OCRv6_medium_det",
            "PP-OCRv6_medium_rec",
        ),
        Preset(
            "server",
            "models of PaddleOCR's documentation page; downloaded",
            "PP-OCRv5_server_det",
            "PP-OCRv5_server_rec",
        ),
    )
}


def preset(name: str) -> Preset:
    """Return a preset; raise OptionError, with the most similar name, if there is none."""
    found = PRESETS.get(check_text("preset", name))
    if found is None:
        raise OptionError(f"preset is {shortened(repr(name))}; {nearest(name, PRESETS, 'ocr-onnx models presets')}")
    return found


def table() -> str:
    """Return the presets with their models, options and measurements, as lines of text."""
    figures = measured()
    lines = [f"{'':<10} {'models':<45} {' '.join(f'{name:>9}' for name in figures['sets'])}  options"]
    for each in PRESETS.values():
        found = figures["presets"].get(each.name, {})
        scores = " ".join(f"{_figure(found.get(name)):>9}" for name in figures["sets"])
        values = ", ".join(f"{name} {value}" for name, value in each.values.items())
        lines.append(
            f"{each.name:<10} {each.text_detection + ' ' + each.text_recognition:<45} {scores}  {values}".rstrip()
        )
    return "\n".join([*lines, "", *figures["notes"]])


def measured() -> dict[str, Any]:
    """Return the content of presets.json, which `make accuracy` writes: figures of each preset by name of the set."""
    return dict(json.loads(Path(__file__).with_name("presets.json").read_text("utf-8")))


def _figure(value: str | None) -> str:
    return value or "-"
