"""Rebuild a network of PaddleOCR from its training code, and export it as Paddle does: a model folder.

    python -m benchmarks.rebuild PP-OCRv3_server_det FOLDER

For models whose weights and graph are both unavailable. The weights are random, and the batch normalizations are calibrated on
the sample page, so that no layer dies or saturates; PP-LCNet_x1_0_textline_ori gets the real weights of its ONNX export. Requires
the environment of `ocr-onnx convert`. Of the training code, only the layers of `ppocr.modeling` are loaded. PaddleOCR's own releases
do not contain them; the package that UnstructuredIO makes of PaddleOCR 2.10.0 does.
"""

from __future__ import annotations

import copy
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import yaml
from numpy.typing import NDArray
from onnx import numpy_helper

from ocr_onnx.converters.describe import IMAGENET, LINE_SHAPE, RECOGNITION_SHAPE, usual
from ocr_onnx.converters.weights import fetch
from ocr_onnx.errors import ConversionError, IntegrityError
from ocr_onnx.models import zoo
from ocr_onnx.models.download import fetch_package
from ocr_onnx.models.store import sha256
from ocr_onnx.options import DetectionOptions
from ocr_onnx.stages import detection, recognition
from ocr_onnx.stages.sample_page import sample_page
from ocr_onnx.types import Tensor

TRAINING_CODE = "unstructured-paddleocr==2.10.0"
TRAINING_CODE_SHA256 = "718e88c25d20c147a3fe4c07aad8b16073d28771c1df8fedefc892a5d4e6def9"
FOLDER = "unstructured_paddleocr/"
"""Of the wheel: it holds the package `ppocr`."""

GRID_GAIN = 0.05
"""For the layers that put out coordinates: UVDoc's grid must stay inside the picture, or all of it comes out black."""

NORMALIZE = {"scale": 1 / 255, **{name: list(values) for name, values in IMAGENET.items()}}

Layers = Mapping[str, Any]
"""A section of PaddleOCR's configuration files: `name`, and the arguments of the layer of that name."""


@dataclass(frozen=True, slots=True)
class Network:
    """What PaddleOCR's configuration of a model says about its network."""

    backbone: Layers
    head: Layers
    neck: Layers | None = None
    dictionary: str | None = None
    """In ppocr/utils; for recognition."""


def line_reader(backbone: Layers, dictionary: str, dims: int, **decoder: int) -> Network:
    """A recognition network: CTC beside a decoder that serves training alone and is not exported."""
    encoder = {"name": "svtr", "dims": dims, "depth": 2, "hidden_dims": dims, "kernel_size": [1, 3], "use_guide": True}
    heads = [
        {"CTCHead": {"Neck": encoder, "Head": {"fc_decay": 1e-5}}},
        {"NRTRHead": {"nrtr_dim": 384, "max_text_length": 25, **decoder}},
    ]
    return Network(backbone, {"name": "MultiHead", "head_list": heads}, dictionary=dictionary)


SVTRV2 = {
    "name": "SVTRv2",
    "use_pos_embed": False,
    "dims": [128, 256, 384],
    "depths": [6, 6, 6],
    "num_heads": [4, 8, 12],
    "mixer": [["Conv"] * 6, ["Conv"] * 2 + ["Global"] * 4, ["Global"] * 6],
    "local_k": [[5, 5], [5, 5], [-1, -1]],
    "sub_k": [[2, 1], [2, 1], [-1, -1]],
    "last_stage": False,
    "use_pool": True,
}

NETWORKS = {
    "PP-OCRv3_server_det": Network(
        {"name": "ResNet_vd", "in_channels": 3, "layers": 50},
        {"name": "DBHead", "kernel_list": [7, 2, 2], "k": 50},
        {"name": "LKPAN", "out_channels": 256},
    ),
    "PP-OCRv4_server_rec_doc": line_reader({"name": "PPHGNet_small"}, "dict/ppocrv4_doc_dict.txt", 120),
    "ch_SVTRv2_rec": line_reader(SVTRV2, "ppocr_keys_v1.txt", 256, num_decoder_layers=2),
    "ch_RepSVTR_rec": line_reader({"name": "RepSVTR"}, "ppocr_keys_v1.txt", 256, num_decoder_layers=2),
}

CLASSIFIER = "PP-LCNet_x1_0_textline_ori"
CLASSIFIER_STRIDE = [2, 1]
"""A line of text is halved in height alone, after the first layer."""

