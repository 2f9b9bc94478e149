"""Configures logging: one line per record, for people or as JSON, and never a client's text."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import IO, Final

_STANDARD_ATTRIBUTES: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON, in ASCII, so that nothing a client sends can break or forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "ts": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        fields |= _extra(record)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=True, default=str)


class TextFormatter(logging.Formatter):
    """Formats a record as a line for people; control characters are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        message = record.getMessage().encode("unicode_escape").decode()
        extra = "".join(f" {name}={value!r}" for name, value in _extra(record).items())
        line = f"{clock} {record.levelname.lower():7} {message}{extra}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure_logging(level: str, log_format: str, stream: IO[str] | None = None) -> None:
    """Send all records to `stream` (None: standard error), in place of earlier settings."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    # A log that cannot be written must not stop the speech, and the library's debug records hold payloads.
    logging.raiseExceptions = False
    for library in ("websockets", "websockets.server"):
        logging.getLogger(library).setLevel(logging.WARNING)


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES}
