"""The rules of olmOCR-bench, and the measures of reading order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import olmocr, reading

TEXT = olmocr.normalized("Gate 7\nThe \u201cold\u201d river \u2014 low in winter\n\nBoats came **down** from hills")


@pytest.mark.parametrize(
    ("assertion", "holds"),
    [
        ({"type": "order", "before": "Gate 7", "after": "Boats came", "max_diffs": 0}, True),
        ({"type": "order", "before": "Boats came", "after": "Gate 7", "max_diffs": 0}, False),
        ({"type": "order", "before": "Gate 8", "after": "Boats came", "max_diffs": 1}, True),
        ({"type": "order", "before": "Gate 8", "after": "Boats came", "max_diffs": 0}, False),
        ({"type": "present", "text": 'The "old" river - low in winter', "max_diffs": 0}, True),
        ({"type": "present", "text": "boats came down", "max_diffs": 0}, False),
        ({"type": "present", "text": "boats came down", "max_diffs": 0, "case_sensitive": False}, True),
        ({"type": "absent", "text": "7", "max_diffs": 0, "first_n": 10}, False),
        ({"type": "absent", "text": "7", "max_diffs": 0, "last_n": 10}, True),
        ({"type": "absent", "text": "x" * 200, "max_diffs": 0}, True),
    ],
)
def test_an_assertion_holds_by_the_rules_of_the_benchmark(assertion: dict[str, Any], holds: bool) -> None:
    assert olmocr.holds(assertion, TEXT) is holds


def test_what_a_text_can_pass_does_not_depend_on_its_order_or_its_spaces() -> None:
    order = {"type": "order", "before": "the end", "after": "a begin", "max_diffs": 0}
    present, absent = {"type": "present", "text": "zebra"}, {"type": "absent", "text": "zebra"}
    page = olmocr.Page(Path("page.pdf"), (order, present, absent))
    assert (page.attainable("a be gin and the end"), page.passed("a begin and the end")) == (2, 1)
    assert page.attainable("zebra") == 1


def test_pages_are_read_with_their_assertions(tmp_path: Path) -> None:
    assertions = [{"pdf": "b.pdf", "type": "present", "text": text, "max_diffs": 0} for text in ("Gate", "Door")]
    (tmp_path / "tests.jsonl").write_text("\n".join(map(json.dumps, assertions)), "utf-8")
    (page,) = olmocr.pages(tmp_path)
    assert (page.path, page.passed("Gate 7"), len(page.assertions)) == (tmp_path / "b.pdf", 1, 2)


def test_cells_of_doclaynet_are_compared_with_their_order_in_the_file(tmp_path: Path) -> None:
    cells = [
        {"bbox": [x, 100 + 20 * i, 300, 15], "text": "the words of a line that is long"}
        for x in (100, 500)
        for i in range(20)
    ]
    metadata = {"original_width": 600, "original_height": 800}
    (tmp_path / "page.json").write_text(json.dumps({"metadata": metadata, "cells": cells}), "utf-8")
    assert reading.doclaynet_pairs(tmp_path) == {"columns": 1.0, "paddle": 0.0}


def test_recognized_pages_survive_the_cache() -> None:
    line = {
        "text": "Gate",
        "score": 0.9,
        "quad": [[1, 1], [9, 1], [9, 5], [1, 5]],
        "chars": list("Gate"),
        "pos": [1, 3, 5, 7],
        "total": 8.0,
    }
    page = reading.recognized({"w": 20, "h": 10, "lines": [line]})
    assert (page.in_columns(), page.as_paddle(), page.lines[0].columns.positions) == ("Gate", "Gate", (1, 3, 5, 7))


def test_a_split_that_was_not_read_is_said_to_be_missing() -> None:
    result = {
        "circumstances": "today",
        "olmocr": {"Tesseract": {"multi_column": [3, 4]}},
        "doclaynet": {},
        "milliseconds": {},
    }
    assert "| Tesseract | 75.0 % (3 of 4) | not measured | not measured |" in reading.markdown(result)
