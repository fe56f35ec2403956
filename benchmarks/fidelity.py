"""Compare ocr-onnx with PaddleOCR's recorded output, text by text.

python -m benchmarks.fidelity                        the pages of tests/pages
python -m benchmarks.fidelity --reference FOLDER     also the recordings and images in a folder
python -m benchmarks.fidelity --device gpu           on a GPU; --provider as in 'ocr-onnx run', --mode as in OCR (sizes stay)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.versions import VERSION_5
from ocr_onnx import OCR, Models, OCROptions, OCRResult
from ocr_onnx.models import store
from ocr_onnx.runtime.provider_specs import Mode
from ocr_onnx.runtime.selection import choose_placement

ROOT = Path(__file__).parents[1]
OWN = ROOT / "tests" / "pages"

SCORE_TOLERANCE = 1e-3
POLY_TOLERANCE = 1
"""Pixels."""
MATCH_TOLERANCE = 10
"""Boxes farther apart than this, in pixels, are not of the same text."""


VERSIONS = {
    "v5_mobile": VERSION_5,
    "v4_mobile": Models("PP-OCRv4_mobile_det", "PP-OCRv4_mobile_rec"),
    "v3_mobile": Models("PP-OCRv3_mobile_det", "PP-OCRv3_mobile_rec"),
    "v6_small": Models("PP-OCRv6_small_det", "PP-OCRv6_small_rec"),
    "v6_tiny": Models("PP-OCRv6_tiny_det", "PP-OCRv6_tiny_rec"),
}
"""The models of the recordings, by the start of a file's name."""

SETS = {
    "docimgs": ("boarding_pass", "paddleocr_docimgs/doc/imgs_en", "paddleocr_docimgs/doc/imgs"),
    "icdar2015": ("icdar2015",),
    "zh": ("zh_pdf_pages",),
    "sroie": ("sroie",),
}
"""The folders with the images of a recording, by the end of its file's name."""


@dataclass(frozen=True, slots=True)
class Recording:
    """PaddleOCR's output on some images, one JSON line each."""

    file: Path
    images: tuple[Path, ...]
    """Folders; an image is taken from the first that has it."""
    options: OCROptions = field(default_factory=OCROptions.paddleocr)
    models: Models = VERSIONS["v5_mobile"]


@dataclass(slots=True)
class Tally:
    """Equal parts and all parts."""

    texts: int = 0
    texts_equal: int = 0
    empty: int = 0
    """Texts that are empty in the recording; counted in `texts` too."""
    empty_equal: int = 0
    polys_equal: int = 0
    polys_near: int = 0
    """Not equal, but within POLY_TOLERANCE."""
    scores_equal: int = 0
    worst_score: float = 0.0
    pages: int = 0
    angles_equal: int = 0
    surplus: int = 0
    """Boxes that the recording does not have."""

    def add(self, other: Tally) -> None:
        """Sum up, the worst score aside."""
        for name in Tally.__slots__:
            combine = max if name == "worst_score" else sum
            setattr(self, name, combine((getattr(self, name), getattr(other, name))))

    def __str__(self) -> str:
        return (
            f"texts {self.texts_equal}/{self.texts} (empty {self.empty_equal}/{self.empty}), "
            f"polys {self.polys_equal}/{self.texts} and {self.polys_near} within {POLY_TOLERANCE} px, "
            f"scores {self.scores_equal}/{self.texts} within {SCORE_TOLERANCE} (worst {self.worst_score:.1e}), "
            f"angles {self.angles_equal}/{self.pages} pages, surplus boxes {self.surplus}"
        )


def recordings(reference: Path | None, textline: Path | None) -> Iterator[Recording]:
    """The repository's own, then those in `reference`; `textline` is the line classifier the rotated pages need."""
    yield Recording(OWN / "golden.jsonl", (OWN, ROOT / "ocr_onnx"))
    if reference is None:
        return
    golden, data = reference / "golden", reference / "data"
    off = replace(OCROptions.paddleocr(), use_doc_orientation_classify=False, use_textline_orientation=False)
    for version, models in VERSIONS.items():
        names = [str(name) for name in (models.text_detection, models.text_recognition)]
        if not all(store.path_of(name).is_file() for name in names):
            click.echo(
                f"SKIPPED: {version}, whose models are missing: ocr-onnx models pull {' '.join(names)}", err=True
            )
            continue
        for images, folders in SETS.items():
            file = golden / f"{version}_{images}.jsonl"
            if file.is_file():
                yield Recording(file, tuple(data / folder for folder in folders), off, models)
    if textline is not None:
        small = replace(VERSIONS["v5_mobile"], textline_orientation=str(textline))
        yield Recording(golden / "v5_mobile_ori_tess.jsonl", (data / "tess_test",), models=small)


def compare(recording: Recording, ocr: OCR, pictures: int | None = None) -> Tally:
    """Read every image of a recording, or so many at most, and print what differs."""
    total = Tally()
    for line in islice(recording.file.read_text("utf-8").splitlines(), pictures):
        expected = json.loads(line)
        path = next(p for folder in recording.images if (p := folder / expected["image"]).exists())
        (result,) = ocr.predict(path)
        total.add(compare_page(ocr, result, expected))
    return total


