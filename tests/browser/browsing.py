"""A real Chromium without a screen, a real service, and the page between them."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

PROGRAMS = ("chromium", "chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,900",
)
TIMEOUT = 60

PASTE = """
const [data, done] = arguments;
const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
const item = new ClipboardItem({ "image/png": new Blob([bytes], { type: "image/png" }) });
navigator.clipboard.write([item]).then(() => done("ok"), (error) => done(String(error)));
"""


def lacking() -> list[str]:
    """What of Debian's packages chromium and chromium-driver is not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


@contextmanager
def chromium(folder: Path) -> Iterator[Chrome]:
    """A browser whose profile and downloads are in a folder."""
    browser, driver = (str(shutil.which(program)) for program in PROGRAMS)
    options = ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options, Service(driver))
    (folder / "downloads").mkdir()
    where = {"behavior": "allow", "downloadPath": str(folder / "downloads")}
    chrome.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    try:
        yield chrome
    finally:
        chrome.quit()


@contextmanager
def service(*options: str) -> Iterator[str]:
    """`ocr-onnx serve` at a free port: its address."""
    command = [sys.executable, "-m", "ocr_onnx", "serve", "--port", "0", *options]
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stderr=log) as process:
        try:
            yield f"http://127.0.0.1:{_port(log, process)}"
        finally:
            process.terminate()
            process.wait(TIMEOUT)


def _port(log: IO[bytes], process: subprocess.Popen[bytes]) -> int:
    """Where a service listens: its log says so."""
    end = time.monotonic() + TIMEOUT
    while process.poll() is None and time.monotonic() < end:
        said = os.pread(log.fileno(), 2**16, 0)
        if found := re.search(rb'"port": (\d+),', said):
            return int(found[1])
        time.sleep(0.05)
    raise AssertionError(os.pread(log.fileno(), 2**16, 0).decode())


class Visitor:
    """Somebody at the page, in a tab of their own."""

    def __init__(self, chrome: Chrome, address: str, downloads: Path) -> None:
        self.chrome, self.address, self.downloads = chrome, address, downloads
        chrome.switch_to.new_window("tab")
        chrome.execute_cdp_cmd("Page.bringToFront", {})
        chrome.execute_cdp_cmd(
            "Browser.grantPermissions",
            {"origin": address, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
        )
        self.log("browser")
        self.log("performance")
        chrome.get(f"{address}/")

    def close(self) -> None:
        """Close the tab."""
        self.chrome.close()
        self.chrome.switch_to.window(self.chrome.window_handles[0])

    def log(self, kind: str) -> list[dict[str, Any]]:
        """What the browser noted since this was called last."""
        noted: list[dict[str, Any]] = self.chrome.execute("getLog", {"type": kind})["value"]
        return noted

    def find(self, selector: str) -> WebElement:
        return self.chrome.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.chrome.find_elements(By.CSS_SELECTOR, selector)

    def wait(self, condition: Any) -> Any:
        return WebDriverWait(self.chrome, TIMEOUT, 0.05).until(lambda _: condition())

    def give(self, file: Path) -> None:
        """Choose a file, and wait until it is read or refused."""
        self.find("#file").send_keys(str(file))
        self.settle()

    def settle(self) -> None:
        """Wait until the page has done what it was told."""
        self.wait(lambda: " in " in self.status or self.error)

    def drop(self, file: Path) -> None:
        """Drag a file from outside onto the page."""
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for event in ("dragEnter", "dragOver", "drop"):
            place = {"type": event, "x": 300, "y": 200, "data": data}
            self.chrome.execute_cdp_cmd("Input.dispatchDragEvent", place)
        self.settle()

    def paste(self, picture: bytes) -> None:
        """Put a PNG into the clipboard, and press the keys."""
        put = self.chrome.execute_async_script(PASTE, base64.b64encode(picture).decode())
        assert put == "ok", put
        self.press("\ue009", "v")
        self.settle()

    def press(self, *keys: str) -> None:
        """Press keys together, wherever the focus is."""
        actions = ActionChains(self.chrome)
        for key in keys:
            actions.key_down(key)
        for key in reversed(keys):
            actions.key_up(key)
        actions.perform()

    def download(self, button: str) -> bytes:
        """What a button gives to keep."""
        before = set(self.downloads.iterdir())
        self.find(button).click()
        self.wait(lambda: [f for f in self.new(before) if f.suffix != ".crdownload"])
        (file,) = self.new(before)
        return file.read_bytes()

    def new(self, before: set[Path]) -> set[Path]:
        return {file for file in self.downloads.iterdir() if not file.name.startswith(".")} - before

    @property
    def status(self) -> str:
        return self.find("#status").text

    @property
    def error(self) -> str:
        return self.find("#error").text

    @property
    def texts(self) -> list[list[str]]:
        """The listed lines of each page."""
        return [
            [str(e.get_property("textContent")) for e in page.find_elements(By.CSS_SELECTOR, ".lines .text")]
            for page in self.all(".page")
        ]

    @property
    def boxes(self) -> list[list[list[list[float]]]]:
        """The polygons over each page's picture."""
        script = (
            "return [...arguments[0].querySelectorAll('polygon.box')].map((p) => [...p.points].map(({x, y}) => [x, y]))"
        )
        return [self.chrome.execute_script(script, page) for page in self.all(".page")]

    @property
    def focused(self) -> WebElement:
        return self.chrome.switch_to.active_element

    @property
    def complaints(self) -> list[str]:
        """What stands in the console."""
        return [entry["message"] for entry in self.log("browser")]

    @property
    def requests(self) -> list[str]:
        """The addresses that were asked since this was called last."""
        events = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
