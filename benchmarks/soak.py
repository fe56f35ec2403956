"""Check that many mixed calls from several threads neither grow the process nor change a result: benchmarks/results/soak.md.

    python -m benchmarks.soak
    python -m benchmarks.soak --calls 2000 --no-write

The calls are those of a list: small pictures of 12 sizes as arrays, bytes and files, TIFFs, PDFs, folders, each with several options
and output formats, and one call in eight that fails. The list is read once in one thread, then all THREADS threads make each call of
the list at the same time, so that each call has had its highest memory before memory is compared. Then the threads make the calls in random
order, and each result is compared with that of the first pass. Ctrl-C ends the calls early, and what was measured is written. Memory is
the resident set of the process and of its decoding processes, handles are its open files, both after every EVERY calls.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import PIL.Image

import ocr_onnx
from benchmarks import charts, records
from benchmarks.machine import circumstances
from benchmarks.memory import picture
from benchmarks.processes import family, memory
from ocr_onnx import OCR, DetectionOptions, InputOptions, OCRError, OCROptions, RecognitionOptions
from ocr_onnx.outputs.formats import FORMATS

NAME = "soak"
CALLS = 20_000
THREADS = 4
EVERY = 200
"""Calls between two looks at the process."""
WARM_UP = 0.1
"""The share of the calls after which the process must stay level."""
WINDOW = 0.1
"""The share of the calls at the beginning and at the end whose medians are compared."""
ALLOWED = 0.02
"""Growth that is accepted."""

SIDES = (120, 161, 200, 320, 403, 480)

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Look:
    """The process after a number of calls."""

    calls: int
    memory: int
    """KiB of all processes."""
    own: int
    """KiB of the process without its decoding processes, which come and go."""
    handles: int
    threads: int


MEASURED = {
    "memory": "memory, KiB",
    "own": "memory without decoding processes, KiB",
    "handles": "open files",
    "threads": "threads",
}


def options() -> Iterator[OCROptions]:
    """Options that change what is computed."""
    yield OCROptions()
    yield OCROptions.paddleocr()
    yield OCROptions(return_word_box=True, use_doc_orientation_classify=False, use_textline_orientation=False)
    yield OCROptions(detection=DetectionOptions(box_type="poly", limit_side_len=320, limit_type="max"))
    yield OCROptions(detection=DetectionOptions(tiles=True, score_mode="slow", use_dilation=True))
    yield OCROptions(recognition=RecognitionOptions(batch_size=1, padding="own"), reading_order="paddle")


def encoded(image: PIL.Image.Image, form: str, **further: Any) -> bytes:
    """A picture as a file of a format."""
    buffer = io.BytesIO()
    # A copy: a picture that was saved as a JPEG keeps the settings of that encoder.
    image.copy().save(buffer, form, **further)
    return buffer.getvalue()


def sources(folder: Path) -> Iterator[Any]:
    """Inputs of all kinds."""
    pictures = [picture(n, (side + 200 * (n % 2), side), 1 + n % 4) for n, side in enumerate(SIDES * 2)]
    for image, form in zip(pictures, ["PNG", "JPEG", "WEBP", "BMP"] * 3, strict=True):
        yield encoded(image, form)
    yield from (np.asarray(image) for image in pictures[:4])
    yield from pictures[4:6]
    for form in ("TIFF", "PDF"):
        yield encoded(pictures[0], form, save_all=True, append_images=[image.copy() for image in pictures[1:3]])
    (folder / "pages").mkdir()
    for n, image in enumerate(pictures[:2]):
        image.save(folder / "pages" / f"{n}.png")
    yield from (folder / "pages", folder / "pages" / "1.png")


def failures(ocr: OCR, folder: Path) -> Iterator[Call]:
    """Calls that raise an error of the package."""
    page = encoded(picture(1, (320, 200), 2), "PNG")
    document = encoded(picture(1, (320, 200), 2), "PDF")
    small = OCROptions(input=InputOptions(max_megapixels=0.01))
    damaged = (b"", page[: len(page) // 2], page[:40], document[: len(document) // 2], b"text")
    yield from (partial(read, ocr, source) for source in (*damaged, folder / "nothing.png"))
    yield partial(read, ocr, page, small)
    yield partial(read, ocr, np.zeros((9, 9, 5), np.uint8))
    yield lambda: ocr.predict(page, options=OCROptions(detection=DetectionOptions(thresh=7)))
    yield lambda: ocr_onnx.save(ocr.predict(page), folder / "missing" / "out.json")


def read(ocr: OCR, source: Any, chosen: OCROptions | None = None) -> object:
    """The records of all pages."""
    return [page.to_dict() for page in ocr.predict(source, options=chosen)]


def written(ocr: OCR, source: Any, form: str) -> object:
    """The hash of the pages in a format, without the date in a PDF."""
    content = b"".join(FORMATS[form].encoded(ocr.predict(source)))
    return hashlib.sha256(content).hexdigest() if form != "pdf" else content.count(b"endobj")


def calls(ocr: OCR, folder: Path) -> list[Call]:
    """All calls of the list."""
    several, found = list(options()), list(failures(ocr, folder))
    for n, source in enumerate(sources(folder)):
        found += [partial(read, ocr, source, several[(n + k) % len(several)]) for k in (0, 1)]
        found.append(partial(written, ocr, source, list(FORMATS)[n % len(FORMATS)]))
    return found


def outcome(call: Call) -> str:
    """The hash of what a call returned, or its error."""
    try:
        returned = json.dumps(call(), sort_keys=True, default=str)
    except OCRError as error:
        return f"{type(error).__name__}: {error}"
    return hashlib.sha256(returned.encode()).hexdigest()


def look(count: int) -> Look:
    """Look at the process."""
    own, *others = (memory(process, "VmRSS") for process in family(os.getpid()))
    handles, threads = (len(list(Path("/proc/self", name).iterdir())) for name in ("fd", "task"))
    return Look(count, own + sum(others), own, handles, threads)


def together(pool: ThreadPoolExecutor, each: Sequence[Call]) -> None:
    """Make each call in all THREADS threads at the same time."""
    barrier = threading.Barrier(THREADS)

    def wait_and_make(call: Call) -> None:
        barrier.wait()
        outcome(call)

    for call in each:
        list(pool.map(wait_and_make, [call] * THREADS))


def soak(each: Sequence[Call], count: int) -> tuple[list[Look], int]:
    """Make `count` calls in THREADS threads after the warm-up; return the looks, and how many results differ from the first pass."""
    first = [outcome(call) for call in each]
    draw, different, seen = random.Random(0), 0, []  # noqa: S311 the order of calls
    with ThreadPoolExecutor(THREADS) as pool, suppress(KeyboardInterrupt):
        together(pool, each)
        for done in range(0, count, EVERY):
            chosen = draw.choices(range(len(each)), k=min(EVERY, count - done))
            found = pool.map(lambda n: outcome(each[n]) == first[n], chosen)
            different += sum(not equal for equal in found)
            seen.append(look(done + len(chosen)))
    return seen, different


def levels(seen: Sequence[Look], name: str) -> tuple[float, float]:
    """The medians of a quantity after the warm-up, and at the end."""
    values = [getattr(each, name) for each in seen]
    begin, window = int(len(values) * WARM_UP), max(1, int(len(values) * WINDOW))
    return statistics.median(values[begin : begin + window]), statistics.median(values[-window:])


def growth(seen: Sequence[Look], name: str) -> float:
    """From the level after the warm-up to that at the end."""
    before, after = levels(seen, name)
    return after / before - 1


def markdown(result: dict[str, Any]) -> str:
    """The page of the results."""
    seen = [Look(*each) for each in result["looks"]]
    rows = []
    for name, label in MEASURED.items():
        before, after = levels(seen, name)
        rows.append(f"| {label} | {before:.0f} | {after:.0f} | {growth(seen, name):+.1%} |")
    table = "\n".join(rows)
    return f"""# Soak

