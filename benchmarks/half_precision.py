"""Measure what half precision changes on real images.

    python -m benchmarks.half_precision --reference FOLDER

Runs on the CPU, which rounds fp16 graphs in the same way. The embedded models are compared on real images, and all models on this
machine on the sample page. Writes a section of docs/models-verified.md.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from benchmarks.verify_images import DETECTION, pictures, real_inputs
from ocr_onnx.converters.precision import halve
from ocr_onnx.converters.verify import run_onnx
from ocr_onnx.errors import ConversionError
from ocr_onnx.models import store, zoo
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.runtime.session import Session
from ocr_onnx.runtime.threads import cpu_count
from ocr_onnx.stages import calibration
from ocr_onnx.stages.detection import find_boxes, with_model_defaults
from ocr_onnx.stages.recognition import ctc_decode

TARGET = Path(__file__).parents[1] / "docs" / "models-verified.md"
HEADING = "## Half precision\n"

DETECTOR, RECOGNIZER = "PP-OCRv5_mobile_det", "PP-OCRv5_mobile_rec"

NEAR = 2
"""Boxes whose corners are this near are one, in pixels of the picture."""


def detection(data: Path, scratch: Path) -> str:
    """Masks and boxes."""
    source, half = store.find(DETECTOR), scratch / f"{DETECTOR}.onnx"
    halve(source, half)
    metadata = ModelMetadata.from_properties(Session(source).properties, DETECTOR)
    inputs = real_inputs(metadata, data)
    whole, halved = run_onnx(source, inputs), run_onnx(half, inputs)
    shares, boxes, found, kept = [], 0, 0, 0
    for name, picture in pictures(data).items():
        maps = [outputs[f"image {name}"][0][0, 0] for outputs in (whole, halved)]
        masks = [probability > DETECTION.thresh for probability in maps]
        shares.append(np.count_nonzero(masks[0] & masks[1]) / np.count_nonzero(masks[0] | masks[1]))
        before, after = (
            [b.quad for b in find_boxes(p, picture.shape[1::-1], with_model_defaults(DETECTION, metadata))]
            for p in maps
        )
        boxes, found = boxes + len(before), found + len(after)
        kept += sum(any(np.abs(a - b).max() <= NEAR for b in after) for a in before)
    return (
        f"- {DETECTOR}: {_size(source, half)}. Masks on {len(shares)} images: intersection over union "
        f"{np.mean(shares):.4f} on average, {min(shares):.4f} at minimum; {kept} of {boxes} boxes within {NEAR} pixels, "
        f"{found} found in half precision."
    )


def recognition(data: Path, scratch: Path) -> str:
    """Texts."""
    source, half = store.find(RECOGNIZER), scratch / f"{RECOGNIZER}.onnx"
    halve(source, half)
    metadata = ModelMetadata.from_properties(Session(source).properties, RECOGNIZER)
    inputs = real_inputs(metadata, data)
    whole, halved = (
        [
            ctc_decode(index[0], probability[0], metadata.charset)
            for index, probability in run_onnx(file, inputs).values()
        ]
        for file in (source, half)
    )
    equal = sum(a[0] == b[0] for a, b in zip(whole, halved, strict=True))
    return f"- {RECOGNIZER}: {_size(source, half)}. {equal} of {len(whole)} texts equal."


def table(scratch: Path) -> Iterator[str]:
    """Each model here as an engine is judged before it is kept (ocr_onnx.runtime.tensorrt)."""
    yield from ("| model | size | different decisions on the sample page | share |", "|---|--:|--:|--:|")
    for name, spec in zoo.models().items():
        source, half = store.path_of(name), scratch / f"{name}.onnx"
        if spec.task == "image_unwarping" or not source.is_file():
            continue
        try:
            halve(source, half)
        except ConversionError as error:
            yield f"| {name} | | {error} | |"
            continue
        one, other = (Session(path, threads=cpu_count()) for path in (half, source))
        found = calibration.difference(one, other, ModelMetadata.from_properties(other.properties, name))
        count = f"{found.differing} of {found.decisions}"
        yield f"| {name} | {_size(source, half)} | {count} | {100 * found.share:.2f} % |"


def _size(source: Path, half: Path) -> str:
    return f"{source.stat().st_size / 1e6:.1f} MB → {half.stat().st_size / 1e6:.1f} MB"


def kept() -> str:
    """The section as it stands, for what writes the rest of the page."""
    _, heading, rest = TARGET.read_text("utf-8").partition(HEADING)
    return f"\n{heading}{rest}" if heading else ""


@click.command(help=__doc__)
@click.option("--reference", type=click.Path(path_type=Path), required=True, help="A folder with data/.")
def main(reference: Path) -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory() as scratch:
        measured = [task(reference / "data", Path(scratch)) for task in (detection, recognition)]
        rows = list(table(Path(scratch)))
    before, _, _ = TARGET.read_text("utf-8").partition(HEADING)
    text = [
        HEADING,
        "Models of `ocr-onnx convert --precision fp16`, compared with float32 on the CPU by `python -m benchmarks.half_precision",
        "--reference FOLDER`. Keeping resizing, sigmoids, means or the softmax in float32 changed none of these figures. Not measured",
        "on a GPU.",
        "",
        *measured,
        "",
        "The next table compares each model on the machine in the same way as a TensorRT engine ([devices.md](devices.md#tensorrt)), for which",
        "the limit is 2 %. No layer has to stay in float32 for that.",
        "",
        *rows,
        "",
    ]
    TARGET.write_text(before + "\n".join(text), "utf-8")


if __name__ == "__main__":
    main()
