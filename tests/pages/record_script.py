"""Records what script.py does under PaddleOCR itself: `make golden` runs this where PaddleOCR 3.7.0 is installed.

python tests/pages/record_script.py WEIGHTS_CACHE PADDLEX_CACHE

PADDLEX_CACHE/official_models is where PaddleX looks for a model by its name; PP-LCNet_x1_0_textline_ori must lie there,
made by benchmarks.rebuild. Models of the older format come without inference.yml and are given one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from ocr_onnx.converters.paddle import PaddleModel
from ocr_onnx.converters.weights import fetch
from ocr_onnx.models import zoo

HERE = Path(__file__).parent
MODELS = ["PP-LCNet_x1_0_doc_ori", *(f"PP-OCRv{v}_mobile_{task}" for v in (3, 4, 5) for task in ("det", "rec"))]
FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"
"""PaddleX would fetch one for its pictures, which are not compared."""

DIGITS = 5


def description(name: str, folder: Path) -> dict[str, Any]:
    """What PaddleOCR's configuration of the model says."""
    image = {"DecodeImage": {"img_mode": "BGR", "channel_first": False}}
    if name.endswith("_rec"):
        model = PaddleModel.at(folder, next(folder.glob("*.txt")))
        steps = [image, {"RecResizeImg": {"image_shape": [3, 48, 320]}}]
        post: dict[str, Any] = {"name": "CTCLabelDecode", "character_dict": list(model.charset)}
    else:
        mean_std = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
        normalize = {"NormalizeImage": {**mean_std, "scale": "1./255.", "order": "hwc"}}
        steps = [image, {"DetResizeForTest": None}, normalize, {"ToCHWImage": None}]
        thresholds = {"thresh": 0.3, "box_thresh": 0.6, "unclip_ratio": 1.5}
        post = {"name": "DBPostProcess", "max_candidates": 1000, **thresholds}
    return {"Global": {"model_name": name}, "PreProcess": {"transform_ops": steps}, "PostProcess": post}


def rounded(value: Any) -> Any:
    """The same with fewer digits."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return {key: rounded(each) for key, each in value.items()} if isinstance(value, dict) else value


def main() -> None:
    """Write script.jsonl."""
    weights, home = (Path(argument).resolve() for argument in sys.argv[1:])
    for name in MODELS:
        folder = fetch(zoo.spec(name).mirrors, home / "official_models" / name, weights)
        if not (folder / "inference.yml").exists():
            text = yaml.safe_dump(description(name, folder), allow_unicode=True)
            (folder / "inference.yml").write_text(text, "utf-8")
    raw = home / "script.jsonl"
    settings = {"PADDLE_PDX_CACHE_HOME": str(home), "PADDLE_PDX_LOCAL_FONT_FILE_PATH": FONT}
    command = [sys.executable, str(HERE / "script.py"), str(HERE), str(raw)]
    subprocess.run(command, check=True, env={**os.environ, **settings})
    lines = [json.dumps(rounded(json.loads(line)), ensure_ascii=False) for line in raw.read_text("utf-8").splitlines()]
    (HERE / "script.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
