"""The command `ocr-onnx doctor`: what is here, what works, and what helps where it does not."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ocr_onnx.cli.diagnosis import Report

MARKS = {"ok": " ", "note": "?", "problem": "!"}


@click.command()
@click.option("--device", help="As of 'ocr-onnx run': what is to work; default: cpu.")
@click.option("--provider", "providers", multiple=True, metavar="NAME[:KEY=VALUE,…]", help="As of 'ocr-onnx run'.")
@click.option("--json", "as_json", is_flag=True, help="The facts as JSON.")
def doctor(device: str | None, providers: tuple[str, ...], as_json: bool) -> None:
    """Look at what is installed, and run a small model on every provider.

    A line a fact: '!' marks what keeps the device or the providers asked for from working, '?' what is amiss besides; the
    cause and the cure stand below. The exit code is 1 where a line has '!'.

    \b
    Examples:
      ocr-onnx doctor
      ocr-onnx doctor --device gpu
      ocr-onnx doctor --provider OpenVINOExecutionProvider --json
    """
    from ocr_onnx.cli.diagnosis import examine

    report = examine(device, providers)
    if as_json:
        click.echo(json.dumps({"works": report.works, **asdict(report)}, ensure_ascii=False, indent=4))
    else:
        for line in _lines(report):
            click.echo(line)
    sys.exit(0 if report.works else 1)


def _lines(report: Report) -> Iterator[str]:
    """Section by section, the values of each in one column."""
    for section, facts in itertools.groupby(report.facts, lambda fact: fact.section):
        yield section
        listed = list(facts)
        width = max(len(fact.name) for fact in listed)
        for fact in listed:
            yield f"{MARKS[fact.state]} {fact.name:<{width}}  {fact.value}"
            if fact.why:
                yield f"    {fact.why}"
