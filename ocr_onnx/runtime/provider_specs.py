"""Facts about ONNX Runtime's execution providers. To add a provider or a default option of one, add to SPECS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Mode: TypeAlias = Literal["standard", "high-performance"]

CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"
OPENVINO = "OpenVINO"
"""Not a provider of ONNX Runtime: models run on the package openvino, without ONNX Runtime (ocr_onnx.runtime.openvino)."""

OPENVINO_PROVIDER = "OpenVINOExecutionProvider"
TENSORRT_PROVIDER = "TensorrtExecutionProvider"
TENSORRT_RTX_PROVIDER = "NvTensorRTRTXExecutionProvider"

THREADS = "{threads}"
"""A placeholder in the value of an option: the number of threads of the session's calls."""

DEVICE_NUMBER = "device"
"""An option of ocr-onnx for plug-in providers: the index of the device, from 0, among those that the plug-in offers."""

ENGINE_FOLDER = "{folder}"
"""A placeholder in the value of an option: the folder for the engines of one model."""

DRIVER = "libcuda.so.1"
"""The library of NVIDIA's driver; the other libraries come from packages."""

CUDA_LIBRARIES = (
    DRIVER,
    "libcudart.so.{cuda}",
    "libcublas.so.{cuda}",
    "libcublasLt.so.{cuda}",
    "libcurand.so.10",
    "libcudnn.so.9",
)
"""For wheels of CUDA 12 and 13. cuDNN is loaded at the first convolution, and every model has convolutions."""

TENSORRT_LIBRARIES = ("libnvinfer.so.10", "libnvonnxparser.so.10")


@dataclass(frozen=True, slots=True)
class ProviderOption:
    """The default value of a provider's option."""

    key: str
    value: str
    mode: Mode | None = None
    """The mode in which it applies; None: in both."""
    since: tuple[int, int] = (0, 0)
    """The first version of ONNX Runtime for which it applies."""
    before: tuple[int, int] = (99, 0)
    """The first version for which it no longer applies."""


@dataclass(frozen=True, slots=True)
class Compiler:
    """The options with which a provider that compiles models to engines gets the input shapes and the cache."""

    short: str
    """Its name in the names of engine folders."""
    device: str
    """The option that selects the GPU."""
    profile: str
    """The name of the options for the minimum, typical and maximum shape, with {} for min, opt and max."""
    caching: Mapping[str, str]
    """The options that cache engines on disk."""
    files: str
    """The pattern of the names of engine files."""


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """An execution provider."""

    name: str
    gpu: bool = False
    """Whether it is faster with a small number of large calls, one after the other, than with one call per core."""
    build: str = ""
    """The requirement for a build of ONNX Runtime with this provider, which replaces the installed one."""
    extra: str = ""
    """The extra of this package that requires such a build, or the package that runs models in place of ONNX Runtime."""
    plugin: str = ""
    """The package of the plug-in with this provider, installed in addition to ONNX Runtime."""
    system: str = ""
    """The only operating system on which it exists."""
    libraries: tuple[str, ...] = ()
    """The shared libraries that it needs on Linux; {cuda} is replaced by CUDA's major version."""
    options: tuple[ProviderOption, ...] = ()
    compiler: Compiler | None = field(default=None)
    """For providers whose engines `ocr-onnx build` builds in advance."""


SPECS: Mapping[str, ProviderSpec] = {
    spec.name: spec
    for spec in (
        ProviderSpec(CPU_PROVIDER),
        ProviderSpec(
            CUDA_PROVIDER,
            gpu=True,
            extra="gpu",
            libraries=CUDA_LIBRARIES,
            # Measured on an H200: docs/devices.md.
            options=(
                # An arena that grows by doubling occupies most of a GPU's memory after a few page sizes.
                ProviderOption("arena_extend_strategy", "kSameAsRequested"),
                # EXHAUSTIVE measures every algorithm at every new size. Since 1.20, DEFAULT means cuDNN's fallback engines,
                # which are slow, and HEURISTIC asks cuDNN for the best one; before, HEURISTIC searched and DEFAULT used
                # one algorithm at once: https://github.com/microsoft/onnxruntime/issues/22705
                ProviderOption("cudnn_conv_algo_search", "HEURISTIC", since=(1, 20)),
                ProviderOption("cudnn_conv_algo_search", "DEFAULT", before=(1, 20)),
                # TensorFloat-32 multiplies with 10 bits of mantissa instead of 23.
                ProviderOption("use_tf32", "0", mode="standard"),
                ProviderOption("use_tf32", "1", mode="high-performance"),
            ),
        ),
        ProviderSpec(
            TENSORRT_PROVIDER,
            gpu=True,
            extra="gpu",
            libraries=(*CUDA_LIBRARIES, *TENSORRT_LIBRARIES),
            # https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html
            compiler=Compiler(
                "tensorrt",
                "device_id",
                "trt_profile_{}_shapes",
                {
                    "trt_engine_cache_enable": "1",
                    "trt_engine_cache_path": ENGINE_FOLDER,
                    "trt_timing_cache_enable": "1",
                    "trt_timing_cache_path": ENGINE_FOLDER,
                },
                "*.engine",
            ),
        ),
        ProviderSpec(
            TENSORRT_RTX_PROVIDER,
            gpu=True,
            plugin="onnxruntime-ep-nv-tensorrt-rtx-cu13",
            libraries=(DRIVER,),
            # According to the plug-in's list of options.
            compiler=Compiler(
                "tensorrt-rtx",
                DEVICE_NUMBER,
                "nv_profile_{}_shapes",
                {"nv_runtime_cache_path": ENGINE_FOLDER},
                "*",
            ),
        ),
        ProviderSpec(
            OPENVINO,
            extra="openvino",
            options=(
                # In high-performance mode its default applies: bfloat16 if the processor supports it.
                ProviderOption("INFERENCE_PRECISION_HINT", "f32", mode="standard"),
                # Kernels that it prepared and keeps, one for each layer and input shape. On 42 mixed pictures, 2000 takes
                # 70 MB more and saves 2 % of the processor time.
                ProviderOption("CPU_RUNTIME_CACHE_CAPACITY", "128"),
            ),
        ),
        ProviderSpec(
            OPENVINO_PROVIDER,
            plugin="onnxruntime-ep-openvino",
            # By default it computes in bfloat16 if the processor supports it, which changes texts (docs/devices.md).
            options=(
                ProviderOption(
                    "load_config",
                    f'{{"CPU": {{"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "{THREADS}"}}}}',
                ),
            ),
        ),
        ProviderSpec("WebGpuExecutionProvider", gpu=True, plugin="onnxruntime-ep-webgpu"),
        ProviderSpec("DmlExecutionProvider", gpu=True, build="onnxruntime-directml"),
        ProviderSpec("MIGraphXExecutionProvider", gpu=True, build="onnxruntime-migraphx"),
        ProviderSpec("QNNExecutionProvider", build="onnxruntime-qnn"),
        ProviderSpec("CoreMLExecutionProvider", gpu=True, system="macOS"),
    )
}


def spec_of(name: str) -> ProviderSpec:
    """Return the facts about a provider; for an unknown one, only its name."""
    return SPECS.get(name, ProviderSpec(name))


def compilers() -> dict[str, Compiler]:
    """Return the compilers by provider name."""
    return {spec.name: spec.compiler for spec in SPECS.values() if spec.compiler is not None}
