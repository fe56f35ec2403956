"""Measure the accuracy of presets and of other libraries with their defaults: benchmarks/results/libraries.md.

python -m benchmarks.libraries --data FOLDER --cache FOLDER

Every reader reads the same images with one thread, each in its own process; readers take turns, image by image. PDFs are rendered.
Of large sets, some pages are read, spread evenly. Each page is read once: the text is kept in the cache. A reader that is not
installed is skipped: `make bench-peers` sets up RapidOCR. The figures of presets are also written for `ocr-onnx models presets`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import PIL.Image

from benchmarks import labelled, olmocr, records
from benchmarks.defaults import AMOUNT
from benchmarks.labelled import SETS, Score, compare_text, layout_pages
from benchmarks.machine import circumstances
from benchmarks.runners.process import ROOT, Peer, Runner
from benchmarks.runners.protocol import Settings
from ocr_onnx import InputOptions
from ocr_onnx.inputs import sources
from ocr_onnx.models import presets, store
from ocr_onnx.models.presets import PRESETS

PRESET_FIGURES = Path(presets.__file__).with_name("presets.json")

OWN = Path(sys.prefix)

DPI = 200

EVERY: Mapping[str, int] = {"multi_column": 20, "long_tiny_text": 7, "old_scans": 11, "doclaynet": 20}
"""Of these sets, every so many pages are read."""

DIVIDED = re.compile(r"(?<=[^\W\d_])-\s+(?=[^\W\d_])")
"""The hyphen of a word that continues in the next line."""

OURS, THRESHOLDS = "default", "PaddleOCR's defaults"
AMOUNTS, TIME, MEMORY = "amounts", "time", "MB"

UNREAD = {("Tesseract", "reports")}
"""Readers with the sets that they do not read: Tesseract's default language is English."""

Counts = tuple[int, int, int]
"""Right, found and expected words, characters, or assertions."""

NOTES = (
    "street, receipts, doclaynet: F1 of words on 60 photographs (ICDAR 2015), 23 receipts (SROIE) and every 20th of 60 pages",
    "(DocLayNet, words that a hyphen divides at the end of a line joined); reports: F1 of characters on every 5th of 14 pages of",
    "Chinese reports; multi_column, long_tiny_text, old_scans: share of the assertions of olmOCR-bench on every 20th, 7th and 11th",
    "page; amounts: of the receipts, such as 12.50; time: processor time as a multiple of the default's; MB: peak memory of the",
    "process. -: not measured; the weights of accurate and server could not be downloaded where this was measured, and",
    "Tesseract's default language is English, so it has no reports.",
)

ATTRIBUTION = (
    "olmOCR-bench: Allen Institute for AI, https://huggingface.co/datasets/allenai/olmOCR-bench, ODC-BY 1.0. DocLayNet: IBM, "
    "https://github.com/DS4SD/DocLayNet, CDLA-Permissive-1.0. SROIE: ICDAR 2019, CC BY 4.0. ICDAR 2015: incidental scene text."
)


@dataclass(frozen=True, slots=True)
class Sample:
    """An image of a set, and how its text is judged."""

    part: str
    """The name of the set."""
    path: Path
    judge: Callable[[str], Counts]
    amounts: Callable[[str], Counts] | None = None


def readers(home: Path) -> list[Peer]:
    """The readers; `home` has the environments of other libraries."""
    ours = [Peer(name, OWN, "presets", name) for name, preset in PRESETS.items() if _is_here(preset)]
    return [*ours, *others(home).values()]


def others(home: Path) -> dict[str, Peer]:
    """The installed readers with other defaults than ours, by name: PaddleOCR's texts are those of its defaults here."""
    peers = [Peer(THRESHOLDS, OWN, "presets", "paddleocr"), Peer("RapidOCR", home / "rapidocr", "rapidocr", "defaults")]
    if shutil.which("tesseract"):
        peers.append(Peer("Tesseract", OWN, "tesseract"))
    return {peer.name: peer for peer in peers if peer.python.is_file()}


def _is_here(preset: presets.Preset) -> bool:
    return not any(store.is_missing(name) for name in (preset.text_detection, preset.text_recognition))


