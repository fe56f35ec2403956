"""The options of `ocr-onnx run`: every parameter of PaddleOCR under its name, shown by group."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

NAME_WIDTH = 34
"""Columns of the help that options take at most, before their text starts on a line of its own."""

OWN_GROUP = "Input and output"
"""The title in the help for what is no parameter of PaddleOCR."""

READING = ("pdf_pages", "pdf_scale", "pdf_password", "max_megapixels")
"""The settings that are fields of InputOptions."""

DEFAULT_MODELS = {
    "text_detection": "PP-OCRv5_mobile_det",
    "text_recognition": "PP-OCRv5_mobile_rec",
    "textline_orientation": "PP-LCNet_x1_0_textline_ori",
    "doc_orientation_classify": "PP-LCNet_x1_0_doc_ori",
    "doc_unwarping": "UVDoc",
}
"""What the names of stages in parameters begin with, and what the help says of their models."""


class Setting(click.Option):
    """An option under PaddleOCR's name, which may be written with dashes as well."""

    def __init__(self, name: str, *, group: str, **attributes: Any) -> None:
        if attributes.get("type") is bool:
            attributes["metavar"] = "[BOOL]"
        super().__init__(list(dict.fromkeys([f"--{name}", f"--{name.replace('_', '-')}"])), **attributes)
        self.group = group

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        """The name once, what it takes, and the help."""
        return f"{self.opts[0]} {self.make_metavar(ctx)}", self.help or ""


class Run(click.Command):
    """A command whose options are shown by group, and whose booleans may stand as bare flags."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write out bare flags: `--use_doc_unwarping page.png` is `--use_doc_unwarping True page.png`."""
        flags = {o for p in self.params if isinstance(p, Setting) and p.type is click.BOOL for o in p.opts}
        written: list[str] = []
        for this, following in itertools.zip_longest(args, args[1:], fillvalue="--"):
            written.append(this)
            if this in flags and following.lower() not in click.types.BoolParamType.bool_states:
                written.append("True")
        return super().parse_args(ctx, written)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options under the titles of their groups."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            if isinstance(option, click.Option) and (record := option.get_help_record(ctx)) and not option.hidden:
                groups.setdefault(getattr(option, "group", OWN_GROUP), []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records, col_max=NAME_WIDTH)


def _reading() -> Iterator[Setting]:
    """How inputs are read, and where results go."""
    yield Setting(
        "save_path",
        group=OWN_GROUP,
        type=click.Path(file_okay=False, path_type=Path),
        help="Write each page's <stem>_res.json and its pictures into this folder.",
    )
    yield Setting("pdf_pages", group=OWN_GROUP, metavar="PAGES", help="Of PDFs, such as 1-3,7,20-; default: all.")
    yield Setting("pdf_scale", group=OWN_GROUP, type=float, help="Of PDFs, times 72 dots an inch; default: 2.0.")
    yield Setting(
        "pdf_password",
        group=OWN_GROUP,
        envvar="OCR_ONNX_PDF_PASSWORD",
        help="Of encrypted PDFs. Other users see it among the processes: better set OCR_ONNX_PDF_PASSWORD.",
    )
    yield Setting(
        "max_megapixels",
        group=OWN_GROUP,
        type=float,
        help="Larger pictures are refused, PDF pages rendered smaller; default: 178.95697.",
    )


def _models() -> Iterator[Setting]:
    """The model of each stage."""
    models = "Models (a name of 'ocr-onnx models list'; a Paddle directory or .onnx file)"
    yield Setting("lang", group=models, help="Choose by language: 'ocr-onnx models langs' lists them.")
    yield Setting("ocr_version", group=models, help="Choose by version: PP-OCRv6, PP-OCRv5, PP-OCRv4 or PP-OCRv3.")
    for stage, model in DEFAULT_MODELS.items():
        yield Setting(f"{stage}_model_name", group=models, metavar="NAME", help=f"Default: {model}.")
        yield Setting(f"{stage}_model_dir", group=models, type=click.Path())


def _stages() -> Iterator[Setting]:
    """Which stages a page goes through."""
    stages = "Stages (True, False, or bare for True)"
    yield Setting("use_doc_orientation_classify", group=stages, type=bool, help="Turn pages upright; default: True.")
    yield Setting("use_doc_unwarping", group=stages, type=bool, help="Make bent pages flat; default: False.")
    yield Setting(
        "use_textline_orientation",
        group=stages,
        type=bool,
        help="Turn lines that stand on their heads; default: True.",
    )
    yield Setting(
        "textline_orientation_batch_size",
        group=stages,
        type=int,
        help="This many lines are turned as the first of them; 1: each by itself; default: 6.",
    )


