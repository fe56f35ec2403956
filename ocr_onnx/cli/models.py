"""The commands `ocr-onnx models …`: what there is, what is here, and how it gets here."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click

from ocr_onnx.errors import OCRError

yes_option = click.option(
    "-y", "--yes", is_flag=True, help="Make an environment with Paddle where converting needs one, without a question."
)


def confirm(yes: bool) -> Callable[[str], bool] | None:
    """Who answers whether an environment may be made: --yes, the person at the terminal, or nobody."""
    if yes:
        return lambda _: True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(question: str) -> bool:
        agreed = click.confirm(question, err=True)
        if agreed:
            click.echo("Making it: this takes some minutes (ocr-onnx -v shows what is done).", err=True)
        return agreed

    return ask


@click.group()
def models() -> None:
    """The models there are, and those on this machine."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="All that is known of each, as JSON.")
def list_models(as_json: bool) -> None:
    """List the models of the zoo and whether they are on this machine."""
    from ocr_onnx.models import store, zoo

    here = set(store.installed())
    if as_json:
        records = [{**asdict(spec), "present": spec.name in here} for spec in zoo.models().values()]
        click.echo(json.dumps(records, ensure_ascii=False, indent=4))
        return
    for spec in zoo.models().values():
        state = "embedded" if spec.embedded else "here" if spec.name in here else "-"
        click.echo(f"{spec.name:<33} {spec.task:<21} {spec.family:<9} {state}")
    for name in sorted(here - zoo.models().keys()):
        click.echo(f"{name:<33} {'imported':<21} {'-':<9} here")


@models.command("langs")
def list_languages() -> None:
    """List the languages and the versions that read each."""
    from ocr_onnx.models.languages import languages

    for language, versions in languages().items():
        click.echo(f"{language:<12} {' '.join(versions)}")


@models.command("show")
@click.argument("name")
def show_model(name: str) -> None:
    """Print all that is known of the model NAME."""
    from ocr_onnx.models import store, zoo

    receipt = store.receipt(name)
    known = {**asdict(zoo.spec(name)), "path": str(store.path_of(name)), "receipt": receipt and asdict(receipt)}
    click.echo(json.dumps(known, ensure_ascii=False, indent=4))


@models.command("path")
@click.argument("name")
def path_of_model(name: str) -> None:
    """Print where the model NAME lies; an error if it is not on this machine."""
    from ocr_onnx.models import store

    click.echo(store.find(name))


@models.command("pull")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--accept-new", is_flag=True, help="Take files of which nobody publishes a sha256; it is then recorded.")
@yes_option
def pull_models(names: tuple[str, ...], accept_new: bool, yes: bool) -> None:
    """Fetch and convert the models NAME..., if they are not on this machine.

    Proxies are those of the environment; OCR_ONNX_HOME is the folder; OCR_ONNX_HOST is an address to ask first, such as
    https://mirror.example/{name}/{file}; OCR_ONNX_OFFLINE=1 forbids all fetching.

    \b
    Example:
      ocr-onnx models pull PP-OCRv4_mobile_det PP-OCRv4_mobile_rec
    """
    from ocr_onnx.converters.pull import pull

    def fetched(name: str) -> str:
        path = pull(name, accept_new=accept_new, progress=_progress(name), confirm=confirm(yes))
        return f"{name}: {path}"

    _each(names, fetched)


@models.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME...]")
def verify_models(names: tuple[str, ...]) -> None:
    """Check the sha256 of the models NAME..., or of all on this machine."""
    from ocr_onnx.models import store

    _each(names or store.installed(), lambda name: f"{name}: {store.verify(name)}")


@models.command("bundle")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The archive to write.")
def bundle_models(names: tuple[str, ...], output: Path) -> None:
    """Pack the models NAME... into one archive, for 'models import' on a machine without a network."""
    from ocr_onnx.models import store

    store.bundle(names, output)
    click.echo(f"{output}: {', '.join(names)}")


@models.command("import")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--name", help="The name it gets; default: the one it says it has.")
@click.option("--dict", "dictionary", type=click.Path(path_type=Path), help="The dictionary, a character a line.")
@yes_option
def import_model(source: Path, name: str | None, dictionary: Path | None, yes: bool) -> None:
    """Take in SOURCE: a bundle, an ONNX file that ocr-onnx made, or the folder of a Paddle model."""
    from ocr_onnx.converters.pull import import_file

    for path in import_file(source, name=name, dictionary=dictionary, confirm=confirm(yes)):
        click.echo(path)


def _each(names: tuple[str, ...] | list[str], act: Callable[[str], str]) -> None:
    """Act on every name, print what comes of it, and exit with 1 if any failed."""
    failed = False
    for name in names:
        try:
            click.echo(act(name))
        except OCRError as error:
            failed = True
            click.echo(f"Error: {error}", err=True)
    sys.exit(1 if failed else 0)


def _progress(name: str) -> Callable[[int, int | None], None] | None:
    """Shows how much has come, where somebody looks."""
    if not sys.stderr.isatty():
        return None

    def show(there: int, total: int | None) -> None:
        of_total = "" if total is None else f" of {total / 1e6:.1f}"
        click.echo(f"\r{name}: {there / 1e6:.1f}{of_total} MB", err=True, nl=there == total)

    return show
