"""The options that `run`, `build` and `serve` share, generated from the declarations in ocr_onnx.options."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from ocr_onnx.cli.completion import complete_devices, complete_languages, complete_models, complete_versions
from ocr_onnx.declarations import Declaration, shown
from ocr_onnx.errors import OCRError
from ocr_onnx.models.presets import DEFAULT, PRESETS, Preset
from ocr_onnx.options import Models, Place, places
from ocr_onnx.paddle.parameters import DROPPED, OLD_NAMES, TENSORRT, WITHOUT_EFFECT

NAME_WIDTH = 34
"""Width of the column of option names in the help. The text of an option with a longer name starts on the next line."""

INPUT, MODELS, STAGES, DETECTION, RECOGNITION, MACHINE = (
    "Input and output",
    "Models (NAME of 'ocr-onnx models list'; DIR: Paddle folder or .onnx file)",
    "Stages (an option without a value is True)",
    "Detection",
    "Recognition",
    "Machine and pipeline file",
)
"""Titles of the sections of the help."""

TITLES = {
    "": STAGES,
    "page_orientation": STAGES,
    "detection": DETECTION,
    "line_orientation": STAGES,
    "recognition": RECOGNITION,
    "input": INPUT,
}
"""The section of the help for the options in each field of OCROptions."""

TYPES: dict[str, Any] = {
    "boolean": bool,
    "integer": int,
    "number": float,
    "text": str,
    "shape": int,
    "path": click.Path(dir_okay=False, path_type=Path),
}

CLICK_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "allow_host": {"metavar": "NAME"},
    "allow_url": {"metavar": "HOST"},
    "max_memory": {"metavar": "MEGABYTES"},
    "pdf_pages": {"metavar": "PAGES"},
    "pdf_password": {"envvar": "OCR_ONNX_PDF_PASSWORD"},
}
"""Attributes of click options that have no counterpart in their declarations."""

DEFAULT_MODELS: Mapping[str, object] = {
    "text_detection": Models().text_detection,
    "text_recognition": Models().text_recognition,
    "textline_orientation": Models().textline_orientation,
    "doc_orientation_classify": Models().doc_orientation,
    "doc_unwarping": Models().doc_unwarping,
}
"""The default model of each stage, by the prefix of its parameters."""


class Setting(click.Option):
    """An option with PaddleOCR's name, which may also be written with dashes."""

    def __init__(self, name: str, *, group: str, **attributes: Any) -> None:
        if attributes.get("type") is bool:
            attributes["metavar"] = "[BOOL]"
        super().__init__(list(dict.fromkeys([f"--{name}", f"--{name.replace('_', '-')}"])), **attributes)
        self.group = group

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        """Return the name with underscores, its value, and the help text."""
        return f"{self.opts[0]} {self.make_metavar(ctx)}", self.help or ""


class PipelineCommand(click.Command):
    """A command that shows its options in sections, and accepts boolean options without a value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert omitted values: `--use_doc_unwarping page.png` becomes `--use_doc_unwarping True page.png`."""
        flags = {o for p in self.params if isinstance(p, Setting) and p.type is click.BOOL for o in p.opts}
        written: list[str] = []
        for this, following in itertools.zip_longest(args, args[1:], fillvalue="--"):
            written.append(this)
            if this in flags and following.lower() not in click.types.BoolParamType.bool_states:
                written.append("True")
        return super().parse_args(ctx, written)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in their sections."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            if isinstance(option, click.Option) and (record := option.get_help_record(ctx)) and not option.hidden:
                groups.setdefault(getattr(option, "group", INPUT), []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records, col_max=NAME_WIDTH)


def setting_of(place: Place) -> Setting:
    """Return the command-line option for an option of OCROptions."""
    return setting_of_declaration(place.declaration, place.default, TITLES[place.group])


def setting_of_declaration(declared: Declaration, default: Any, group: str) -> Setting:
    """Return the command-line option for a declared option."""
    attributes: dict[str, Any] = {"type": TYPES[declared.kind], "multiple": declared.multiple}
    if declared.choices:
        attributes["type"] = click.Choice(declared.choices)
    if declared.kind == "shape":
        attributes |= {"nargs": 3, "metavar": "3 HEIGHT WIDTH"}
    default_text = "" if default is None or declared.multiple else f" Default: {shown(default)}."
    return Setting(
        declared.name,
        group=group,
        help=declared.help + default_text,
        **attributes,
        **CLICK_ATTRIBUTES.get(declared.name, {}),
    )


def input_settings() -> list[Setting]:
    """Return the options for reading inputs."""
    return [setting_of(place) for place in places() if place.group == "input"]


def pipeline_settings() -> list[Setting]:
    """Return the options for models, stages and the machine, and PaddleOCR's deprecated names."""
    declared = [setting_of(place) for place in places() if place.group != "input"]
    # The sections of the help have the order of their first options.
    return [*_models(), *declared, *_machine(), *_hidden()]


