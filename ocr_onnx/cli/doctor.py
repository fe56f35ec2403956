"""The command `ocr-onnx doctor`: check the installation, and print causes and remedies of problems."""

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

MARKS = {"ok": " ", "warning": "?", "error": "!"}


@click.command()
@click.option("--device", help="The device to check, as for 'ocr-onnx run'. Default: cpu.")
@click.option(
    "--provider",
    "providers",
    multiple=True,
    metavar="NAME[:KEY=VALUE,…]",
    help="The execution provider to check, as for 'ocr-onnx run'.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
def doctor(device: str | None, providers: tuple[str, ...], as_json: bool) -> None:
    """Check the installation, and run a small model on every execution provider.

    Prints one fact per line. '!' blocks the device or provider you asked for, '?' is another problem; cause and remedy
    follow on the next line. The exit code is 1 if a line has '!'.

    \b
    Examples:
      ocr-onnx doctor
      ocr-onnx doctor --device gpu
      ocr-onnx doctor --provider OpenVINO --json
    """
    from ocr_onnx.cli.diagnosis import diagnose

    report = diagnose(device, providers)
    if as_json:
        click.echo(json.dumps({"works": report.works, **asdict(report)}, ensure_ascii=False, indent=4))
    else:
        for line in _lines(report):
            click.echo(line)
    sys.exit(0 if report.works else 1)


def _lines(report: Report) -> Iterator[str]:
    """Yield the lines of the report by section, with the values aligned in a column."""
    for section, facts in itertools.groupby(report.facts, lambda fact: fact.section):
        yield section
        listed = list(facts)
        width = max(len(fact.name) for fact in listed)
        for fact in listed:
            yield f"{MARKS[fact.state]} {fact.name:<{width}}  {fact.value}"
            if fact.explanation:
                yield f"    {fact.explanation}"
