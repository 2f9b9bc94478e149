"""The log: one line a record, whatever is in it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest

from streamer.telemetry import logs
from streamer.telemetry.logs import configure_logging

NASTY = 'line\n{"level":"error"}\r\x1b[31m\u2028end'


@pytest.fixture(autouse=True)
def _restored_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:], root.level, logging.raiseExceptions = handlers, level, raises
    logging.captureWarnings(False)


def written(lines: list[str]) -> str:
    """What has been logged, once all of it is written."""
    logging.getLogger().handlers[0].flush()
    return "".join(lines)


def test_json_records_are_one_line_of_ascii_each() -> None:
    """Nothing that is logged can forge or break a line; extra fields are fields."""
    lines: list[str] = []
    configure_logging("info", "json", lines.append)
    logging.getLogger("streamer").info("said %s", NASTY, extra={"session_id": "x"})
    logging.getLogger("streamer").debug("not shown")
    (line,) = written(lines).splitlines()
    record = json.loads(line)
    assert line.isascii() and record["event"] == f"said {NASTY}"
    assert (record["level"], record["session_id"]) == ("info", "x")


@pytest.mark.parametrize("name", ["_ray_timestamp_ns", "_", "__private"])
def test_what_a_library_keeps_in_a_record_is_not_told(name: str) -> None:
    """Some libraries have a factory of records that adds attributes of their own to ours."""
    record = logging.makeLogRecord({"msg": "event", "chars": 3, name: 12345})
    for formatter in (logs.JsonFormatter(), logs.TextFormatter()):
        line = formatter.format(record)
        assert "chars" in line and "12345" not in line


def test_text_records_are_one_line_each() -> None:
    """Control characters are shown, not obeyed; an exception follows its record."""
    lines: list[str] = []
    configure_logging("info", "text", lines.append)
    logging.getLogger("streamer").warning(NASTY)
    assert len(written(lines).splitlines()) == 1 and "\x1b" not in written(lines)
    try:
        raise ValueError("reason")
    except ValueError:
        logging.getLogger("streamer").exception("failed")
    assert "ValueError: reason" in written(lines)


def test_payloads_of_the_library_are_not_logged() -> None:
    """The WebSocket library's debug records, which hold what clients say, stay out at every level."""
    lines: list[str] = []
    configure_logging("debug", "text", lines.append)
    logging.getLogger("websockets.server").debug("< TEXT secret")
    assert written(lines) == ""


def test_a_reader_that_stalls_holds_up_nobody_who_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever logs continues at once; what does not fit is dropped, counted, and told when the log is read again."""
    monkeypatch.setattr(logs, "MAX_WAITING_LINES", 10)
    monkeypatch.setattr(logs, "FLUSH_TIMEOUT_S", 0.05)
    is_read = threading.Event()
    lines: list[str] = []

    def write(line: str) -> None:
        is_read.wait()
        lines.append(line)

    configure_logging("info", "json", write)
    for number in range(100):
        logging.getLogger("streamer").info("record %d", number)
    logging.getLogger().handlers[0].flush()  # returns although nothing is written
    assert lines == [] and logs.num_dropped() in (89, 90)
    is_read.set()
    monkeypatch.setattr(logs, "FLUSH_TIMEOUT_S", 5.0)
    records = [json.loads(line) for line in written(lines).splitlines()]
    assert [record["event"] for record in records[:1]] == ["record 0"]
    told = [record["event"] for record in records if "dropped" in record["event"]]
    assert len(told) == 1 and told[0].startswith(f"{logs.num_dropped()} log records")
    assert len(records) == 101 - logs.num_dropped()


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "full"), ValueError("closed")])
def test_a_log_that_cannot_be_written_is_borne(error: Exception) -> None:
    """Neither a closed pipe nor a full disk reaches whoever logs, and later lines are tried again."""
    lines: list[str] = []

    def write(line: str) -> None:
        if not lines:
            lines.append("")
            raise error
        lines.append(line)

    configure_logging("info", "text", write)
    logging.getLogger("streamer").info("lost")
    logging.getLogger("streamer").info("kept")
    assert "kept" in written(lines) and "lost" not in written(lines)


def test_warnings_of_libraries_are_logged() -> None:
    """They would otherwise be written to standard error by whoever causes them, and wait there."""
    lines: list[str] = []
    configure_logging("info", "json", lines.append)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert "DeprecationWarning" in written(lines)


UNREAD = """
import logging, sys
from streamer.telemetry.logs import configure_logging
configure_logging("info", "text")
for number in range(5000):
    logging.getLogger("streamer").info("x" * 200)
print("alive", flush=True)
sys.exit(3)
"""


def test_a_process_with_an_unread_log_works_and_ends() -> None:
    """A pipe that is full and not read keeps neither the work nor the end of the process waiting."""
    process = subprocess.Popen(
        [sys.executable, "-c", UNREAD], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    with process, process.stdout, process.stderr:
        assert process.stdout.readline() == "alive\n"
        assert process.wait(20) == 3
