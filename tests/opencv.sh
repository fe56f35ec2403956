#!/usr/bin/env bash
# Runs the tests that compute with OpenCV, and the comparison with PaddleOCR's recorded output, under each of several packages of
# OpenCV, and prints one line for each.
#   tests/opencv.sh PYTHON "PACKAGE==VERSION ..." [options of benchmarks.fidelity]
# Each package is in a folder .cache/opencv/PACKAGE==VERSION, which comes before PYTHON's own OpenCV.
set -euo pipefail

python=$1 packages=$2
shift 2
results=()
for package in $packages; do
    echo "== $package"
    export PYTHONPATH=$PWD/.cache/opencv/$package
    "$python" -c 'import sys, cv2; sys.exit(not cv2.__file__.startswith(sys.argv[1]))' "$PYTHONPATH"
    "$python" -m pytest -q -m "not slow" tests/stages tests/inputs tests/outputs tests/test_golden.py tests/test_pipeline.py
    fidelity=$("$python" -m benchmarks.fidelity "$@" | tee >(cat >&2) | grep '^all: ')
    results+=("$package: ${fidelity#all: }")
done
printf '%s\n' "${results[@]}"
