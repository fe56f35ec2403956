"""Writes a picture of the page with a file read: screenshot.py FILE PICTURE."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import browsing
import PIL.Image
from selenium.webdriver import ActionChains

SIZE = {"width": 1100, "height": 900, "deviceScaleFactor": 1, "mobile": False}


def main(file: Path, target: Path) -> None:
    """Point at the second line, and take the picture."""
    folder = Path(tempfile.mkdtemp())
    with browsing.chromium(folder) as chrome, browsing.service() as address:
        page = browsing.Visitor(chrome, address, folder / "downloads")
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", SIZE)
        page.give(file)
        page.all("polygon.box")[1].click()
        chrome.execute_script("scrollTo(0, 0)")
        ActionChains(chrome).move_to_element(page.all("polygon.box")[1]).perform()
        picture = PIL.Image.open(io.BytesIO(chrome.get_screenshot_as_png())).convert("RGB")
    picture.quantize(128).save(target, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
