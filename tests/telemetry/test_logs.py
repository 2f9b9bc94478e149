"""The log: one line a record, whatever is in it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from streamer.telemetry.logs import configure_logging

NASTY = 'line\n{"level":"error"}\r\x1b[31m\u2028end'


@pytest.fixture(autouse=True)
def _restored_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:], root.level, logging.raiseExceptions = handlers, level, raises


def test_json_records_are_one_line_of_ascii_each() -> None:
    """Nothing that is logged can forge or break a line; extra fields are fields."""
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    logging.getLogger("streamer").info("said %s", NASTY, extra={"session_id": "x"})
    logging.getLogger("streamer").debug("not shown")
    (line,) = stream.getvalue().splitlines()
    record = json.loads(line)
    assert line.isascii() and record["event"] == f"said {NASTY}"
    assert (record["level"], record["session_id"]) == ("info", "x")


def test_text_records_are_one_line_each() -> None:
    """Control characters are shown, not obeyed; an exception follows its record."""
    stream = io.StringIO()
    configure_logging("info", "text", stream)
    logging.getLogger("streamer").warning(NASTY)
    assert len(stream.getvalue().splitlines()) == 1 and "\x1b" not in stream.getvalue()
    try:
        raise ValueError("reason")
    except ValueError:
        logging.getLogger("streamer").exception("failed")
    assert "ValueError: reason" in stream.getvalue()


def test_payloads_of_the_library_are_not_logged() -> None:
    """The WebSocket library's debug records, which hold what clients say, stay out at every level."""
    stream = io.StringIO()
    configure_logging("debug", "text", stream)
    logging.getLogger("websockets.server").debug("< TEXT secret")
    assert stream.getvalue() == ""
