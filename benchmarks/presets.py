"""Measure the presets on labelled images: ocr_onnx/models/presets.json, which `ocr-onnx models presets` shows.

python -m benchmarks.presets --data FOLDER

Each preset reads with all its defaults. Scores are those of benchmarks.defaults. The presets take turns, image by image.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.defaults import Outcome
from benchmarks.labelled import SETS
from benchmarks.machine import circumstances
from ocr_onnx import OCR
from ocr_onnx.models import presets, store
from ocr_onnx.models.presets import PRESETS, Preset

TARGET = Path(presets.__file__).with_name("presets.json")

TIME = "time"
AMOUNTS = "amounts"


def is_here(preset: Preset) -> bool:
    """Whether the models of a preset are on this machine."""
    return not any(store.is_missing(name) for name in (preset.text_detection, preset.text_recognition))


def measure(engines: dict[str, OCR], data: Path, sets: Sequence[str]) -> dict[str, dict[str, str]]:
    """Read the images of some sets with every preset, taking turns image by image; return the figures as they are shown."""
    figures: dict[str, dict[str, str]] = {name: {} for name in engines}
    seconds = dict.fromkeys(engines, 0.0)
    for name in sets:
        folder, read, characters = SETS[name]
        outcomes = {preset: Outcome() for preset in engines}
        for image in read(data / folder):
            for preset, ocr in engines.items():
                begun = time.perf_counter()
                (result,) = ocr.predict(image.path)
                seconds[preset] += time.perf_counter() - begun
                outcomes[preset].add(result.text, image, characters=characters)
        for preset, outcome in outcomes.items():
            figures[preset][name] = f"{outcome.text.f1:.3f}"
            if name == "receipts":
                figures[preset][AMOUNTS] = f"{outcome.amounts.right}/{outcome.amounts.expected}"
    for preset, total in seconds.items():
        figures[preset][TIME] = f"{total / seconds[presets.DEFAULT.name]:.2f}"
    return figures


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The folder with the labelled sets.")
@click.option("--set", "names", type=click.Choice(list(SETS)), multiple=True, help="Measure this set only.")
def main(data: Path, names: tuple[str, ...]) -> None:
    """Measure every preset whose models are on this machine, and write the file."""
    for preset in PRESETS.values():
        if not is_here(preset):
            click.echo(f"SKIPPED: ocr-onnx models pull {preset.text_detection} {preset.text_recognition}", err=True)
    engines = {name: OCR(preset=name) for name, preset in PRESETS.items() if is_here(preset)}
    figures = measure(engines, data, names or list(SETS))
    notes = [
        "street, receipts: F1 of words on 60 photographs (ICDAR 2015) and 23 receipts (SROIE); reports: F1 of characters on 14",
        "pages of Chinese reports; amounts: of the receipts, such as 12.50; time: as a multiple of the default's.",
        f"Measured by `make accuracy`. {circumstances()}. -: not measured.",
    ]
    content: dict[str, Any] = {"sets": [*SETS, AMOUNTS, TIME], "presets": figures, "notes": notes}
    TARGET.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    click.echo(presets.table())


if __name__ == "__main__":
    main()
