"""ONNX Runtime: sessions, execution providers, batching, threads and memory."""
