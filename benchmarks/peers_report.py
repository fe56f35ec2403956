"""Write the tables and the chart of benchmarks.peers.

python -m benchmarks.peers_report      writes benchmarks/results/peers.md and peers.svg again from peers.json
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks import charts, records

OURS = "ocr-onnx"
SETS = {
    "boxes": "street: boxes",
    "street": "street: words",
    "receipts": "receipts: words",
    "reports": "reports: characters",
}

DEFAULT = "default models: "
"""The start of the names of parts that were measured with the default models of ocr-onnx and RapidOCR."""

LEGEND = """Times are ratios to ocr-onnx's time, of the sums over all pictures: median of the rounds (minimum to maximum). The libraries
take turns, picture by picture. Processor time is user and system time, which other work on the machine disturbs less. A text
is equal if PaddleOCR on onnxruntime reads it in the same picture; a page is equal if all its texts are equal in the same order."""

Table = Sequence[Sequence[float]]
"""Seconds, by picture and round."""


def sums(seconds: Table) -> list[float]:
    """Each round's total."""
    return [sum(each) for each in zip(*seconds, strict=True)]


def ratios(seconds: Table, ours: Table) -> list[float]:
    """How many times as long as ours, round by round."""
    return [a / b for a, b in zip(sums(seconds), sums(ours), strict=True)]


def spread_of(values: Sequence[float]) -> str:
    """Median (least to most)."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def standing(answers: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]], turn: int) -> str:
    """The seconds that each library took in a round."""
    return ", ".join(f"{name} {sum(r[turn]['wall'] for r in own.values()):.1f}" for name, own in answers.items())


def markdown(result: Mapping[str, Any]) -> str:
    """All tables."""
    parts = ["# Comparison with other libraries"]
    if "race" in result:
        race = result["race"]["content"]
        written = f"Written by `make bench-peers`. {_race(result['race'])}, PP-OCRv5 mobile models in all libraries, default thresholds of each library."
        parts += [written, versions(race["peers"]), "\n".join(_times(race["peers"])), LEGEND]
    parts += [_section(title, each(result[part])) for part, (title, each) in SECTIONS.items() if part in result]
    if "race" in result:
        parts.append(_section("PaddleOCR's time by stage", _stages(race["peers"])))
    return "\n\n".join([*parts, ""])


def _race(part: Mapping[str, Any]) -> str:
    """The circumstances of a race."""
    race = part["content"]
    return (
        f"{part['date']}; {part['machine']}, load average {part['load']:.1f}; {len(race['images'])} pictures, {race['rounds']} rounds; "
        f"detection at most {race['side']} pixels a side, {race['threads']} threads, both orientation stages off"
    )


def _defaults(part: Mapping[str, Any]) -> Iterator[str]:
    yield f"`python -m benchmarks.peers --models default`; {_race(part)}. `exact` is `--compatible paddleocr`; the other rows have the default thresholds of each library."
    yield ""
    yield from _times(part["content"]["peers"])


def versions(peers: Mapping[str, Any]) -> str:
    """What was installed."""
    found: dict[str, str] = {}
    for peer in peers.values():
        found |= peer["versions"]
    return "Versions: " + ", ".join(f"{name} {number}" for name, number in found.items()) + "."


def _section(title: str, lines: Iterator[str]) -> str:
    return f"## {title}\n\n" + "\n".join(lines)


def _times(peers: Mapping[str, Any]) -> Iterator[str]:
    ours = peers.get(OURS, next(iter(peers.values())))
    yield "| library | time | processor time | s per picture | equal texts | texts read | equal pages | peak MB |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    for name, peer in peers.items():
        pages = len(peer["wall"])
        cells = (
            name,
            spread_of(ratios(peer["wall"], ours["wall"])),
            spread_of(ratios(peer["cpu"], ours["cpu"])),
            f"{statistics.median(sums(peer['wall'])) / pages:.3f}",
            f"{100 * peer['texts_equal'] / peer['texts_wanted']:.1f} %",
            f"{peer['texts']}",
            f"{peer['pages_equal']} of {pages}",
            f"{peer['peak'] * 1024 / 1e6:.0f}",
        )
        yield f"| {' | '.join(cells)} |"


def _accuracy(part: Mapping[str, Any]) -> Iterator[str]:
    yield f"{part['date']}; F1 on labelled sets, with the same image size for detection: of boxes that overlap the labelled ones by half, and of"
    yield "words or characters, ignoring order and case."
    yield ""
    yield "| library | " + " | ".join(SETS.values()) + " |"
    yield "|---|" + "--:|" * len(SETS)
    for name, sets in part["content"].items():
        yield f"| {name} | " + " | ".join(f"{sets[key]:.3f}" for key in SETS) + " |"


def _cold(part: Mapping[str, Any]) -> Iterator[str]:
    runs = part["content"]
    count = len(next(iter(runs.values()))["wall"])
    yield f"{part['date']}, load average {part['load']:.1f}; start, loading of models, reading of one picture of 896x528, exit; medians of {count} runs, in turns. Default"
    yield "settings of each command: ocr-onnx with page and line orientation, RapidOCR with its own models (PP-OCRv6 small) and"
    yield "line orientation. PaddleOCR with the PP-OCRv5 mobile models and without orientation."
    yield ""
    yield "| command | s | ratio to ocr-onnx | processor s | ratio to ocr-onnx | peak MB |"
    yield "|---|--:|--:|--:|--:|--:|"
    medians = {name: {key: statistics.median(values) for key, values in run.items()} for name, run in runs.items()}
    for name, run in medians.items():
        times = [f"{run[key]:.2f} | {run[key] / medians[OURS][key]:.2f}" for key in ("wall", "cpu")]
        yield f"| {name} | {' | '.join(times)} | {run['peak'] * 1024 / 1e6:.0f} |"


def shares(peer: Mapping[str, Any]) -> dict[str, float]:
    """The part of a library's time that each of its stages takes; they add up to 1."""
    total: dict[str, float] = {}
    for rounds in peer["stages"]:
        for stage in rounds:
            for name, seconds in stage.items():
                total[name] = total.get(name, 0.0) + seconds
    for stage in ("detection", "recognition"):
        total[f"{stage}: before and after the model"] = total.pop(stage) - total[f"{stage} model"]
    everything = sum(sums(peer["wall"]))
    total["the rest"] = everything - sum(total.values())
    return {name: seconds / everything for name, seconds in total.items()}