Many mixed calls of one process; [testing.md](../../docs/testing.md#soak) says which.

`python -m benchmarks.soak{result["options"]}` on {result["circumstances"]}:

{seen[-1].calls:,} of {result["wanted"]:,} calls of a list of {result["list"]}, of which {result["failing"]} fail, in {result["threads"]} threads; {result["minutes"]:.0f} minutes.
{result["different"]} results differ from the first pass.

| quantity | after {WARM_UP:.0%} of the calls | at the end | growth |
|---|--:|--:|--:|
{table}

![growth over the calls](soak.svg)
"""


def chart(seen: Sequence[Look]) -> str:
    """The growth of each quantity over the calls."""
    series = {
        name: [(each.calls, 100 * (getattr(each, name) / levels(seen, name)[0] - 1), "") for each in seen]
        for name in MEASURED
    }
    return charts.points("Growth over many mixed calls", ("calls", "% of the level after the warm-up"), series)


@click.command(help=__doc__)
@click.option("--calls", "count", default=CALLS, show_default=True, type=click.IntRange(20 * EVERY // 10))
@click.option("--write/--no-write", default=True, help="Write benchmarks/results/soak.md.")
def main(count: int, write: bool) -> None:
    """Soak, print, and fail if the process grew or a result changed."""
    warnings.simplefilter("ignore")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        each = calls(OCR(preset="fast"), Path(temporary))
        seen, different = soak(each, count)
        failing = sum(": " in outcome(call) for call in each)
    result = {
        "options": "" if count == CALLS else f" --calls {count}",
        "circumstances": circumstances(),
        "wanted": count,
        "list": len(each),
        "failing": failing,
        "threads": THREADS,
        "minutes": (time.monotonic() - began) / 60,
        "different": different,
        "looks": [astuple(look) for look in seen],
    }
    click.echo(markdown(result))
    if write:
        records.keep(NAME, result, markdown(result))
        records.draw(NAME, chart(seen))
    sys.exit(different > 0 or any(growth(seen, name) > ALLOWED for name in MEASURED))


if __name__ == "__main__":
    main()
