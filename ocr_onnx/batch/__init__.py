"""Batches: read any number of documents into shards or files, and continue after an interruption."""
