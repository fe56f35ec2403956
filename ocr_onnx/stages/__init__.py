"""The stages of the pipeline. Each is preprocess, run, decode."""
