"""The only place that imports Paddle: run as a process of its own, because paddle2onnx aborts on what it cannot convert.

    python -m ocr_onnx.converters.paddle_process export MODEL PARAMS OUT.onnx OPSET
    python -m ocr_onnx.converters.paddle_process infer  MODEL PARAMS INPUTS.npz OUTPUTS.npz
"""

from __future__ import annotations

import sys


def export(model: str, params: str, target: str, opset: str) -> None:
    """Write `target`; paddle2onnx's own optimizer is left out, for it installs packages while it runs."""
    import paddle2onnx

    paddle2onnx.export(model, params, target, opset_version=int(opset), optimize_tool="none")


def infer(model: str, params: str, inputs: str, outputs: str) -> None:
    """Run Paddle Inference on every array of `inputs`, on the CPU in plain float32, the numeric reference."""
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


if __name__ == "__main__":
    {"export": export, "infer": infer}[sys.argv[1]](*sys.argv[2:])
