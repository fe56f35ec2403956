#!/usr/bin/env bash
# Reads pages and runs tests on aarch64: with Debian's arm64, which QEMU runs on a processor of another kind; needs root and Debian.
#   tests/aarch64.sh PYTHON UV [options of pytest]
# PYTHON has this package, and reads the sample page for the comparison. UV installs packages for another processor.
set -euo pipefail
. "$(dirname "$0")/debian.sh"
private_mounts "$0" "$@"

native=$1 uv=$2
shift 2
root=$PWD/.cache/debian/bookworm-arm64 packages=$PWD/.cache/aarch64/packages
interpreters=/proc/sys/fs/binfmt_misc

# The kernel then starts programs for ARM with QEMU.
if [ "$(uname -m)" != aarch64 ]; then
    command -v qemu-aarch64-static > /dev/null || { apt-get update --quiet && apt-get install --quiet --yes qemu-user-static; }
    [ -e $interpreters/register ] || mount -t binfmt_misc binfmt_misc $interpreters
    [ -e $interpreters/qemu-aarch64 ] || cat /usr/lib/binfmt.d/qemu-aarch64.conf > $interpreters/register
fi
prepare_debian "$root" bookworm python3,ca-certificates arm64
if [ ! -e "$packages/installed" ] || [ pyproject.toml -nt "$packages/installed" ]; then
    rm -rf "$packages"
    "$uv" pip install --quiet --target "$packages" --python-version 3.11 --python-platform aarch64-manylinux_2_28 \
        --only-binary :all: --compile-bytecode --requirements pyproject.toml --extra cpu --extra pdf hypothesis lxml onnx pytest
    touch "$packages/installed"
fi
emulated() { chroot "$root" env --chdir="$PWD" PYTHONPATH="$PWD:$packages" python3 "$@"; }

for options in "" "--compatible paddleocr"; do
    for python in "$native" emulated; do
        $python -m ocr_onnx run ocr_onnx/sample.png --format native $options > ".cache/aarch64/$(basename "$python").json"
    done
    echo "the sample page${options:+ with $options}:"
    "$native" - ".cache/aarch64/$(basename "$native").json" .cache/aarch64/emulated.json <<'PYTHON'
import json
import sys
from pathlib import Path

import numpy as np

expected, found = (json.loads(Path(path).read_text("utf-8")) for path in sys.argv[1:])
assert found["text"] == expected["text"], found["text"]
pairs = list(zip(expected["lines"], found["lines"], strict=True))
assert all(one["text"] == other["text"] for one, other in pairs)
distance, score = (max(np.abs(np.subtract(a[key], b[key])).max() for a, b in pairs) for key in ("quad", "score"))
print(f"{len(pairs)} texts equal, boxes within {distance} pixels, scores within {score:.1e}")
assert distance <= 1
PYTHON
done
# The first recording is that of the sample page.
emulated -m benchmarks.fidelity --pictures "${PICTURES:-1}"
emulated -m pytest "$@"
