"""Where models run, as data: devices, the execution providers of ONNX Runtime that each stands for, their options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ocr_onnx.errors import OptionError

Mode: TypeAlias = Literal["standard", "high-performance"]

CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"
OPENVINO_PROVIDER = "OpenVINOExecutionProvider"
TENSORRT_PROVIDER = "TensorrtExecutionProvider"
TENSORRT_RTX_PROVIDER = "NvTensorRTRTXExecutionProvider"

ON_GPU = frozenset(
    {
        CUDA_PROVIDER,
        TENSORRT_PROVIDER,
        TENSORRT_RTX_PROVIDER,
        "CoreMLExecutionProvider",
        "DmlExecutionProvider",
        "MIGraphXExecutionProvider",
        "WebGpuExecutionProvider",
    }
)
"""Providers that want few calls of much work, one after the other, and not one on each core."""

DEVICES = "'cpu', 'gpu', 'gpu:N', 'gpu:0,1' or 'auto'"

THREADS = "{threads}"
"""In the value of an option: as many threads as a call of the session may use."""

PLACE = "device"
"""An option of ours, of any plug-in provider: which of the devices it offers, from 0; `ocr-onnx doctor` lists them."""


@dataclass(frozen=True, slots=True)
class Option:
    """What a provider is set to where nobody says otherwise."""

    provider: str
    key: str
    value: str
    mode: Mode | None = None
    """None: in both."""
    since: tuple[int, int] = (0, 0)
    """ONNX Runtime's version from which on it holds."""
    before: tuple[int, int] = (99, 0)
    """And the first for which it no longer does."""


OPTIONS = (
    # An arena that doubles takes most of a GPU's memory after a few sizes of page.
    Option(CUDA_PROVIDER, "arena_extend_strategy", "kSameAsRequested"),
    # EXHAUSTIVE times every algorithm at every new size. Since 1.20 DEFAULT means cuDNN's fallback engines, which are
    # slow, and HEURISTIC asks cuDNN which is best; before, HEURISTIC searched and DEFAULT took one algorithm at once:
    # https://github.com/microsoft/onnxruntime/issues/22705
    Option(CUDA_PROVIDER, "cudnn_conv_algo_search", "HEURISTIC", since=(1, 20)),
    Option(CUDA_PROVIDER, "cudnn_conv_algo_search", "DEFAULT", before=(1, 20)),
    # TensorFloat-32 multiplies with 10 bits of mantissa, not 23.
    Option(CUDA_PROVIDER, "use_tf32", "0", mode="standard"),
    Option(CUDA_PROVIDER, "use_tf32", "1", mode="high-performance"),
    # By itself it computes in bfloat16 where the processor can, which was slower here and changes texts (docs/devices.md).
    Option(
        OPENVINO_PROVIDER,
        "load_config",
        f'{{"CPU": {{"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "{THREADS}"}}}}',
    ),
)
"""Those of CUDA follow its documentation and reports of others: they were not measured on a GPU."""


@dataclass(frozen=True, slots=True)
class Provider:
    """An execution provider of ONNX Runtime."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    """Its own; what is not here is as OPTIONS, then ONNX Runtime, has it."""

    @classmethod
    def parse(cls, text: str) -> Provider:
        """Read `NAME` or `NAME:key=value,key=value`; a comma within a value is one that no `key=` follows."""
        name, colon, rest = text.partition(":")
        pairs = [pair.partition("=") for pair in re.split(r",(?=[\w.]+=)", rest)] if colon else []
        if not name or not all(key and equals for key, equals, _ in pairs):
            raise OptionError(f"provider is {text!r}: it must be 'NAME' or 'NAME:key=value,key=value'")
        return cls(name, {key: value for key, _, value in pairs})

    def complete(self, mode: Mode, version: tuple[int, int]) -> Provider:
        """The same with OPTIONS for what it does not say."""
        fitting = (o for o in OPTIONS if o.provider == self.name and o.mode in {None, mode})
        usual = {o.key: o.value for o in fitting if o.since <= version < o.before}
        return Provider(self.name, usual | dict(self.options))

    def __str__(self) -> str:
        pairs = ",".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.name}:{pairs}" if pairs else self.name


ProviderLike: TypeAlias = "str | tuple[str, Mapping[str, object]] | Provider"
"""As `Provider.parse` reads it, or a name with its options."""


def provider(given: ProviderLike) -> Provider:
    """The record of what was given; raises OptionError where it is none."""
    if isinstance(given, Provider):
        return given
    if isinstance(given, str):
        return Provider.parse(given)
    match given:
        case (str(name), Mapping() as options):
            return Provider(name, {str(key): str(value) for key, value in options.items()})
    raise OptionError(f"provider is {given!r}: it must be a name, or a name and a mapping of its options")


@dataclass(frozen=True, slots=True)
class Device:
    """What a user asks for."""

    kind: str
    """cpu, gpu or auto."""
    indices: tuple[int, ...] = (0,)
    """Which GPUs."""

    @classmethod
    def parse(cls, text: str) -> Device:
        """Read `cpu`, `gpu`, `gpu:1`, `gpu:0,1` or `auto`."""
        found = re.fullmatch(r"(cpu|auto)|gpu(?::([0-9]+(?:,[0-9]+)*))?", str(text))
        if found is None:
            raise OptionError(f"device is {text!r}: it must be {DEVICES}")
        kind, listed = found.groups()
        if kind is not None:
            return cls(kind)
        indices = tuple(map(int, (listed or "0").split(",")))
        if len(set(indices)) < len(indices):
            raise OptionError(f"device is {text!r}: it names a GPU twice")
        return cls("gpu", indices)

    def providers(self) -> tuple[Provider, ...]:
        """Those that it stands for, first choice first; of several GPUs, the first one's."""
        if self.kind == "cpu":
            return (Provider(CPU_PROVIDER),)
        return (Provider(CUDA_PROVIDER, {"device_id": str(self.indices[0])}), Provider(CPU_PROVIDER))


@dataclass(frozen=True, slots=True)
class Placement:
    """What models run on."""

    providers: tuple[Provider, ...]
    """First choice first; what one cannot do, the next does, and ONNX Runtime's CPU provider comes last of all."""
    reason: str
    """Why these: what was asked for, and with `auto` what was found."""
    mode: Mode = "standard"
    """On a GPU: whether it may compute in less precision, and see padding where a model does not see where pictures end."""
    build_missing: bool = False
    """Whether TensorRT may compile a model that has no engine yet, which takes minutes (`ocr-onnx build` does it ahead)."""

    others: tuple[Placement, ...] = ()
    """The further GPUs that pages are spread over."""

    @property
    def on_cpu(self) -> bool:
        """Whether ONNX Runtime's own CPU provider is all there is."""
        return {provider.name for provider in self.providers} == {CPU_PROVIDER}

    @property
    def on_gpu(self) -> bool:
        """Whether the first choice is one of ON_GPU."""
        return self.providers[0].name in ON_GPU

    def __str__(self) -> str:
        devices = (", ".join(map(str, each.providers)) for each in (self, *self.others))
        return f"{'; '.join(devices)} ({self.reason})"


CPU = Placement((Provider(CPU_PROVIDER),), "the default")
