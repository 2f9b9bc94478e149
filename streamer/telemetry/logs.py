"""Configures logging: one line per record, for people or as JSON, and never a client's text.

Lines are written by a thread of their own: a reader that stalls must not hold up whoever logs.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Final

MAX_WAITING_LINES: Final = 1000
"""Lines that may wait to be written; further ones are dropped and counted."""
FLUSH_TIMEOUT_S: Final = 1.0
"""How long the process's end waits for the last lines to be written."""
STANDARD_ERROR: Final = 2
Write = Callable[[str], object]
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


class QueueingHandler(logging.Handler):
    """Has a thread write the records' lines, and drops what it cannot keep up with."""

    def __init__(self, write: Write) -> None:
        super().__init__()
        self.num_dropped = 0
        """Records that were dropped since the start."""
        self._num_told = 0
        self._write = write
        self._lines: queue.Queue[str] = queue.Queue(MAX_WAITING_LINES)
        self._thread = threading.Thread(target=self._write_lines, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record's line; never waits."""
        try:
            self._lines.put_nowait(self.format(record) + "\n")
        except queue.Full:
            self.num_dropped += 1
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Wait until everything has been written, but not for long."""
        give_up_s = time.monotonic() + FLUSH_TIMEOUT_S
        while self._lines.unfinished_tasks and self._thread.is_alive() and time.monotonic() < give_up_s:
            time.sleep(0.005)

    def _write_lines(self) -> None:
        while True:
            line = self._lines.get()
            try:
                self._write(line)
                if num_new := self.num_dropped - self._num_told:
                    self._num_told += num_new
                    self._write(self._dropped(num_new))
            except (OSError, ValueError):
                pass  # a log that cannot be written must not stop the speech
            finally:
                self._lines.task_done()

    def _dropped(self, num_records: int) -> str:
        message = f"{num_records} log records were dropped, because the log was not read in time"
        fields = {"name": __name__, "levelname": "WARNING", "levelno": logging.WARNING, "msg": message}
        return self.format(logging.makeLogRecord(fields)) + "\n"


def num_dropped() -> int:
    """Return how many records were dropped since the start."""
    return sum(
        handler.num_dropped
        for handler in logging.getLogger().handlers
        if isinstance(handler, QueueingHandler)
    )


def configure_logging(level: str, log_format: str, write: Write | None = None) -> None:
    """Have all records written by `write` (None: to standard error), in place of earlier settings."""
    handler = QueueingHandler(write or _write_to_standard_error)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    # Debug records of websockets hold payloads, and httpx2 has one for each request that succeeds.
    for library in ("websockets", "websockets.server", "httpx2"):
        logging.getLogger(library).setLevel(logging.WARNING)


def _write_to_standard_error(line: str) -> None:
    """Write a line past `sys.stderr`, whose lock a write that waits would keep from the end of the process."""
    data = line.encode(errors="backslashreplace")
    while data:
        data = data[os.write(STANDARD_ERROR, data) :]


def _extra(record: logging.LogRecord) -> dict[str, object]:
    """Return what a line tells beside its event; what begins with `_` is of libraries (Ray has one)."""
    fields = vars(record).items()
    return {name: value for name, value in fields if name not in _STANDARD_ATTRIBUTES and name[0] != "_"}
