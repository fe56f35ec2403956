"""The commands `ocr-onnx models …`: list, download, verify, bundle and import models."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ocr_onnx.cli.completion import complete_models
from ocr_onnx.errors import OCRError

if TYPE_CHECKING:
    from ocr_onnx.models.zoo import ModelSpec

FEW_LANGUAGES = 4
"""Of a model: up to so many are named in a list."""

Function = TypeVar("Function", bound=Callable[..., Any])

yes_option: Callable[[Function], Function] = click.option(
    "-y", "--yes", is_flag=True, help="Create an environment with Paddle without asking, if conversion needs one."
)

dictionary_option: Callable[[Function], Function] = click.option(
    "--dict",
    "dictionary",
    type=click.Path(path_type=Path),
    help="The dictionary of a recognition model: one character per line.",
)


def confirm(yes: bool) -> Callable[[str], bool] | None:
    """Return a function that answers a question: yes if `yes`, else the user at a terminal; None without a terminal."""
    if yes:
        return lambda _: True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(question: str) -> bool:
        agreed = click.confirm(question, err=True)
        if agreed:
            click.echo("Creating the environment; this takes some minutes (ocr-onnx -v shows each step).", err=True)
        return agreed

    return ask


@click.group()
def models() -> None:
    """List, download, verify, bundle and import models."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print all fields of each model as JSON.")
def list_models(as_json: bool) -> None:
    """List all models: task, version, languages, and how each is obtained.

    The last column is embedded (in the package), local (downloaded or imported), or the option of 'ocr-onnx models pull'
    that downloads it.
    """
    from ocr_onnx.models import store, zoo

    local = set(store.installed())
    if as_json:
        records = [{**asdict(spec), "present": spec.name in local} for spec in zoo.models().values()]
        click.echo(json.dumps(records, ensure_ascii=False, indent=4))
        return
    rows = [_row(spec, local=spec.name in local) for spec in zoo.models().values()]
    rows += [(name, "imported", "-", "-", "local") for name in sorted(local - zoo.models().keys())]
    _print_table(("MODEL", "TASK", "VERSION", "LANGUAGES", "OBTAINED"), rows)


@models.command("langs")
def list_languages() -> None:
    """List the languages and the model versions that support each.

    Codes of ISO 639 and BCP 47 and Tesseract's names are accepted too.
    """
    from ocr_onnx.models.language_names import names
    from ocr_onnx.models.languages import languages

    rows = [(language, names().get(language, "-"), " ".join(versions)) for language, versions in languages().items()]
    _print_table(("LANG", "LANGUAGE", "VERSIONS"), rows)


@models.command("presets")
def list_presets() -> None:
    """List the presets: their models and options, and their accuracy and time as measured by `make accuracy`."""
    from ocr_onnx.models import presets

    click.echo(presets.table())


@models.command("show")
@click.argument("name", shell_complete=complete_models)
@click.option("--json", "as_json", is_flag=True, help="Print the fields as JSON.")
def show_model(name: str, as_json: bool) -> None:
    """Print the fields of the model NAME, with its path and the record of its download."""
    from ocr_onnx.models import store, zoo

    receipt = store.receipt(name)
    known = {**asdict(zoo.spec(name)), "path": str(store.path_of(name)), "receipt": receipt and asdict(receipt)}
    if as_json:
        click.echo(json.dumps(known, ensure_ascii=False, indent=4))
        return
    import yaml

    filled = {name: value for name, value in known.items() if value not in (None, (), {})}
    click.echo(yaml.safe_dump(json.loads(json.dumps(filled)), sort_keys=False, allow_unicode=True), nl=False)


@models.command("path")
@click.argument("name", shell_complete=complete_models)
def path_of_model(name: str) -> None:
    """Print the path of the model NAME; fails if it is not on this machine."""
    from ocr_onnx.models import store

    click.echo(store.find(name))


@models.command("pull")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_models)
@click.option("--accept-new", is_flag=True, help="Accept files without a published sha256; their sha256 is recorded.")
@yes_option
def pull_models(names: tuple[str, ...], accept_new: bool, yes: bool) -> None:
    """Download the models NAME... and convert them, unless they are on this machine.

    Environment variables: HTTPS_PROXY is the proxy; OCR_ONNX_HOME the folder of models; OCR_ONNX_HOST the URL of a mirror
    to try first, such as https://mirror.example/{name}/{file}; OCR_ONNX_OFFLINE=1 disables all downloads.

    \b
    Example:
      ocr-onnx models pull PP-OCRv4_mobile_det PP-OCRv4_mobile_rec
    """
    from ocr_onnx.converters.pull import pull, shared_wheels
    from ocr_onnx.models.download import progress_bar

    def pull_one(name: str) -> str:
        path = pull(name, accept_new=accept_new, progress=progress_bar(name), confirm=confirm(yes))
        return f"{name}: {path}"

    with shared_wheels():
        _each(names, pull_one)


@models.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME...]", shell_complete=complete_models)
def verify_models(names: tuple[str, ...]) -> None:
    """Verify the sha256 of the models NAME... Default: all models on this machine."""
    from ocr_onnx.models import store

    _each(names or store.installed(), lambda name: f"{name}: ok, sha256 {store.verify(name)}")


@models.command("bundle")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_models)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The archive file to write.")
def bundle_models(names: tuple[str, ...], output: Path) -> None:
    """Write the models NAME... into one archive, for 'models import' on a machine without network access."""
    from ocr_onnx.models import store

    store.bundle(names, output)
    click.echo(f"{output}: {', '.join(names)}")


@models.command("import")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--name", help="The name to import it under. Default: the name in its metadata.")
@dictionary_option
@yes_option
def import_model(source: Path, name: str | None, dictionary: Path | None, yes: bool) -> None:
    """Import SOURCE: a bundle, an ONNX file written by ocr-onnx, or the folder of a Paddle model, which is converted."""
    from ocr_onnx.converters.pull import import_file

    for path in import_file(source, name=name, dictionary=dictionary, confirm=confirm(yes)):
        click.echo(path)


def _each(names: tuple[str, ...] | list[str], act: Callable[[str], str]) -> None:
    """Print the result of `act` for every name, and exit with code 1 if one failed."""
    failed = False
    for name in names:
        try:
            click.echo(act(name))
        except OCRError as error:
            failed = True
            click.echo(f"Error: {error}", err=True)
    sys.exit(1 if failed else 0)


def _row(spec: ModelSpec, *, local: bool) -> tuple[str, ...]:
    """Return the row of a model in the list."""
    size = "" if spec.size is None else f", {spec.size:g} MB"
    pull = spec.pull_command.removeprefix("ocr-onnx models ").removesuffix(f" {spec.name}") + size
    state = "embedded" if spec.embedded else "local" if local else pull
    few = len(spec.languages) <= FEW_LANGUAGES
    languages = ",".join(spec.languages) if few else f"{len(spec.languages)} languages"
    return spec.name, spec.task, spec.family, languages or "-", state


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows with aligned columns."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