def _models() -> Iterator[Setting]:
    """Yield the options that choose models."""
    yield Setting(
        "preset",
        group=MODELS,
        type=click.Choice([name for name in PRESETS if name != DEFAULT.name]),
        help=f"{'; '.join(map(_as_text, PRESETS.values()))}.",
    )
    yield Setting(
        "lang",
        group=MODELS,
        shell_complete=complete_languages,
        help="Choose the models for a language; 'ocr-onnx models langs' lists the languages. Several, separated by commas: each "
        "line is read by the models in turn until one is sure, and the best reading is kept.",
    )
    yield Setting(
        "ocr_version",
        group=MODELS,
        shell_complete=complete_versions,
        help="Choose the models of a version, such as PP-OCRv5; 'ocr-onnx models langs' lists the versions.",
    )
    for stage, model in DEFAULT_MODELS.items():
        yield Setting(
            f"{stage}_model_name",
            group=MODELS,
            metavar="NAME",
            help=f"Name of the model. Default: {model}.",
            shell_complete=complete_models,
        )
        yield Setting(
            f"{stage}_model_dir",
            group=MODELS,
            type=click.Path(),
            metavar="DIR",
            help="Path of a custom model, instead of a name.",
        )
    yield from _downloads()


def _downloads() -> Iterator[Setting]:
    """Yield the options for downloads of models that are not on this machine."""
    yield Setting(
        "no_download",
        group=MODELS,
        type=bool,
        help="Do not download missing models. OCR_ONNX_OFFLINE=1 disables all downloads. Default: False.",
    )
    yield Setting(
        "require_checksum",
        group=MODELS,
        type=bool,
        help="Download only models whose sha256 is published or was recorded at an earlier download. Default: False.",
    )


def _as_text(preset: Preset) -> str:
    values = ", ".join(f"{name} {value}" for name, value in preset.values.items())
    models = f"{preset.text_detection}, {preset.text_recognition}"
    name = f"{preset.name}: " if preset is not DEFAULT else "not given: "
    return f"{name}{preset.help} ({models}{', ' if values else ''}{values})"


def _machine() -> Iterator[Setting]:
    """Yield the options for the device, and the pipeline file."""
    yield Setting(
        "mode",
        group=MACHINE,
        type=click.Choice(["standard", "high-performance"]),
        help="high-performance: faster, but the text of some lines changes (text_det_limit_side_len 1280, "
        "text_det_limit_type max, text_rec_padding own). Default: standard.",
    )
    yield Setting(
        "compatible",
        group=MACHINE,
        type=click.Choice(["paddleocr"]),
        help="paddleocr: the defaults of PaddleOCR, for the same text; without it, the defaults with the best accuracy "
        "(docs/defaults.md).",
    )
    yield Setting(
        "device",
        group=MACHINE,
        shell_complete=complete_devices,
        help="cpu, gpu, gpu:N, gpu:0,1 (pages are distributed over both GPUs), or auto (a GPU if one works). Default: cpu.",
    )
    yield Setting(
        "provider",
        group=MACHINE,
        multiple=True,
        metavar="NAME[:KEY=VALUE,…]",
        help="ONNX Runtime execution provider with its options, instead of --device. Can be repeated: later providers are "
        "fallbacks.",
    )
    yield Setting(
        "build_missing",
        group=MACHINE,
        type=bool,
        help="Build missing TensorRT engines at startup, which takes minutes; 'ocr-onnx build' builds them in advance. "
        "Default: False.",
    )
    yield Setting("cpu_threads", group=MACHINE, type=int, help="Number of CPU cores to use. Default: all.")
    yield Setting(
        "paddlex_config",
        group=MACHINE,
        type=click.Path(),
        help="Read models and options from a PaddleX pipeline file, OCR.yaml. Options on the command line take precedence.",
    )


def _hidden() -> Iterator[Setting]:
    """Yield PaddleOCR's deprecated names, and its parameters for Paddle's engines; the help omits them."""
    settings = {setting.name: setting for setting in map(setting_of, places())}
    yield Setting("use_gpu", group="", type=bool, hidden=True)
    for name in sorted(DROPPED):
        yield Setting(name, group="", hidden=True)
    for old, new in OLD_NAMES.items():
        yield Setting(old, group="", type=settings[new].type if new in settings else None, hidden=True)
    for name, (usual, _) in {**WITHOUT_EFFECT, **TENSORRT}.items():
        if usual is not None:
            yield Setting(name, group="", type=type(usual), hidden=True)


def require_linux(what: str) -> None:
    """Raise OCRError on other systems for a command whose decoding processes have limits that only Linux enforces."""
    if sys.platform != "linux":
        raise OCRError(f"{what} needs Linux: run it in WSL, in a container (docs/deploying.md) or on another machine")


def save_path_setting() -> Setting:
    """Return the option for the folder of result files."""
    return Setting(
        "save_path",
        group=INPUT,
        type=click.Path(file_okay=False, path_type=Path),
        help="Write <stem>_res.json and the images of each page into this folder.",
    )
