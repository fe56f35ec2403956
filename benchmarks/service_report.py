"""Write the tables of benchmarks.service.

python -m benchmarks.service_report      writes benchmarks/results/service.md again from service.json
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import records

OURS, LIBRARY = "ocr-onnx serve", "predict_iter"
REFERENCES = {
    "paddle": "PaddleX serving, Paddle with MKL-DNN",
    "onnxruntime": "PaddleX serving, onnxruntime",
}
"""By engine."""

HEAD = """Written by `make bench-service`. On loopback: pictures as Base64 in JSON, no pictures in the answers; both orientation
stages off, detection at most 960 pixels a side, PP-OCRv5 mobile models everywhere. The pages are 12 street scenes, 6 receipts
and 3 pages of Chinese reports from labelled sets. The clients run on the same cores: `clients' share` is their share of the time of all
cores; figures without the clients are divided by the rest of the time."""

Taken = Mapping[str, Sequence[Mapping[str, Any]]]
"""What was measured of each by name, round after round."""


def level(clients: int, sent: Mapping[str, Any], cores: int) -> dict[str, Any]:
    """Numbers of one load."""
    answers = sent["answers"]
    good = [answer["seconds"] for answer in answers if answer["status"] == 200]
    refused = [answer for answer in answers if answer["status"] == 503]
    return {
        "clients": clients,
        "statuses": {str(status): n for status, n in sorted(Counter(each["status"] for each in answers).items())},
        "broken": sorted({answer["why"] for answer in answers if answer["why"]}),
        "retry_after": sum(str(answer["retry_after"]).isdecimal() for answer in refused),
        "wall": sent["wall"],
        "pages_a_second": len(good) / sent["wall"],
        "latency": {str(percent): float(np.percentile(good, percent)) for percent in (50, 95, 99)},
        "server_cpu": sent["server_cpu"] / max(len(good), 1),
        "clients_share": sent["cpu"] / (sent["wall"] * cores),
        "peak": sent["peak"],
        **course(sent["resident"]),
    }


def course(resident: Sequence[int]) -> dict[str, int]:
    """The most memory in the first tenth of the time, in the rest, and what was left at the end."""
    tenth = max(len(resident) // 10, 1)
    return {"first": max(resident[:tenth]), "rest": max(resident[tenth:] or resident), "final": resident[-1]}


def beside_library(taken: Taken, pages: int, cores: int) -> dict[str, Any]:
    """Service and library: seconds of all pictures, round by round."""
    service, library = taken[OURS], taken[LIBRARY]
    said = service[0]["texts"]
    read = [text for file in sorted(said, key=int) for text in said[file]]
    return {
        "pages": pages,
        "cores": cores,
        "service": [_numbers(each) for each in service],
        "library": [{"wall": each["wall"], "cpu": each["cpu"]} for each in library],
        "equal": read == [line["text"] for line in library[0]["lines"]],
    }


def beside_reference(taken: Taken, pages: int, cores: int) -> dict[str, Any]:
    """Several servers: the same, and how many of our texts each has, and errors."""
    ours = taken[OURS][0]["texts"]
    return {
        "pages": pages,
        "cores": cores,
        "servers": {
            name: {
                "rounds": [_numbers(each) for each in rounds],
                "peak": max(each["peak"] for each in rounds),
                "equal": sum(
                    (Counter(texts) & Counter(rounds[0]["texts"].get(file, []))).total() for file, texts in ours.items()
                ),
                "texts": sum(map(len, rounds[0]["texts"].values())),
                "errors": sum(answer["status"] != 200 for each in rounds for answer in each["answers"]),
            }
            for name, rounds in taken.items()
        },
    }


def _numbers(sent: Mapping[str, Any]) -> dict[str, float]:
    return {"wall": sent["wall"], "cpu": sent["server_cpu"], "clients_cpu": sent["cpu"]}


def ratios(service: Sequence[Mapping[str, float]], library: Sequence[Mapping[str, float]], cores: int) -> Iterator[Any]:
    """The service's pages a second as parts of the library's, round by round: as it was, without the clients, by processor."""
    for a, b in zip(service, library, strict=True):
        yield b["wall"] / a["wall"], b["wall"] / (a["wall"] - a["clients_cpu"] / cores), b["cpu"] / a["cpu"]


def spread_of(values: Sequence[float]) -> str:
    """Median (least to most)."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def said(row: Mapping[str, Any]) -> str:
    """One level, while others are measured."""
    return f"{row['clients']} clients: {row['statuses']}, {row['pages_a_second']:.2f} pages/s"


