"""Compare every model of the zoo in ONNX with the same model in Paddle. Writes docs/models-verified.md.

    python -m benchmarks.verify_models --reference FOLDER

The weights are the real ones if a mirror on the Python index or `reference` has them; else those of an ONNX export
(reference/models/onnx, or the cache), put into the official graph. For the other models the official graph
(reference/models/graphs), or the network rebuilt from PaddleOCR's training code (benchmarks/rebuild.py), gets made-up weights that do
not saturate: outputs that are all 0 or 1 would prove nothing. Real models of the older format are also checked in the newer one,
because official downloads may have either.
"""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from benchmarks import half_precision
from benchmarks.rebuild import CLASSIFIER, NAMES, made_up
from benchmarks.verify_images import real_inputs
from ocr_onnx.converters import verify
from ocr_onnx.converters.describe import describe_export
from ocr_onnx.converters.export import convert_model, import_onnx
from ocr_onnx.converters.paddle import PaddleModel
from ocr_onnx.converters.weights import fetch
from ocr_onnx.errors import ConversionError
from ocr_onnx.models import zoo
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.models.protobuf import varint
from ocr_onnx.models.zoo import ModelSpec
from ocr_onnx.stages.recognition import computed

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "models-verified.md"

CERTAIN = 1e-3
"""A probability nearer to 0 or 1 than this is saturated."""

RELATIVE = 1e-3
AGREEMENT = 0.999
"""What made-up weights must reach: the length of the difference over that of the output, and share of equal decisions."""

REAL = ("real", "real, newer format", "transplanted", "import")

WORST = 2e-4
"""What real weights must stay under on real pictures, every decision being equal."""

WITHOUT_RECORD = ModelSpec("Multilingual_PP-OCRv3_det", "text_detection", "PP-OCRv3", "Apache-2.0", "real")
"""Checked where `reference` has it; the zoo names none, for it is published neither as its models are nor in a package."""

NOISE = """\
Some rows with real weights do not pass. The cause is rounding in float32, and it changes no text (`make fidelity`: the
texts of PP-OCRv5, v4 and v3 are equal to the character):

- For the means of squeeze-and-excitation, Paddle adds up to 40,000 values one after another; ONNX Runtime does not. The difference
  is visible on reports with white margins. Both results are about as far from the result in float64 as from each other.
- Paddle's results with and without its graph optimization differ as much from each other as from ONNX Runtime's.
- Folding scalars into convolutions adds some rounding in PP-OCRv5_mobile_rec.
"""

LIST_PARAMETERS = """
import json, sys, paddle
paddle.enable_static()
with paddle.pir_utils.OldIrGuard():
    program = paddle.static.deserialize_program(open(sys.argv[1], "rb").read())
    variables = [v for v in program.list_vars() if v.persistable and v.name not in ("feed", "fetch")]
    print(json.dumps({v.name: list(v.shape) for v in variables}))
"""


TO_NEWER_FORMAT = """
import sys, paddle
from paddle2onnx import convert
paddle.enable_static()
with paddle.pir_utils.OldIrGuard():
    old, _, _ = paddle.static.load_inference_model(sys.argv[1], paddle.static.Executor(paddle.CPUPlace()))
new = paddle.pir.translate_to_pir(old.desc)
convert.load_parameter(new)
convert.save_program(new, sys.argv[2])
"""


@dataclass(frozen=True, slots=True)
class Tally:
    """How two forms of a model compare on some inputs."""

    inputs: int
    decisions: int
    differing: int
    absolute: float
    relative: float
    open_share: float
    """The share of outputs that are not saturated."""

    def __str__(self) -> str:
        return f"{self.inputs} | {self.decisions - self.differing} / {self.decisions} | {self.absolute:.1e}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    spec: ModelSpec
    weights: str
    images: Tally | None
    """Real pictures; for made-up weights they would be no better than noise."""
    others: Tally
    """Parts of the sample page and noise, in many sizes and batches."""
    seconds: float
    megabytes: float
    nodes: tuple[int, int]

    def passed(self) -> bool:
        """Made-up weights may differ within bounds; real ones may not decide otherwise on any real picture."""
        if self.images is not None:
            return self.images.differing == 0 and self.images.absolute < WORST
        if self.weights in REAL:
            return True
        agreement = 1 - self.others.differing / self.others.decisions
        return self.others.relative <= RELATIVE and agreement >= AGREEMENT and self.others.open_share > 0

    def __str__(self) -> str:
        real = " | | " if self.images is None else str(self.images)
        others = f"{self.others} | {self.others.relative:.1e} | {self.others.open_share:.0%}"
        size = f"{self.nodes[0]} → {self.nodes[1]} | {self.megabytes:.1f} | {self.seconds:.0f}"
        return f"| {self.spec.name} | {self.weights} | {real} | {others} | {size} |"