NAMES = (CLASSIFIER, *NETWORKS)


def made_up(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Weights of a size that keeps the signal's size from layer to layer; `name` is Paddle's."""
    kind = name.rpartition(".")[2]
    if name.startswith(("batch_norm", "layer_norm", "create_parameter")) or len(shape) == 1:
        low, high = {"w_0": (0.8, 1.2), "w_2": (0.7, 1.3)}.get(kind, (-0.1, 0.1))
        return rng.uniform(low, high, shape).astype(np.float32)
    fan_in = shape[0] if len(shape) == 2 or "transpose" in name else int(np.prod(shape[1:]))
    gain = GRID_GAIN if shape[0] == 2 else 1.6
    return rng.normal(0, np.sqrt(gain / fan_in), shape).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A network with weights, and what is to be said with it."""

    model: Any
    shape: list[int | None]
    """Of its input; None and -1 are sizes that stay open."""
    config: dict[str, Any]
    """What inference.yml says about pre- and postprocessing."""


def rebuild(name: str, target: Path, cache: Path) -> None:
    """Write inference.json, .pdiparams and .yml of a model into `target`; raises DownloadError, IntegrityError."""
    with tempfile.TemporaryDirectory() as scratch:
        code = training_code(Path(scratch), cache)
        rebuilt = classifier(cache) if name == CLASSIFIER else network(name, code)
        save(rebuilt, target / "inference")
    config = {"Global": {"model_name": name}, **rebuilt.config}
    (target / "inference.yml").write_text(yaml.safe_dump(config, allow_unicode=True), "utf-8")


def training_code(scratch: Path, cache: Path) -> Path:
    """Unpack PaddleOCR's training code and make it importable; returns the folder of the package ppocr."""
    wheel = fetch_package(TRAINING_CODE, cache)
    if (found := sha256(wheel)) != TRAINING_CODE_SHA256:
        raise IntegrityError(f"{wheel} has the sha256 {found}, not {TRAINING_CODE_SHA256}: remove it and try again")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(scratch, [member for member in archive.namelist() if member.startswith(FOLDER)])
    sys.path.insert(0, str(scratch / FOLDER))
    return scratch / FOLDER / "ppocr"


def network(name: str, code: Path) -> Rebuilt:
    """A network of NETWORKS with random weights."""
    parts = NETWORKS[name]
    batch, steps, post = page(), [{"NormalizeImage": NORMALIZE}], {"name": "DBPostProcess", **zoo.spec(name).thresholds}
    characters: list[str] = []
    if parts.dictionary is not None:
        characters = (code / "utils" / parts.dictionary).read_text("utf-8").removesuffix("\n").split("\n")
        batch, steps = lines(), [{"RecResizeImg": {"image_shape": list(RECOGNITION_SHAPE)}}]
        post = {"name": "CTCLabelDecode", "character_dict": characters}
    model = layers(parts, len(characters))
    randomize(model)
    calibrate(model, batch)
    config = {"PreProcess": {"transform_ops": [{"DecodeImage": {"img_mode": "BGR"}}, *steps]}, "PostProcess": post}
    return Rebuilt(model, [None, 3, RECOGNITION_SHAPE[1] if characters else -1, -1], config)


def layers(parts: Network, characters: int) -> Any:
    """Backbone, neck and head, one after the other, as ppocr's BaseModel has them."""
    from paddle import nn
    from ppocr.modeling.backbones import build_backbone
    from ppocr.modeling.heads import build_head
    from ppocr.modeling.necks import build_neck

    # Building takes its arguments apart.
    backbone = build_backbone(copy.deepcopy(parts.backbone), "rec" if characters else "det")
    neck = build_neck({**parts.neck, "in_channels": backbone.out_channels}) if parts.neck else None
    head = {**copy.deepcopy(parts.head), "in_channels": (neck or backbone).out_channels}
    if characters:
        # A blank and the space for CTC; marks of beginning, end and padding for the decoder.
        head["out_channels_list"] = {"CTCLabelDecode": characters + 2, "NRTRLabelDecode": characters + 5}
    return nn.Sequential(*[layer for layer in (backbone, neck, build_head(head)) if layer is not None])


def classifier(cache: Path) -> Rebuilt:
    """PP-LCNet 1.0 for lines with the weights of its ONNX export."""
    model = classifier_layers()
    with tempfile.TemporaryDirectory() as scratch:
        (export,) = fetch(zoo.spec(CLASSIFIER).mirrors, Path(scratch), cache).glob("*.onnx")
        transplant(model, export)
    channels, height, width = LINE_SHAPE
    steps = [{"ResizeImage": {"size": [width, height]}}, {"NormalizeImage": NORMALIZE}]
    post = {"Topk": {"topk": 1, "label_list": ["0_degree", "180_degree"]}}
    config = {"PreProcess": {"transform_ops": steps}, "PostProcess": post}
    return Rebuilt(model, [None, channels, height, width], config)


def classifier_layers() -> Any:
    """Of ppocr's blocks: its own backbone has other strides, and no classifier."""
    from paddle import nn
    from ppocr.modeling.backbones import det_pp_lcnet as lcnet

    blocks = [
        lcnet.DepthwiseSeparable(width, wider, CLASSIFIER_STRIDE if stride == 2 else 1, kernel, se)
        for stage in lcnet.NET_CONFIG.values()
        for kernel, width, wider, stride, se in stage
    ]
    return nn.Sequential(
        lcnet.ConvBNLayer(3, 3, 16, 2),
        *blocks,
        nn.AdaptiveAvgPool2D(1),
        nn.Conv2D(512, 1280, 1, bias_attr=False),
        nn.Hardswish(),
        nn.Dropout(0.2, mode="downscale_in_infer"),
        nn.Flatten(),
        nn.Linear(1280, 2),
        nn.Softmax(),
    )


def transplant(model: Any, export: Path) -> None:
    """Give a model the weights of an ONNX export of the same network, which has them in the order of their use."""
    state = model.state_dict()
    weights = list(used_weights(onnx.load(export)))
    shapes = [list(weight.shape) for weight in weights]
    if shapes != [tensor.shape for tensor in state.values()]:
        raise ConversionError(f"{export.name} is of another network than the one rebuilt")
    for tensor, weight in zip(state.values(), weights, strict=True):
        tensor.set_value(weight)


def used_weights(exported: onnx.ModelProto) -> Iterator[NDArray[np.float32]]:
    """The tensors that bear a parameter's name, such as conv2d_0.w_0_deepcopy_0, in the order of that last number."""
    constants = {node.output[0]: node.attribute[0].t for node in exported.graph.node if node.op_type == "Constant"}
    found = {int(match[1]): constants[name] for name in constants if (match := re.search(r"_deepcopy_(\d+)$", name))}
    for _, tensor in sorted(found.items()):
        yield numpy_helper.to_array(tensor)


def randomize(model: Any) -> None:
    """Give every weight a value of `made_up`."""
    rng = np.random.default_rng(0)
    for tensor in model.state_dict().values():
        tensor.set_value(made_up(tensor.name, tuple(tensor.shape), rng))


def calibrate(model: Any, batch: Tensor) -> None:
    """Set each batch normalization's mean and variance to what `batch` has there: without it, errors grow by layers."""
    import paddle

    model.eval()
    for layer in model.sublayers():
        if "BatchNorm" in type(layer).__name__:
            layer.train()
            layer._momentum = 0.0  # noqa: SLF001 there is no other way to reach it
    with paddle.no_grad():
        model(paddle.to_tensor(batch))
    model.eval()


def page() -> Tensor:
    """The sample page as detection is given it."""
    options = DetectionOptions(640, "max")
    return detection.preprocess(sample_page(), options, usual("sample", "text_detection"))


def lines() -> Tensor:
    """Strips of the sample page as recognition is given lines."""
    sample = sample_page()
    height, width = RECOGNITION_SHAPE[1], sample.shape[1]
    strips = [sample[top : top + height] for top in range(0, sample.shape[0] - height, height)]
    return np.concatenate([recognition.preprocess(strip, width, RECOGNITION_SHAPE) for strip in strips])


def save(rebuilt: Rebuilt, target: Path) -> None:
    """Write TARGET.json and TARGET.pdiparams."""
    import paddle

    rebuilt.model.eval()
    inputs = [paddle.static.InputSpec(rebuilt.shape, "float32", "x")]
    paddle.jit.save(paddle.jit.to_static(rebuilt.model, input_spec=inputs, full_graph=True), str(target))


@click.command(help=__doc__)
@click.argument("name", type=click.Choice(NAMES))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--cache", type=click.Path(path_type=Path), default=Path(".cache/weights"), show_default=True)
def main(name: str, target: Path, cache: Path) -> None:
    """Rebuild one model."""
    rebuild(name, target, cache)


if __name__ == "__main__":
    main()
