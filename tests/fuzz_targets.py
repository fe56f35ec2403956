"""Functions that take any bytes, for fuzzing: each gives them to one parser, and raises if something else than this package's error results.

`make fuzz` runs them under a fuzzer that is guided by coverage (tests/fuzz.py); test_fuzz.py runs them on their seeds, on tests/corpus,
and on a few hundred mutations.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import random
import struct
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mutations
import numpy as np
import PIL.Image
import yaml
from lxml import etree
from starlette.datastructures import Headers

from ocr_onnx.converters.paddle_params import check_weights
from ocr_onnx.errors import ModelError, OCRError
from ocr_onnx.models import store, zoo
from ocr_onnx.models.metadata import PROPERTY, ModelMetadata, stamped
from ocr_onnx.models.protobuf import field
from ocr_onnx.models.yaml_text import load_yaml
from ocr_onnx.options import DetectionOptions, OCROptions
from ocr_onnx.outputs.formats import FORMATS
from ocr_onnx.paddle import pipeline_yaml
from ocr_onnx.results import OCRResult
from ocr_onnx.runtime.model_check import check_model
from ocr_onnx.runtime.model_file import CPU_FIELD, PRODUCER, model_for_device, replacement_field
from ocr_onnx.service.bodies import parse_body
from ocr_onnx.service.request_errors import RequestError
from ocr_onnx.stages.blocks import find_blocks
from ocr_onnx.stages.detection import find_boxes
from ocr_onnx.stages.recognition import best_classes, ctc_decode
from ocr_onnx.stages.words import find_words
from ocr_onnx.types import Columns, Page, TextBox, TextLine

BOUNDARY = "b"

METADATA = ModelMetadata(
    "rec", "text_recognition", "BGR", 1 / 255, (0.5,) * 3, (0.5,) * 3, (3, 48, 320), charset=tuple("abcde ")
)

SIDE = 64
"""The largest side of a map, in pixels."""


@dataclass(frozen=True)
class Target:
    """A parser, with valid inputs to begin with."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]


@cache
def _scratch() -> Path:
    """A folder for the files of this process; in memory if that is possible."""
    memory = Path("/dev/shm")  # noqa: S108 the folder within has a name of its own
    return Path(tempfile.mkdtemp(prefix="fuzz-", dir=memory if memory.is_dir() else None))


def _file(data: bytes, name: str) -> Path:
    path = _scratch() / name
    path.write_bytes(data)
    return path


def _images(data: bytes) -> None:
    mutations.outcome(data)


def _exif(data: bytes) -> None:
    """EXIF data in a JPEG, a PNG and a WebP."""
    for form in ("JPEG", "PNG", "WEBP"):
        with io.BytesIO() as buffer, suppress(ValueError, struct.error):
            PIL.Image.new("RGB", (8, 6)).save(buffer, form, exif=data[:60_000])
            mutations.outcome(buffer.getvalue())


def _pipeline_yaml(data: bytes) -> None:
    with suppress(OCRError):
        config = pipeline_yaml.load(_file(data, "OCR.yaml"))
        choices = pipeline_yaml.choices(config)
        pipeline_yaml.updated(config, pipeline_yaml.options(config), choices)


def _zoo(data: bytes) -> None:
    with suppress(ModelError, yaml.YAMLError, UnicodeDecodeError):
        zoo.parse(load_yaml(data.decode()))


def _archive(data: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=_scratch()) as folder, suppress(OCRError):
        target = Path(folder, "a", "b")
        target.mkdir(parents=True)
        try:
            store.safe_extract(_file(data, "a.tar"), target)
        finally:
            outside = [
                path for path in Path(folder).rglob("*") if target not in (path, *path.parents) and path.is_file()
            ]
            assert not outside, f"written outside of the folder: {outside}"
            assert not [path for path in target.rglob("*") if path.is_symlink()]


def _onnx(data: bytes) -> None:
    """The container, without ONNX Runtime: what is checked, and the graph for each device."""
    with suppress(ModelError):
        check_model(data, Path("fuzzed.onnx"))
    for on_cpu, masked in itertools.product((True, False), (True, False)):
        assert len(model_for_device(data, on_cpu=on_cpu, masked=masked)) <= 2 * len(data) + 100


def _metadata(data: bytes) -> None:
    with suppress(ModelError):
        metadata = ModelMetadata.from_properties({PROPERTY: data.decode(errors="replace")}, "fuzzed.onnx")
        assert ModelMetadata.from_properties({PROPERTY: metadata.to_json()}, "again") == metadata


def _weights(data: bytes) -> None:
    with suppress(OCRError):
        check_weights(_file(data, "inference.pdiparams"))


