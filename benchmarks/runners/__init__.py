"""Programs that read pictures with one library each, in that library's own environment, for benchmarks.peers.

They import nothing else of this repository (except the runner of ocr-onnx), because it is not installed there. They are started
with `python -m benchmarks.runners.NAME SETTINGS`, with SETTINGS as JSON; protocol.py describes questions and answers.
benchmarks.service uses predict_iter.py, one of them, and clients.py, which sends requests.
"""