def samples(data: Path, cache: Path) -> Iterator[Sample]:
    """Yield the images of all sets."""
    for name, (_, _, characters) in SETS.items():
        for image in labelled.images(data, name):
            judge = partial(compare_text, expected=image.text, characters=characters)
            amounts = partial(compare_amounts, expected=image.text) if name == "receipts" else None
            yield Sample(name, image.path, judge, amounts)
    for split in olmocr.SPLITS:
        for page in olmocr.pages(data / "olmocr" / split)[:: EVERY[split]]:
            yield Sample(split, rendered(page.path, cache), partial(assertions, page))
    for image in list(layout_pages(data / "doclaynet"))[:: EVERY["doclaynet"]]:
        judge = partial(compare_paragraphs, expected=image.text)
        yield Sample("doclaynet", rendered(image.path, cache), judge)


def file_name(path: Path, suffix: str) -> str:
    """The name of a file of the cache about a page: pages of different sets can have the same name."""
    return f"{path.parent.name}__{path.stem}{suffix}"


def rendered(path: Path, cache: Path) -> Path:
    """The image of a PDF with one page."""
    file = cache / "pages" / file_name(path, ".png")
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        (page,) = sources.read_pages(path, InputOptions(pdf_scale=DPI / 72))
        PIL.Image.fromarray(page.image[..., ::-1]).save(file, dpi=(DPI, DPI))
    return file


def assertions(page: olmocr.Page, text: str) -> Counts:
    """The assertions that hold, and all twice."""
    return page.passed(text), len(page.assertions), len(page.assertions)


def compare_paragraphs(found: str, expected: str) -> Counts:
    """(equal, found, expected) words; those that a hyphen divides at the end of a line are joined: some readers do that."""
    found, expected = (DIVIDED.sub("", text) for text in (found, expected))
    return compare_text(found, expected, characters=False)


def compare_amounts(found: str, expected: str) -> Counts:
    """(equal, found, expected) amounts of money."""
    parts = [Counter(AMOUNT.findall(text)) for text in (found, expected)]
    return (parts[0] & parts[1]).total(), parts[0].total(), parts[1].total()


def read_all(peers: Sequence[Peer], chosen: Sequence[Sample], cache: Path) -> None:
    """Read the samples that are not in the cache, the readers taking turns."""
    settings = Settings(detection="", recognition="", threads=1, side=0)
    with contextlib.ExitStack() as stack:
        runners: dict[str, Runner] = {}
        for sample in chosen:
            for peer in peers:
                file = _kept(cache, peer.name, sample)
                if file.is_file() or (peer.name, sample.part) in UNREAD:
                    continue
                file.parent.mkdir(parents=True, exist_ok=True)
                if peer.name not in runners:
                    runner = Runner(peer, settings, cache / f"{peer.name}.log")
                    runners[peer.name] = stack.enter_context(runner)
                answer = runners[peer.name].ask(sample.path)
                said = {"text": "\n".join(line["text"] for line in answer["lines"])}
                said |= {"cpu": answer["cpu"], "peak": answer["peak"], "versions": runners[peer.name].ready["versions"]}
                file.write_text(json.dumps(said, ensure_ascii=False), "utf-8")


def _kept(cache: Path, reader: str, sample: Sample) -> Path:
    return cache / reader / f"{sample.part}__{sample.path.stem}.json"


def figures(peers: Sequence[Peer], chosen: Sequence[Sample], cache: Path) -> dict[str, dict[str, Any]]:
    """The figures of each reader, from the cache: of the sets that it has read."""
    parts: dict[str, list[Sample]] = {}
    for sample in chosen:
        parts.setdefault(sample.part, []).append(sample)
    ours = {name: _answers(cache, OURS, members) for name, members in parts.items()}
    found: dict[str, dict[str, Any]] = {}
    for peer in peers:
        read = {name: answers for name in parts if (answers := _answers(cache, peer.name, parts[name]))}
        if not read:
            continue
        row: dict[str, Any] = {}
        for name, answers in read.items():
            judges = [(sample.judge, answer) for sample, answer in zip(parts[name], answers, strict=True)]
            row[name] = f"{_score(judges).f1:.3f}"
            money = [(each.amounts, answer) for each, answer in zip(parts[name], answers, strict=True) if each.amounts]
            if money:
                amounts = _score(money)
                row[AMOUNTS] = f"{amounts.right}/{amounts.expected}"
        of_both = [name for name in read if ours[name]]
        row[TIME] = f"{_seconds(read, of_both) / _seconds(ours, of_both):.2f}" if of_both else None
        row[MEMORY] = str(round(max(answer["peak"] for answers in read.values() for answer in answers) / 1024))
        row["versions"] = next(iter(read.values()))[0]["versions"]
        found[peer.name] = row
    return found