def _stages(peers: Mapping[str, Any]) -> Iterator[str]:
    timed = {name: shares(peer) for name, peer in peers.items() if any(peer["stages"][0])}
    names = sorted({name for stages in timed.values() for name in stages})
    yield "The time of each predictor, as a share of the time of all pictures and rounds."
    yield ""
    yield "| stage | " + " | ".join(timed) + " |"
    yield "|---|" + "--:|" * len(timed)
    for name in names:
        yield f"| {name} | " + " | ".join(f"{100 * stages[name]:.1f} %" for stages in timed.values()) + " |"


SECTIONS = {
    "accuracy": ("Accuracy", _accuracy),
    "cold": ("One picture with the whole command", _cold),
    f"{DEFAULT}race": ("PP-OCRv6 small, the default models", _defaults),
    f"{DEFAULT}accuracy": ("Accuracy of the default models", _accuracy),
}


def chart(result: Mapping[str, Any]) -> str:
    """Seconds a picture by library."""
    race = result["race"]["content"]
    pages = len(race["images"])
    medians = {name: statistics.median(sums(peer["wall"])) / pages for name, peer in race["peers"].items()}
    title = f"Seconds per picture, {pages} mixed pictures ({result['race']['machine']}, {result['race']['date']})"
    return charts.bars(title, medians, " s")


def write(result: Mapping[str, Any]) -> None:
    """peers.json and, of a race, peers.md and peers.svg."""
    raced = "race" in result
    records.keep("peers", result, markdown(result) if raced else None)
    if raced:
        records.draw("peers", chart(result))


if __name__ == "__main__":
    write(records.known("peers"))