def _detection() -> Iterator[Setting]:
    """Those of detection."""
    detection = "Detection"
    yield Setting(
        "preset",
        group=detection,
        type=click.Choice(["fast"]),
        help="fast: no side longer than 960 pixels (text_det_limit_side_len 960, text_det_limit_type max).",
    )
    yield Setting("text_det_limit_side_len", group=detection, type=int, help="In pixels; default: 64.")
    yield Setting(
        "text_det_limit_type",
        group=detection,
        type=click.Choice(["min", "max"]),
        help="min: enlarge the shorter side to the limit; max: reduce the longer side to it; default: min.",
    )
    yield Setting("text_det_thresh", group=detection, type=float, help="Text is pixels above this; default: 0.3.")
    yield Setting("text_det_box_thresh", group=detection, type=float, help="Drop boxes below this; default: 0.6.")
    yield Setting("text_det_unclip_ratio", group=detection, type=float, help="How far boxes grow; default: 1.5.")
    yield Setting(
        "text_det_input_shape",
        group=detection,
        type=int,
        nargs=3,
        metavar="3 HEIGHT WIDTH",
        help="Stretch pages to this, whatever the limits.",
    )


def _recognition() -> Iterator[Setting]:
    """Those of recognition."""
    recognition = "Recognition"
    yield Setting(
        "text_recognition_batch_size",
        group=recognition,
        type=int,
        help="This many lines are padded to one width; default: 6.",
    )
    yield Setting(
        "text_rec_padding",
        group=recognition,
        type=click.Choice(["batch", "own"]),
        help="batch: as PaddleOCR, the widest of a batch; own: each line by itself, which is faster; default: batch.",
    )
    yield Setting("text_rec_score_thresh", group=recognition, type=float, help="Drop texts below this; default: 0.0.")
    yield Setting(
        "text_rec_input_shape",
        group=recognition,
        type=int,
        nargs=3,
        metavar="3 48 WIDTH",
        help="Stretch lines to this.",
    )
    yield Setting("return_word_box", group=recognition, type=bool, help="Boxes of words as well; default: False.")


def _machine() -> Iterator[Setting]:
    """What the models run on, and the pipeline file."""
    machine = "Machine and pipeline file"
    yield Setting(
        "mode",
        group=machine,
        type=click.Choice(["standard", "high-performance"]),
        help="high-performance: faster, and some lines are read otherwise (text_det_limit_side_len 1280, "
        "text_det_limit_type max, text_rec_padding own); default: standard.",
    )
    yield Setting(
        "device",
        group=machine,
        help="cpu, gpu, gpu:N, gpu:0,1 for pages on several, or auto: a GPU if one works; default: cpu.",
    )
    yield Setting(
        "provider",
        group=machine,
        multiple=True,
        metavar="NAME[:KEY=VALUE,…]",
        help="ONNX Runtime's execution provider, with its options, in place of --device; may be repeated, first choice "
        "first.",
    )
    yield Setting(
        "build_missing",
        group=machine,
        type=bool,
        help="TensorRT may compile models here and now, for minutes, and not by 'ocr-onnx build' alone; default: False.",
    )
    yield Setting("cpu_threads", group=machine, type=int, help="Cores; default: all.")
    yield Setting("paddlex_config", group=machine, type=click.Path(), help="A PaddleX pipeline file, OCR.yaml.")


def _hidden() -> Iterator[Setting]:
    """What PaddleOCR's command takes as well: old names, and parameters that mean nothing here."""
    for name, kind in {"enable_hpi": bool, "use_tensorrt": bool, "enable_mkldnn": bool, "enable_cinn": bool}.items():
        yield Setting(name, group="", type=kind, hidden=True)
    for name in ("min_subgraph_size", "mkldnn_cache_capacity", "det_limit_side_len", "rec_batch_num", "cls_batch_num"):
        yield Setting(name, group="", type=int, hidden=True)
    for name in ("det_db_thresh", "det_db_box_thresh", "det_db_unclip_ratio"):
        yield Setting(name, group="", type=float, hidden=True)
    for name in ("precision", "engine", "det_model_dir", "rec_model_dir", "cls_model_dir", "det_limit_type"):
        yield Setting(name, group="", hidden=True)
    yield Setting("use_angle_cls", group="", type=bool, hidden=True)


def all_settings() -> list[Setting]:
    """Every option, group by group."""
    groups = (_reading, _models, _stages, _detection, _recognition, _machine, _hidden)
    return [setting for group in groups for setting in group()]
