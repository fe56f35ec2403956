"""Benchmarks: fidelity to PaddleOCR, accuracy, latency, memory, and load of the service."""
