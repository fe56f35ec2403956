"""Where models run, as data: devices, the execution providers of ONNX Runtime that each stands for, their options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ocr_onnx.errors import OptionError
from ocr_onnx.runtime.provider_specs import CPU_PROVIDER, CUDA_PROVIDER, Mode, spec_of

DEVICES = "'cpu', 'gpu', 'gpu:N', 'gpu:0,1' or 'auto'"


@dataclass(frozen=True, slots=True)
class Provider:
    """An execution provider of ONNX Runtime."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    """Its own; others are as SPECS, then ONNX Runtime, has them."""

    @classmethod
    def parse(cls, text: str) -> Provider:
        """Read `NAME` or `NAME:key=value,key=value`; a comma within a value is one that no `key=` follows."""
        name, colon, rest = text.partition(":")
        pairs = [pair.partition("=") for pair in re.split(r",(?=[\w.]+=)", rest)] if colon else []
        if not name or not all(key and equals for key, equals, _ in pairs):
            raise OptionError(f"provider is {text!r}: it must be 'NAME' or 'NAME:key=value,key=value'")
        return cls(name, {key: value for key, _, value in pairs})

    def complete(self, mode: Mode, version: tuple[int, int]) -> Provider:
        """The same with the options of its spec that it does not set."""
        fitting = (option for option in spec_of(self.name).options if option.mode in {None, mode})
        usual = {option.key: option.value for option in fitting if option.since <= version < option.before}
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
        """Whether the first choice is a GPU provider."""
        return spec_of(self.providers[0].name).gpu

    def __str__(self) -> str:
        devices = (", ".join(map(str, each.providers)) for each in (self, *self.others))
        return f"{'; '.join(devices)} ({self.reason})"


CPU = Placement((Provider(CPU_PROVIDER),), "the default")
