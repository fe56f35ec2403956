"""The stages of the pipeline: each is preprocess, run, decode."""
