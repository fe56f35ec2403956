#!/usr/bin/env bash
# Does every supported Python find a wheel for each dependency? Nothing is installed.
#   tests/resolve.sh PYTHON WHEEL
set -euo pipefail

python=$1 wheel=$(realpath "$2")
for version in 3.11 3.12 3.13 3.14; do
    for extra in cpu gpu; do
        "$python" -m pip install --quiet --dry-run --ignore-installed --only-binary=:all: --target /nonexistent \
            --python-version "$version" --implementation cp "$wheel[$extra]"
        echo "Python $version [$extra]: resolves"
    done
done
"$python" -m pip install --quiet --dry-run --ignore-installed --only-binary=:all: --target /nonexistent \
    --python-version 3.11 --implementation cp "$wheel[convert,cpu]"
echo "Python 3.11 [convert]: resolves"
