"""The only module that imports Paddle. It runs as a child process because paddle2onnx aborts on operators that it cannot convert.

python -m ocr_onnx.converters.paddle_process export MODEL PARAMS OUT.onnx OPSET
python -m ocr_onnx.converters.paddle_process export_old CORE.so MODEL PARAMS OUT.onnx OPSET
python -m ocr_onnx.converters.paddle_process infer  MODEL PARAMS INPUTS.npz OUTPUTS.npz
"""

from __future__ import annotations

import sys
from collections.abc import Callable


def export(model: str, params: str, target: str, opset: str) -> None:
    """Export to `target`, without paddle2onnx's optimizer, which installs packages while it runs."""
    import paddle2onnx

    paddle2onnx.export(model, params, target, opset_version=int(opset), optimize_tool="none")


def export_old(core: str, model: str, params: str, target: str, opset: str) -> None:
    """Export a model of the older format to `target` with the compiled core of paddle2onnx 1.3.1, without Paddle."""
    from importlib.util import module_from_spec, spec_from_file_location
    from pathlib import Path

    spec = spec_from_file_location("paddle2onnx_cpp2py_export", core)
    if spec is None or spec.loader is None:
        raise ImportError(core)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    upgrade = verbose = False
    checker = experimental = optimize = True
    half = False
    switches = (upgrade, verbose, checker, experimental, optimize)
    made = module.export(model, params, int(opset), *switches, {}, "onnxruntime", "", "", half)
    Path(target).write_bytes(made)


def infer(model: str, params: str, inputs: str, outputs: str) -> None:
    """Run Paddle Inference on every array of `inputs`, on the CPU in float32: the numeric reference."""
    import numpy as np
    from paddle import inference

    config = inference.Config(model, params)
    config.disable_gpu()
    config.disable_mkldnn()
    predictor = inference.create_predictor(config)
    feed = predictor.get_input_handle(predictor.get_input_names()[0])
    fetch = predictor.get_output_handle(predictor.get_output_names()[0])
    results = {}
    with np.load(inputs) as tensors:
        for name, tensor in tensors.items():
            feed.copy_from_cpu(tensor)
            predictor.run()
            results[name] = fetch.copy_to_cpu()
    np.savez(outputs, **results)


def main() -> None:
    """Run the command that the arguments name."""
    commands: dict[str, Callable[..., None]] = {"export": export, "export_old": export_old, "infer": infer}
    commands[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
