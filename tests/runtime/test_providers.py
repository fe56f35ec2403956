"""Devices and providers, as data."""

from __future__ import annotations

import pytest

from ocr_onnx.errors import OptionError
from ocr_onnx.runtime.provider_specs import CUDA_PROVIDER, OPENVINO_PROVIDER, Mode
from ocr_onnx.runtime.providers import CPU, Device, Placement, Provider, provider


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("cpu", Device("cpu")),
        ("auto", Device("auto")),
        ("gpu", Device("gpu", (0,))),
        ("gpu:0", Device("gpu")),
        ("gpu:3", Device("gpu", (3,))),
        ("gpu:0,2", Device("gpu", (0, 2))),
    ],
)
def test_devices_are_read(text: str, device: Device) -> None:
    assert Device.parse(text) == device


@pytest.mark.parametrize("text", ["", "cuda", "gpu:", "gpu:x", "gpu:-1", "gpu:1,", "cpu:0", "auto:0", "GPU", "gpu:²"])
def test_other_devices_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="'cpu', 'gpu', 'gpu:N', 'gpu:0,1' or 'auto'"):
        Device.parse(text)


def test_a_gpu_is_named_once() -> None:
    with pytest.raises(OptionError, match="names a GPU twice"):
        Device.parse("gpu:1,1")


def test_a_gpu_comes_before_the_cpu() -> None:
    gpu, cpu = Device.parse("gpu:2").providers()
    assert (gpu, cpu) == (Provider(CUDA_PROVIDER, {"device_id": "2"}), Provider("CPUExecutionProvider"))
    assert Device("cpu").providers() == CPU.providers == (cpu,)


@pytest.mark.parametrize(
    ("mode", "version", "search", "tf32"),
    [
        ("standard", (1, 31), "HEURISTIC", "0"),
        ("high-performance", (1, 20), "HEURISTIC", "1"),
        ("standard", (1, 19), "DEFAULT", "0"),
    ],
)
def test_cuda_is_set_by_mode_and_version(mode: Mode, version: tuple[int, int], search: str, tf32: str) -> None:
    assert Provider(CUDA_PROVIDER, {"device_id": "0"}).complete(mode, version).options == {
        "device_id": "0",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": search,
        "use_tf32": tf32,
    }


def test_what_is_asked_for_wins_over_what_is_usual() -> None:
    options = Provider(CUDA_PROVIDER, {"use_tf32": "1", "gpu_mem_limit": "5"}).complete("standard", (1, 31)).options
    assert (options["use_tf32"], options["gpu_mem_limit"]) == ("1", "5")
    assert Provider("XProvider", {"a": "b"}).complete("standard", (1, 31)) == Provider("XProvider", {"a": "b"})


@pytest.mark.parametrize(
    ("given", "name", "options"),
    [
        ("AProvider", "AProvider", {}),
        ("AProvider:a=1,b.c=x=y", "AProvider", {"a": "1", "b.c": "x=y"}),
        ('AProvider:load={"A": 1, "B": 2},b=3', "AProvider", {"load": '{"A": 1, "B": 2}', "b": "3"}),
        (("AProvider", {"a": 1}), "AProvider", {"a": "1"}),
        (Provider("AProvider", {"a": "1"}), "AProvider", {"a": "1"}),
    ],
)
def test_providers_are_read(given: str, name: str, options: dict[str, str]) -> None:
    assert provider(given) == Provider(name, options)


@pytest.mark.parametrize("given", ["", ":a=1", "A:", "A:b", "A:=1"])
def test_a_provider_without_a_name_or_a_value_is_refused(given: str) -> None:
    with pytest.raises(OptionError, match="must be 'NAME' or 'NAME:key=value,key=value'"):
        provider(given)


def test_a_provider_of_another_type_is_refused() -> None:
    with pytest.raises(OptionError, match="must be a name, or a pair of a name and a mapping"):
        provider(("A", 1))  # type: ignore[arg-type]


def test_a_placement_says_what_it_is() -> None:
    placement = Placement((Provider(OPENVINO_PROVIDER, {"device": "1"}), Provider("CPUExecutionProvider")), "asked for")
    assert str(placement) == "OpenVINOExecutionProvider:device=1, CPUExecutionProvider (asked for)"
    assert (placement.on_cpu, CPU.on_cpu) == (False, True)
