"""Logging: JSON lines on standard error, without the contents of pages."""

from __future__ import annotations

import datetime as dt
import json
import logging
import traceback
from typing import Any

FIELDS = "fields"
"""The attribute of a log record with additional fields."""

logger: logging.Logger = logging.getLogger("ocr_onnx.service")


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON. Exceptions are logged without their text, which may quote the input."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a line break."""
        line: dict[str, Any] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["error"] = type(error).__name__
            line["raised"] = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)]
        return json.dumps(line, ensure_ascii=True)


def configure(level: int = logging.INFO) -> None:
    """Log to standard error as JSON lines: the service from `level` on, the pipeline from warnings on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in (logger.name, "uvicorn.error"):
        logging.getLogger(name).setLevel(level)


def event(message: str, **fields: Any) -> None:
    """Log an event with fields."""
    logger.info(message, extra={FIELDS: fields})