def _boxes(data: bytes) -> None:
    """A probability map, of the bytes as numbers of 8 or 32 bits, and options of the first bytes."""
    head, rest = data[:8].ljust(8, b"\0"), data[8:]
    wide = bool(head[0] & 1)
    values = (
        np.frombuffer(rest[: len(rest) // 4 * 4], "<f4") if wide else np.frombuffer(rest, np.uint8) / np.float32(255)
    )
    width = 1 + head[1] % SIDE
    height = min(max(1, len(values) // width), SIDE)
    probability = (
        np.resize(values, (height, width)).astype(np.float32) if len(values) else np.zeros((height, width), np.float32)
    )
    options = DetectionOptions(
        thresh=head[2] / 255,
        box_thresh=head[3] / 255,
        unclip_ratio=0.01 + head[4] / 26,
        score_mode="slow" if head[0] & 2 else "fast",
        use_dilation=bool(head[0] & 4),
        box_type="poly" if head[0] & 8 else "quad",
    )
    size = (1 + head[5] * 40, 1 + head[6] * 40)
    for box in find_boxes(probability, size, options):
        assert box.quad.min() >= 0
        assert (box.quad <= size).all()


def _ctc(data: bytes) -> None:
    """A table of scores, or of classes and probabilities; then the words of the line."""
    head, rest = data[:4].ljust(4, b"\0"), data[4:]
    values = np.frombuffer(rest[: len(rest) // 4 * 4], "<f4").copy()
    classes = len(METADATA.charset) + 1
    steps = min(len(values) // classes, 200)
    with suppress(ModelError):
        if head[0] & 1:
            index, probability = best_classes((values[: steps * classes].reshape(1, steps, classes),))
            index, probability = index[0], probability[0]
        else:
            index, probability = (
                values.view("<i4")[: len(values) // 2].astype(np.int64) % (classes + (head[0] >> 5)),
                values[len(values) // 2 :],
            )
            probability = probability[: len(index)]
        text = ctc_decode(index, probability, METADATA.charset, (head[1] + 1) / 256)
        quad = np.array([[0, 0], [head[2] * 4, 0], [head[2] * 4, head[3]], [0, head[3]]], np.int32)
        words = find_words(text.columns, quad, text.text)
        assert "".join(word.text for word in words) == text.text.replace(" ", "")


def _lines(data: bytes) -> list[TextLine]:
    """Lines of any text: their texts are divided by byte 30, and a box is made of the first bytes of each."""
    found = []
    for number, part in enumerate(data.split(b"\x1e")[:8]):
        left, top, width, height = part[:4].ljust(4, b"\1")
        text = part[4:].decode("utf-8", "surrogatepass" if number % 2 else "replace") if part[4:] else ""
        quad = np.array(
            [[left, top], [left + width, top], [left + width, top + height], [left, top + height]], np.int32
        )
        columns = Columns(tuple(text), tuple(range(len(text))), max(len(text), 1), (0.5,) * len(text))
        found.append(TextLine(text, 0.5, TextBox(quad * 2, 0.9), columns=columns))
    return found


def _writers(data: bytes) -> None:
    """All output formats: XML must be well-formed, JSON valid, and everything UTF-8."""
    try:
        lines = _lines(data)
    except UnicodeDecodeError:
        return
    source = Page(np.full((512, 512, 3), 255, np.uint8), f"{data[:20]!r}.png")
    blocks, order = find_blocks(lines, (512, 512), [line.columns for line in lines])
    ordered = tuple(lines[i] for i in order)
    result = OCRResult(source, source, None, tuple(line.box for line in lines), ordered, OCROptions(), blocks)
    for name, writer in FORMATS.items():
        content = b"".join(writer.encoded([result, result]))
        if name in {"hocr", "alto"}:
            etree.fromstring(content)
        elif name in {"json", "native", "jsonl"}:
            _check_json(content)
        else:
            assert name == "pdf" or content.decode()


def _check_json(content: bytes) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    try:
        json.loads(content, parse_constant=refuse)
    except json.JSONDecodeError:
        # Texts can contain other characters at which str.splitlines divides.
        for line in content.decode().removesuffix("\n").split("\n"):
            json.loads(line, parse_constant=refuse)


def _json_body(data: bytes) -> None:
    with suppress(RequestError):
        asyncio.run(parse_body(Headers({"content-type": "application/json"}), bytearray(data)))


def _form_body(data: bytes) -> None:
    """A form; the first line is the value of the header Content-Type."""
    header, _, body = data.partition(b"\n")
    headers = Headers(raw=[(b"content-type", header)])
    with suppress(RequestError):
        asyncio.run(parse_body(headers, bytearray(body)))


def _yaml_seeds() -> Iterator[bytes]:
    yield yaml.safe_dump(pipeline_yaml.default()).encode()
    yield b"a: &a [1, *b]\nSubModules: {TextDetection: {limit_side_len: 736, thresh: !!float .3}, TextRecognition: {}}"


def _zoo_seeds() -> Iterator[bytes]:
    text = zoo.data_file("model_zoo.yaml").read_text("utf-8")
    content = yaml.safe_load(text)
    name, version = next(iter(content["versions"].items()))
    models = [version["text_detection"], *version["text_recognition"]]
    few = {**content, "versions": {name: version}, "models": {each: content["models"][each] for each in models}}
    yield yaml.safe_dump(few).encode()


def _archive_seeds() -> Iterator[bytes]:
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        for mode in ("w:", "w:gz"):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode=mode, format=form) as archive:
                for name in ("folder/inference.yml", f"{'x' * 120}/é.json"):
                    info = tarfile.TarInfo(name)
                    info.size = 20
                    archive.addfile(info, io.BytesIO(bytes(20)))
                link = tarfile.TarInfo("link")
                link.type, link.linkname = tarfile.SYMTYPE, "../../outside"
                archive.addfile(link)
            yield buffer.getvalue()


def _onnx_seeds() -> Iterator[bytes]:
    """A graph with a node that has an attribute, and a constant; and one with a replacement for CPUs."""
    weights = field(5, b"\x08\x02\x08\x03\x10\x01" + field(8, b"w") + field(9, struct.pack("<6f", 1e-40, *range(5))))
    node = field(1, field(1, b"x") + field(2, b"y") + field(4, b"Relu") + field(5, field(1, b"a") + b"\x18\x07"))
    graph = field(7, node * 3 + weights)
    yield stamped(graph, METADATA)
    yield stamped(replacement_field(CPU_FIELD, 1, 2, field(7, node)) + field(2, PRODUCER.encode()) + graph, METADATA)


def _metadata_seeds() -> Iterator[bytes]:
    yield METADATA.to_json().encode()


def _weights_seeds() -> Iterator[bytes]:
    yield (struct.pack("<IQIi", 0, 0, 0, 6) + b"\x08\x05\x10\x02\x10\x03" + bytes(24)) * 2


def _number_seeds() -> Iterator[bytes]:
    numbers = np.random.default_rng(0)
    for head in (0, 1, 3, 9, 0x21, 0xF0):
        pattern = np.kron(numbers.random((8, 8)) > 0.6, np.ones((6, 6)))
        values = pattern.astype(np.float32).tobytes() if head & 1 else (pattern * 255).astype(np.uint8).tobytes()
        yield bytes([head, 47, 76, 100, 39, 20, 20, 0]) + values
        yield bytes([head, 255, 60, 20]) + numbers.random((40, 7), np.float32).tobytes()


def _text_seeds() -> Iterator[bytes]:
    texts = (
        "Dear <Ada> & all,",
        "港口 open 7.5",
        "\x00\x0b\ufffe]]>",
        "مرحبا abc",
        "- item\t|x|",
        "\u202e=1+1 \"q\" 'a'",
        "e\u0301" * 20,
        "",
    )
    yield b"\x1e".join(bytes([10, 20 * k + 2, 200, 15]) + text.encode() for k, text in enumerate(texts))


def _json_seeds() -> Iterator[bytes]:
    yield b'{"file": "aGk=", "fileType": 1, "visualize": false, "textDetLimitSideLen": 736, "logId": "a-1"}'
    yield b'{"file": "data:image/png;base64,aGk=", "textRecScoreThresh": 1e-9, "useDocUnwarping": null}'
    yield b'{"file": "https://example.com/a.png", "format": "hocr"}'


def _form_seeds() -> Iterator[bytes]:
    lines = (
        "multipart/form-data; boundary=b\n--b",
        'Content-Disposition: form-data; name="file"; filename="a.png"',
        "Content-Type: image/png",
        "",
        "hi",
        "--b",
        'Content-Disposition: form-data; name="fileType"',
        "",
        "1",
        "--b--",
        "",
    )
    yield "\r\n".join(lines).encode()


TARGETS = {
    "images": Target(_images, lambda: iter(mutations.seeds("pictures"))),
    "pdf": Target(_images, lambda: iter(mutations.seeds("pdfs"))),
    "exif": Target(_exif, lambda: iter([PIL.Image.Exif().tobytes(), _some_exif()])),
    "pipeline_yaml": Target(_pipeline_yaml, _yaml_seeds),
    "zoo": Target(_zoo, _zoo_seeds),
    "archive": Target(_archive, _archive_seeds),
    "onnx": Target(_onnx, _onnx_seeds),
    "metadata": Target(_metadata, _metadata_seeds),
    "weights": Target(_weights, _weights_seeds),
    "boxes": Target(_boxes, _number_seeds),
    "ctc": Target(_ctc, _number_seeds),
    "writers": Target(_writers, _text_seeds),
    "json_body": Target(_json_body, _json_seeds),
    "form_body": Target(_form_body, _form_seeds),
}


def _some_exif() -> bytes:
    exif = PIL.Image.Exif()
    exif[0x112], exif[0x11A], exif[0x11B], exif[0x128] = 6, 300.0, 300.0, 2
    return exif.tobytes()


def corpus(name: str) -> list[bytes]:
    """The inputs in the repository: each once made a target fail."""
    folder = Path(__file__).parent / "corpus" / name
    return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []


def mutated(name: str, count: int) -> Iterator[bytes]:
    """So many mutations of the seeds, the same each time."""
    random_ = random.Random(name)
    seeds = list(TARGETS[name].seeds())
    for number in range(count):
        data = bytearray(seeds[number % len(seeds)])
        for _ in range(random_.randint(1, 4)):
            mutations.mutate(data, random_, tuple(seeds))
        yield bytes(data)


def remove_scratch() -> None:
    """Remove the folder of this process."""
    for path in _scratch().iterdir():
        path.unlink()
    _scratch().rmdir()
    _scratch.cache_clear()