def parameters(graph: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a graph's weights by name."""
    if graph.suffix == ".json":
        operators = json.loads(graph.read_text("utf-8"))["program"]["regions"][0]["blocks"][0]["ops"]
        return {op["A"][3]: tuple(op["O"]["TT"]["D"][1]) for op in operators if op["#"] == "p"}
    done = subprocess.run(
        [sys.executable, "-c", LIST_PARAMETERS, str(graph)], capture_output=True, text=True, check=True
    )
    return {name: tuple(shape) for name, shape in json.loads(done.stdout.splitlines()[-1]).items()}


def write_parameters(values: Mapping[str, NDArray[np.float32]], target: Path) -> None:
    """Paddle's .pdiparams: the tensors sorted by name, each with a header and its shape as protobuf."""
    with target.open("wb") as file:
        for name in sorted(values):
            value = values[name]
            shape = b"".join(b"\x10" + varint(side) for side in value.shape)
            description = b"\x08\x05" + shape
            file.write(struct.pack("<IQIi", 0, 0, 0, len(description)) + description + value.astype("<f4").tobytes())


def synthetic(spec: ModelSpec, graphs: Path, target: Path, cache: Path) -> PaddleModel:
    """The official graph with made-up weights."""
    source = graphs / spec.name
    graph = next(path for path in source.iterdir() if path.suffix in {".json", ".pdmodel"})
    target.mkdir(parents=True)
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    rng = np.random.default_rng(0)
    write_parameters(
        {name: made_up(name, shape, rng) for name, shape in parameters(graph).items()}, target / "inference.pdiparams"
    )
    return PaddleModel.at(target, dictionary(spec, target, cache))


def transplanted(spec: ModelSpec, export: Path, graphs: Path, target: Path, cache: Path) -> PaddleModel:
    """The official graph with the weights of an ONNX export of the same model, found by their names."""
    graph = graphs / spec.name / "inference.pdmodel"
    model = onnx.load(export)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            values[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    target.mkdir(parents=True)
    (target / graph.name).write_bytes(graph.read_bytes())
    write_parameters(
        {name: values[name].reshape(shape) for name, shape in parameters(graph).items()}, target / "inference.pdiparams"
    )
    return PaddleModel.at(target, dictionary(spec, target, cache))


def rebuilt(spec: ModelSpec, target: Path, cache: Path) -> PaddleModel:
    """The network of the training code, in a process of its own: it holds Paddle."""
    command = [sys.executable, "-m", "benchmarks.rebuild", spec.name, str(target), "--cache", str(cache.resolve())]
    subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
    return PaddleModel.at(target)


def in_newer_format(model: PaddleModel, target: Path) -> PaddleModel:
    """A model of the older format translated by Paddle itself."""
    target.mkdir(parents=True)
    old = str(model.graph.with_suffix(""))
    command = [sys.executable, "-c", TO_NEWER_FORMAT, old, str(target / "inference")]
    subprocess.run(command, capture_output=True, check=True)
    return PaddleModel(target / "inference.json", target / "inference.pdiparams", None, model.dictionary)


def dictionary(spec: ModelSpec, target: Path, cache: Path) -> Path | None:
    """A recognition model's dictionary where its folder has no inference.yml."""
    if spec.task != "text_recognition" or (target / "inference.yml").exists():
        return None
    files = [name for mirror in spec.mirrors for name in mirror.files if name.endswith("dict.txt") or "keys" in name]
    if files:
        fetch([mirror for mirror in spec.mirrors if files[0] in mirror.files], target, cache)
        return target / files[0]
    made = target / "made-up.txt"
    made.write_text("\n".join(chr(0x4E00 + i) for i in range(spec.characters or 0)), "utf-8")
    return made


def sources(
    specs: Iterable[ModelSpec], reference: Path, cache: Path, scratch: Path
) -> Iterator[tuple[ModelSpec, str, PaddleModel | Path]]:
    """Each model that can be had, with what its weights are; a path is an ONNX export."""
    exported = [*(reference / "models" / "onnx").glob("*.onnx"), *cache.glob("*.onnx")]
    for spec in specs:
        target = scratch / spec.name
        files = [name for mirror in spec.mirrors for name in mirror.files]
        real = reference / "models" / "paddle" / spec.name
        if real.is_dir():
            model = PaddleModel.at(real)
            yield spec, "real", model
            if model.graph.suffix == ".pdmodel":
                yield spec, "real, newer format", in_newer_format(model, scratch / f"{spec.name}_new")
        elif "inference.pdiparams" in files:
            fetch(spec.mirrors, target, cache)
            model = PaddleModel.at(target, dictionary(spec, target, cache))
            yield spec, "real", model
            if model.graph.suffix == ".pdmodel":
                yield spec, "real, newer format", in_newer_format(model, scratch / f"{spec.name}_new")
        elif spec.name in NAMES:
            weights = "transplanted" if spec.name == CLASSIFIER else "rebuilt"
            yield spec, weights, rebuilt(spec, target, cache)
        elif exports := [name for name in files if name.endswith(".onnx")]:
            fetch(spec.mirrors, target, cache)
            yield spec, "import", target / exports[0]
        elif export := next((f for f in exported if f.stem == spec.name), None):
            yield spec, "transplanted", transplanted(spec, export, reference / "models" / "graphs", target, cache)
        elif (reference / "models" / "graphs" / spec.name).is_dir():
            yield spec, "synthetic", synthetic(spec, reference / "models" / "graphs", target, cache)


def check(spec: ModelSpec, weights: str, source: PaddleModel | Path, target: Path, data: Path) -> Row:
    """Convert one model and compare; raises ConversionError where real weights differ in more than ties."""
    begun = time.perf_counter()
    if isinstance(source, Path):
        report = import_onnx(source, target, describe_export(spec.name, spec.task, source.parent / "inference.yml"))
    else:
        report = convert_model(source, target, name=spec.name, verify=False)
    images = real_inputs(report.metadata, data) if weights in REAL else {}
    others = verify.sample_inputs(report.metadata)
    inputs = {**images, **others}
    expected = verify.run_onnx(source, inputs) if isinstance(source, Path) else source.infer(inputs)
    found = verify.run_onnx(report.target, inputs)
    if weights in REAL:
        verify.compare(report.metadata, {name: expected[name] for name in others}, found)
    return Row(
        spec,
        weights,
        tally(report.metadata, {name: expected[name] for name in images}, found) if images else None,
        tally(report.metadata, {name: expected[name] for name in others}, found),
        time.perf_counter() - begun,
        report.target.stat().st_size / 1e6,
        report.nodes,
    )


def tally(metadata: ModelMetadata, expected: verify.Outputs, found: verify.Outputs) -> Tally:
    """Sum up over the inputs of `expected`."""
    absolute = squares = error_squares = 0.0
    decisions = differing = outputs = unsaturated = 0
    for name, reference in expected.items():
        equal, _, difference = verify.compare_one(metadata, reference[0], found[name])
        absolute = max(absolute, difference)
        probable, answered = reference[0], found[name][-1]
        if probable.shape != answered.shape:
            known = computed(*found[name])
            probable, answered = probable.max(axis=-1)[known], answered[known]
        squares += float(np.square(probable, dtype=np.float64).sum())
        error_squares += float(np.square(probable - answered, dtype=np.float64).sum())
        decisions += equal.size
        differing += int(np.count_nonzero(~equal))
        undecided = is_open(metadata, reference[0])
        outputs += undecided.size
        unsaturated += int(np.count_nonzero(undecided))
    relative = math.sqrt(error_squares / squares)
    return Tally(len(expected), decisions, differing, absolute, relative, unsaturated / outputs)


def is_open(metadata: ModelMetadata, output: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which outputs are not saturated: pixels between 0 and 1, steps whose best class is not certain."""
    if metadata.task in {"text_detection", "image_unwarping"}:
        return (output > CERTAIN) & (output < 1 - CERTAIN)
    return np.asarray(output.max(axis=-1) < 1 - CERTAIN)


@click.command(help=__doc__)
@click.option("--reference", type=click.Path(path_type=Path), required=True, help="A folder with models/ and data/.")
@click.option("--cache", type=click.Path(path_type=Path), default=Path(".cache/weights"), show_default=True)
@click.option("--only", help="Part of a name: check these models, and write no table.")
def main(reference: Path, cache: Path, only: str | None) -> None:
    """Check every model and write the table."""
    rows: list[Row] = []
    failed: list[str] = []
    wanted = [spec for spec in (*zoo.models().values(), WITHOUT_RECORD) if only is None or only in spec.name]
    with tempfile.TemporaryDirectory() as scratch:
        for spec, weights, source in sources(wanted, reference, cache, Path(scratch)):
            try:
                row = check(spec, weights, source, Path(scratch, f"{spec.name}.onnx"), reference / "data")
            except ConversionError as error:
                failed.append(spec.name)
                click.echo(f"{spec.name}: {error}", err=True)
                continue
            rows.append(row)
            click.echo(f"{row} {'' if row.passed() else 'FAILED'}")
            failed += [] if row.passed() else [spec.name]
    if only is None:
        TARGET.write_text(page(rows) + half_precision.kept(), "utf-8")
    if failed:
        raise click.ClickException(f"not equal: {', '.join(failed)}")


def page(rows: list[Row]) -> str:
    """docs/models-verified.md."""
    unseen = [spec.name for spec in zoo.models().values() if spec.name not in {row.spec.name for row in rows}]
    compared = "decisions equal | worst"
    head = (
        f"| model | weights | real images | {compared} | others | {compared} | relative | open | operators | MB | s |"
    )
    return "\n".join(
        [
            "# Models compared with Paddle",
            "",
            "Written by `make verify-models`. Each model is converted, and then run with ONNX Runtime and with Paddle Inference 3.2.2",
            "(CPU, float32, MKL-DNN off).",
            "",
            "- weights: *real*, for models of the older format also in the newer format; *transplanted*: real weights of an ONNX export",
            f"  in the official graph ({CLASSIFIER}: in the rebuilt network); *synthetic*: made-up weights in the official",
            "  graph; *rebuilt*: made-up weights in a network rebuilt from PaddleOCR's training code (benchmarks/rebuild.py), because",
            "  the official graph was not available; *import*: an official ONNX export, compared before and after optimization, because",
            "  Paddle's model was not available.",
            "- real images: street scenes, receipts, reports and pages for detection (sides of at most 960 pixels) and page",
            "  orientation (rotated by multiples of 90°); for the other models, lines that the embedded detector finds on them (for line",
            "  orientation every second one upside down). They are preprocessed as in the pipeline.",
            "- For a time step that is proved blank (docs/performance.md) only the decision is compared: it has no probability.",
            "- decisions: pixels of the mask, classes of each time step, or colors of pixels within one gray level.",
            "- worst: the largest difference. relative: the Euclidean norm of the difference divided by that of the outputs, for the",
            "  others. open: the share of outputs of the others that are not saturated, that is, not within 0.001 of 0 or 1.",
            "- A model with real weights passes if all decisions on real images are equal, outputs differ by less than 0.0002, and decisions",
            "  on the others differ only in ties within 0.001. A model with made-up weights passes if relative is at most 0.001 and",
            "  99.9 % of the decisions are equal.",
            "",
            head,
            "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
            *map(str, rows),
            "",
            NOISE,
            "",
            f"Not compared, because neither weights nor graph were available: {', '.join(unseen)}.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
