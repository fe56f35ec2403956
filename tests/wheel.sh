#!/usr/bin/env bash
# Installs a wheel alone into a fresh environment outside the checkout and does the main job there, without a network.
#   tests/wheel.sh PYTHON WHEEL SDIST
set -euo pipefail

python=$1 wheel=$(realpath "$2") sdist=$(realpath "$3")
page=$(realpath "$(dirname "$0")/pages/sign.png")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cp "$page" "$place/page.png"
cd "$place"

"$python" -m venv env
# Without pip itself and the bytecode that Python makes of the packages, 41 MB.
megabytes() { du -sm --exclude=__pycache__ env | cut -f1; }
before=$(megabytes)
env/bin/python -m pip install --quiet "$wheel[cpu]"
size=$(stat -c %s "$wheel") installed=$(($(megabytes) - before))
echo "wheel: $((size / 1000000)) MB; installed: $installed MB"
[ "$size" -le 85000000 ] || { echo "the wheel is larger than 85 MB"; exit 1; }
[ "$installed" -lt 400 ] || { echo "the installation takes 400 MB or more"; exit 1; }

if unshare --net --map-root-user true 2>/dev/null; then
    offline() { unshare --net --map-root-user "$@"; }
else
    echo "unshare is not permitted here: sockets are blocked instead"
    cat > env/lib/python*/site-packages/nosockets.pth < /dev/null
    printf 'import socket\ndef refuse(*a, **k): raise OSError("no network")\nsocket.socket.connect = refuse\n' \
        > "$(echo env/lib/python*/site-packages)/sitecustomize.py"
    offline() { "$@"; }
fi

offline env/bin/python - <<'PYTHON'
import importlib.util
import socket

assert importlib.util.find_spec("paddle") is None, "Paddle is importable"
try:
    socket.create_connection(("192.0.2.1", 80), timeout=2)
except OSError as error:
    print("network:", error)
else:
    raise SystemExit("there is a network")
PYTHON

text=$(offline env/bin/ocr-onnx run page.png --save-path out)
[ "$text" = $'FERRY TERMINAL\n\n渡轮码头\n\nGate 7 →' ] || { echo "read: $text"; exit 1; }
[ -s out/page_res.json ] && [ -s out/page_ocr_res_img.png ]
read_later=$(offline env/bin/python - <<'PYTHON'
import shutil
import tempfile
import threading
import time

from ocr_onnx import OCR

ocr = OCR()


def read():
    """Read a temporary file after the end of the main thread; its `read` is found by __getattr__."""
    time.sleep(0.5)
    with tempfile.NamedTemporaryFile(suffix=".png") as file, open("page.png", "rb") as page:
        shutil.copyfileobj(page, file)
        file.seek(0)
        print(len(ocr.predict(file)[0].lines))


threading.Thread(target=read).start()
PYTHON
)
[ "$read_later" = 3 ] || { echo "read after the end of the main thread: $read_later"; exit 1; }
offline env/bin/ocr-onnx models list
offline env/bin/ocr-onnx convert --help > /dev/null
offline env/bin/python -c "import ocr_onnx.converters"

env/bin/python - "$wheel" "$sdist" <<'PYTHON'
import sys
import tarfile
import zipfile

built = set(zipfile.ZipFile(sys.argv[1]).namelist())
source = {name.partition("/")[2] for name in tarfile.open(sys.argv[2]).getnames()}
lacking = {name for name in built if name.startswith("ocr_onnx/")} - source - {"ocr_onnx/model_zoo.yaml"}
assert not lacking, f"the sdist lacks {lacking}"
assert "model_zoo.yaml" in source
pictures = {name for name in source if name.endswith((".png", ".jpg"))} - {"ocr_onnx/sample.png"}
assert not pictures, f"pictures in the sdist: {pictures}"
PYTHON
echo "the wheel reads a page by itself"
