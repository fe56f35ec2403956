"""Fuzz one parser with atheris: `tests/fuzz.py TARGET [options of libFuzzer] FOLDER`; see `make fuzz`.

New inputs that reach new code are kept in FOLDER. An input that fails is written to the current folder, as crash-…, oom-… or
timeout-…: copy it to tests/corpus/TARGET, so that tests/test_fuzz.py repeats it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ocr_onnx", "PIL", "yaml", "starlette", "python_multipart", "tarfile"]):
    import fuzz_targets


def main() -> None:
    """Write the seeds of a target to its folder, and fuzz until an input fails or the time is over."""
    name, folder = sys.argv[1], Path(sys.argv[-1])
    folder.mkdir(parents=True, exist_ok=True)
    for seed in [*fuzz_targets.TARGETS[name].seeds(), *fuzz_targets.corpus(name)]:
        (folder / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    warnings.simplefilter("ignore")
    logging.disable()
    os.environ["PYTHONWARNINGS"] = "ignore"
    atheris.Setup([sys.argv[0], *sys.argv[2:]], fuzz_targets.TARGETS[name].run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
