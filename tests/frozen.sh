#!/usr/bin/env bash
# Freezes a program with PyInstaller and an installed wheel, and reads a page and a PDF with it, without a network.
#   tests/frozen.sh PYTHON WHEEL
set -euo pipefail

python=$1 wheel=$(realpath "$2")
here=$(realpath "$(dirname "$0")")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cp "$here/pages/sign.png" "$place/page.png"
cd "$place"

"$python" -m venv env
env/bin/python -m pip install --quiet "$wheel[cpu]" pyinstaller
cat > program.py <<'PYTHON'
import sys
from pathlib import Path

import PIL.Image

from ocr_onnx import OCR, OCRError, PaddleOCR

with Path("starts").open("a") as starts:
    starts.write(f"{sys.argv[1:]}\n")
PIL.Image.open("page.png").convert("RGB").save("page.pdf", resolution=144)
ocr = OCR()
print([result.text.split() for result in ocr.predict(["page.png", "page.pdf"])])
try:
    PaddleOCR(ocr_version="PP-OCRv4")
except OCRError as error:
    print("embeds Python" in str(error))
PYTHON
env/bin/pyinstaller --log-level ERROR --onedir program.py
rm -rf env
export OCR_ONNX_HOME=$place/home HTTPS_PROXY=http://127.0.0.1:1 HTTP_PROXY=http://127.0.0.1:1
printed=$(timeout 300 dist/program/program 2> told) || { echo "the program failed: $printed"; cat told; exit 1; }
words="['FERRY', 'TERMINAL', '渡轮码头', 'Gate', '7', '→']"
[ "$printed" = "[$words, $words]"$'\nTrue' ] || { echo "printed: $printed"; cat told; exit 1; }
[ "$(wc -l < starts)" -eq 1 ] || { echo "the program started itself:"; cat starts; exit 1; }
grep --quiet "without a time limit" told || { echo "no warning for the PDF:"; cat told; exit 1; }
echo "a frozen program reads a page and a PDF"