def _answers(cache: Path, reader: str, members: Sequence[Sample]) -> list[dict[str, Any]]:
    """What a reader said of the samples; empty if it has not read all of them."""
    files = [_kept(cache, reader, sample) for sample in members]
    return [json.loads(file.read_text("utf-8")) for file in files] if all(file.is_file() for file in files) else []


def _score(judged: Iterable[tuple[Callable[[str], Counts], Mapping[str, Any]]]) -> Score:
    score = Score()
    for judge, answer in judged:
        score.add(*judge(answer["text"]))
    return score


def _seconds(answers: Mapping[str, Sequence[Mapping[str, Any]]], names: Iterable[str]) -> float:
    """The processor time for some sets."""
    return sum(float(answer["cpu"]) for name in names for answer in answers[name])


def columns() -> list[str]:
    """The figures in their order."""
    return [*SETS, *olmocr.SPLITS, "doclaynet", AMOUNTS, TIME, MEMORY]


def markdown(result: Mapping[str, Any]) -> str:
    """libraries.md."""
    names = {name: f"ocr-onnx, preset {name}" for name in PRESETS} | {OURS: "ocr-onnx"}
    names[THRESHOLDS] = "ocr-onnx --compatible paddleocr"
    rows = [["reader", *columns()], ["---", *["--:"] * len(columns())]]
    for reader, row in result["readers"].items():
        rows.append([names.get(reader, reader), *(row.get(name) or "-" for name in columns())])
    versions = {key: value for row in result["readers"].values() for key, value in row["versions"].items()}
    others_ = [f"; {name} {version}" for name, version in versions.items() if name not in {"ocr-onnx", "onnxruntime"}]
    return "\n".join(
        [
            "# Accuracy of presets and libraries",
            "",
            f"Written by `python -m benchmarks.libraries`. {result['circumstances']}{''.join(others_)}.",
            "",
            "Every reader has its defaults and the same images; PDFs are rendered at 200 dpi. `--compatible paddleocr` reads the",
            "texts of PaddleOCR 3.7 with the same models ([fidelity](../../docs/fidelity.md)).",
            "",
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
            *NOTES,
            "",
            ATTRIBUTION,
            "",
        ]
    )


def write_presets(readers_: Mapping[str, Mapping[str, Any]], when: str) -> None:
    """Write the figures of the presets, for `ocr-onnx models presets`."""
    kept = {
        name: {column: row[column] for column in columns() if column in row}
        for name, row in readers_.items()
        if name in PRESETS
    }
    notes = [*NOTES, f"Measured by `make accuracy`. {when}."]
    content = {"sets": columns(), "presets": kept, "notes": notes}
    PRESET_FIGURES.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The folder with the labelled sets.")
@click.option(
    "--cache", type=click.Path(path_type=Path), required=True, help="The folder where texts and images are kept."
)
@click.option(
    "--peers",
    "home",
    type=click.Path(path_type=Path),
    default=ROOT / ".cache" / "peers",
    help="The libraries' environments.",
)
@click.option("--reader", "names", multiple=True, help="Only fill the cache, and only with this reader.")
@click.option("--only-cached", is_flag=True, help="Read no image; leave out what is not in the cache.")
def main(data: Path, cache: Path, home: Path, names: tuple[str, ...], *, only_cached: bool) -> None:
    """Read what is not in the cache, and write the tables."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    chosen = list(samples(data, cache))
    peers = readers(home)
    if not only_cached:
        read_all([peer for peer in peers if peer.name in (names or {each.name for each in peers})], chosen, cache)
    if names:
        return
    found = figures(peers, chosen, cache)
    when = circumstances()
    result = {"circumstances": when, "readers": found}
    records.keep("libraries", result, markdown(result))
    write_presets(found, when)
    click.echo(markdown(result))


if __name__ == "__main__":
    main()
