"""Store measurements: files in benchmarks/results, and marked parts of documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def known(name: str) -> dict[str, Any]:
    """Return the stored result; empty if there is none."""
    file = RESULTS / f"{name}.json"
    return dict(json.loads(file.read_text("utf-8"))) if file.is_file() else {}


def keep(name: str, result: Mapping[str, Any], text: str | None) -> None:
    """Write a result as JSON, and as the Markdown that was made of it, if any."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    if text is not None:
        (RESULTS / f"{name}.md").write_text(text, "utf-8")


def draw(name: str, chart: str) -> None:
    """Write a chart, an SVG, once its result is kept."""
    (RESULTS / f"{name}.svg").write_text(chart, "utf-8")


def with_part(document: str, begin: str, part: str, end: str) -> str:
    """A document with another text between two marks, both of which stay. Raises ValueError where one is missing."""
    before, begun, rest = document.partition(begin)
    _, ended, after = rest.partition(end)
    if not (begun and ended):
        raise ValueError(f"the document has no {begin.strip()} with {end.strip()} after it: add both lines")
    return f"{before}{begin}{part}{end}{after}"