def markdown(result: Mapping[str, Any]) -> str:
    """All tables."""
    parts = ["# Load test of the service", HEAD]
    for name, (title, lines) in SECTIONS.items():
        if name in result:
            part = result[name]
            when = f"{part['date']}; {part['machine']}, load average {part['load']:.1f}."
            parts.append(f"## {title}\n\n{when} " + "\n".join(lines(part["content"])))
    return "\n\n".join([*parts, ""])


def _megabytes(kibibytes: float) -> str:
    return f"{kibibytes * 1024 / 1e6:.0f}"


def _levels(content: Mapping[str, Any]) -> Iterator[str]:
    yield f"{content['seconds']:g} seconds per level, after all pictures were read once; at most {content['queue']} requests wait,"
    yield "for at most 600 seconds. Memory is the sum over all processes of the server, as the kernel counts it, in MB."
    yield ""
    yield "| clients | answers by status | pages per second | p50 s | p95 s | p99 s | server's processor s per page | clients' share | peak | maximum in the first tenth | maximum after it | at the end |"
    yield "|--:|---|" + "--:|" * 10
    for row in content["rows"]:
        latency = " | ".join(f"{row['latency'][percent]:.2f}" for percent in ("50", "95", "99"))
        memory = " | ".join(_megabytes(row[key]) for key in ("peak", "first", "rest", "final"))
        yield (
            f"| {row['clients']} | {_statuses(row)} | {row['pages_a_second']:.2f} | {latency} | {row['server_cpu']:.3f} | "
            f"{row['clients_share']:.2%} | {memory} |"
        )


def _statuses(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} x {status}" for status, count in row["statuses"].items())


def _library(content: Mapping[str, Any]) -> Iterator[str]:
    service, library, cores = content["service"], content["library"], content["cores"]
    found = [*zip(*ratios(service, library, cores), strict=True)]
    yield f"{content['pages']} pictures, once per round, in turns; {len(service)} rounds; 8 clients."
    yield f"All texts equal: {'yes' if content['equal'] else 'no'}."
    yield ""
    yield "| | seconds per round | processor seconds per round |"
    yield "|---|--:|--:|"
    for name, rows in ((OURS, service), (LIBRARY, library)):
        yield f"| {name} | " + " | ".join(spread_of([row[key] for row in rows]) for key in ("wall", "cpu")) + " |"
    yield ""
    yield f"The service's pages per second as a ratio to the library's: {spread_of(found[0])}; without the clients {spread_of(found[1])};"
    yield f"by processor time {spread_of(found[2])}."


def _overload(content: Mapping[str, Any]) -> Iterator[str]:
    refused = content["statuses"].get("503", 0)
    yield f"{content['clients']} clients for {content['seconds']:g} seconds, and {content['queue']} requests may wait; a refused client"
    yield f"tries again after 0.2 s. Answers: {_statuses(content)}; {content['retry_after']} of the {refused} refusals have a Retry-After."
    yield f"{content['pages_a_second']:.2f} pages per second, p99 of their answers {content['latency']['99']:.2f} s, peak {_megabytes(content['peak'])} MB."


def _reference(content: Mapping[str, Any]) -> Iterator[str]:
    servers = content["servers"]
    ours = servers[OURS]["rounds"]
    yield f"{content['pages']} pictures, once per round, 8 clients; all servers run, and are loaded in turns; {len(ours)} rounds."
    yield "PaddleX's basic serving with the same weights and thresholds, as many threads as cores."
    yield ""
    yield "| server | pages per second | speed-up of ocr-onnx serve | by processor time | texts | equal texts | errors | peak MB |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    for name, server in servers.items():
        rounds = server["rounds"]
        cells = (
            name,
            spread_of([content["pages"] / each["wall"] for each in rounds]),
            spread_of([a["wall"] / b["wall"] for a, b in zip(rounds, ours, strict=True)]),
            spread_of([a["cpu"] / b["cpu"] for a, b in zip(rounds, ours, strict=True)]),
            f"{server['texts']}",
            f"{server['equal']}",
            f"{server['errors']}",
            _megabytes(server["peak"]),
        )
        yield f"| {' | '.join(cells)} |"


SECTIONS = {
    "levels": ("Number of clients", _levels),
    "library": ("Comparison with the library", _library),
    "overload": ("Overload", _overload),
    "reference": ("Comparison with PaddleX serving", _reference),
}


def write(result: Mapping[str, Any]) -> None:
    """service.json and service.md."""
    records.keep("service", result, markdown(result))


if __name__ == "__main__":
    write(records.known("service"))