def compare_page(ocr: OCR, result: OCRResult, expected: dict[str, Any]) -> Tally:
    """One page's tally; differing texts are printed, with how near the model was to deciding otherwise."""
    angle = -1 if result.angle is None else result.angle
    tally = Tally(pages=1, angles_equal=int(angle == expected["angle"]))
    if angle != expected["angle"]:
        click.echo(f"  {expected['image']}: angle {angle}, recorded {expected['angle']}", err=True)
    polys = [line.box.quad for line in result.lines]
    matches = match([np.array(p) for p in expected["dt_polys"]], polys)
    tally.surplus = len(polys) - sum(m is not None for m in matches)
    recorded = zip(expected["dt_polys"], expected["rec_texts"], expected["rec_scores"], matches, strict=True)
    for poly, text, score, found in recorded:
        tally.texts += 1
        tally.empty += text == ""
        if found is None:
            click.echo(f"  {expected['image']}: {text!r} at {poly[0]} was not found", err=True)
            continue
        line = result.lines[found]
        apart = int(np.abs(line.box.quad - np.array(poly)).max())
        tally.polys_equal += apart == 0
        tally.polys_near += 0 < apart <= POLY_TOLERANCE
        difference = abs(line.score - score)
        tally.scores_equal += difference <= SCORE_TOLERANCE
        tally.worst_score = max(tally.worst_score, difference)
        if line.text == text:
            tally.texts_equal += 1
            tally.empty_equal += text == ""
        else:
            click.echo(
                f"  {expected['image']}: read {line.text!r} ({line.score:.4f}), recorded {text!r} ({score:.4f}), box "
                f"{apart} px off, narrowest decision {narrowest(ocr, result, found)}",
                err=True,
            )
    return tally


def match(expected: Sequence[NDArray[np.int64]], found: Sequence[NDArray[np.int32]]) -> list[int | None]:
    """For each expected box the nearest found one not yet taken, if it is within MATCH_TOLERANCE."""
    free = set(range(len(found)))
    matches: list[int | None] = []
    for poly in expected:
        apart = {i: int(np.abs(found[i] - poly).max()) for i in free}
        best = min(apart, key=apart.__getitem__, default=None)
        if best is None or apart[best] > MATCH_TOLERANCE:
            matches.append(None)
        else:
            matches.append(best)
            free.discard(best)
    return matches


def narrowest(ocr: OCR, result: OCRResult, found: int) -> str:
    """The smallest gap between the two best classes in any step of a line: a near tie says rounding, not error."""
    try:
        import onnx
        import onnxruntime
    except ModuleNotFoundError as missing:
        return f"unknown without {missing.name}"
    from ocr_onnx.stages import geometry, recognition

    model = onnx.load(store.find(ocr.recognize.metadata.name))
    softmax = next(node.output[0] for node in reversed(model.graph.node) if node.op_type == "Softmax")
    model.graph.output.append(onnx.helper.make_tensor_value_info(softmax, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    crops = [geometry.crop(result.page.image, box.quad) for box in result.boxes]
    shape = ocr.recognize.metadata.input_shape
    width = recognition.padded_widths(crops, result.options.recognition.batch_size, shape)[found]
    tensor = recognition.preprocess(crops[found], width, shape)
    table = np.sort(session.run([softmax], {session.get_inputs()[0].name: tensor})[0][0], axis=-1)
    return f"{(table[:, -1] - table[:, -2]).min():.2e}"


@click.command(help=__doc__)
@click.option("--reference", type=click.Path(path_type=Path), help="A folder with golden/ and data/.")
@click.option("--textline", type=click.Path(path_type=Path), help="PP-LCNet_x0_25_textline_ori as ONNX.")
@click.option("--device", help="As of 'ocr-onnx run'.")
@click.option("--provider", "providers", multiple=True, help="As of 'ocr-onnx run', in place of --device.")
@click.option("--mode", type=click.Choice(get_args(Mode)), default="standard", show_default=True)
@click.option("--pictures", type=click.IntRange(1), help="So many of each recording at most; default: all.")
@click.option("--texts", "least_texts", default=100.0, show_default=True, help="Least percentage of equal texts.")
@click.option("--polys", "least_polys", default=99.9, show_default=True, help="Least percentage of equal boxes.")
def main(reference: Path | None, textline: Path | None, least_texts: float, least_polys: float, **where: Any) -> None:
    """Compare with every recording there is."""
    placement = choose_placement(where["device"], where["providers"], where["mode"])
    present = reference if reference is not None and (reference / "golden").is_dir() else None
    total = Tally()
    click.echo(f"OpenCV {cv2.__version__}, NumPy {np.__version__}, {placement}")
    for recording in recordings(present, textline):
        ocr = OCR(recording.options, models=recording.models, device=placement)
        tally = compare(recording, ocr, where["pictures"])
        click.echo(f"{recording.file.stem}: {tally}")
        total.add(tally)
    click.echo(f"all: {total}")
    if reference is not None and present is None:
        click.echo(f"SKIPPED: {reference} has no golden/: only the repository's own pages were compared", err=True)
    if reference is not None and textline is None:
        click.echo("SKIPPED: the rotated pages, for want of --textline", err=True)
    texts, polys = 100 * total.texts_equal / total.texts, 100 * total.polys_equal / total.texts
    click.echo(f"{texts:.2f} % of texts and {polys:.2f} % of boxes equal (at least {least_texts} and {least_polys})")
    strays = total.texts - total.polys_equal - total.polys_near + total.surplus
    angles = total.pages - total.angles_equal
    scores = total.texts - total.scores_equal
    if texts < least_texts or polys < least_polys or strays or angles or scores:
        click.echo(f"FAILED: {strays} boxes astray, {angles} angles and {scores} scores differ", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
