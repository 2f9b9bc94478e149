"""What a machine can run out of while a server serves: room on the disk, descriptors, and readers of its log."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer.telemetry import logs
from streamer.telemetry.logs import configure_logging
from tests.faults.conversations import CONVERSATIONS, for_all, told
from tests.server.speaking import Running, configured, eventually, read_answer, running

TEXT = "Hello there. How are you today?"


@contextlib.contextmanager
def _limited(kind: int, value: int) -> Iterator[None]:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


@pytest.mark.parametrize("encoding", ["mp3", "aac", "flac", "opus", "wav"])
async def test_a_full_disk_keeps_nobody_from_speaking(encoding: str, tmp_path: Path) -> None:
    """No file can grow by a byte, and every protocol and every kind of file is spoken all the same."""
    fields = {"model": "tts-1", "voice": "tone", "input": TEXT, "response_format": encoding}
    body = json.dumps(fields).encode()
    request = b"POST /v1/audio/speech HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        async with running(for_all()) as server:
            with _limited(resource.RLIMIT_FSIZE, 0):
                with pytest.raises(OSError, match="too large"):
                    (tmp_path / "full").write_bytes(b"x")
                status, _, sound = await server.http(request)
                others = await asyncio.gather(*(told(converse, server) for converse in CONVERSATIONS))
            assert status == 200 and len(sound) > 1000
            assert not [heard for heard in others if isinstance(heard, Exception)]
    finally:
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def _restored_log() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:], root.level, logging.raiseExceptions = before
    logging.captureWarnings(False)


@pytest.mark.usefixtures("_restored_log")
@pytest.mark.parametrize("error", [None, BrokenPipeError(32, "closed"), OSError(28, "full")], ids=str)
async def test_a_log_that_nobody_reads_keeps_nobody_from_speaking(
    error: OSError | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pipe is full, or closed, or its disk is full: every protocol is spoken, and probes are answered."""
    monkeypatch.setattr(logs, "MAX_WAITING_LINES", 3)
    monkeypatch.setattr(logs, "FLUSH_TIMEOUT_S", 0.05)
    is_read = threading.Event()

    def write(_line: str) -> None:
        if error is not None:
            raise error
        is_read.wait(20)

    configure_logging("debug", "json", write)
    num_before = logs.num_dropped()
    try:
        async with running(for_all()) as server:
            got = await asyncio.gather(*(told(converse, server) for converse in CONVERSATIONS))
            assert not [heard for heard in got if isinstance(heard, Exception)]
            assert (await server.get("/livez"))[0] == (await server.get("/readyz"))[0] == 200
            assert error is not None or logs.num_dropped() > num_before
    finally:
        is_read.set()


async def test_what_is_open_is_served_without_a_descriptor_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Sessions and kept connections of every kind speak, keys that cannot be read again stay, and then all is well."""
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    config = configured(server={"api_keys_file": keys, "wyoming_port": 0})
    secret = {"X-API-Key": "secret"}
    async with running(config) as server, server.client(additional_headers=secret) as client:
        async with server.line() as (reader, writer):
            await _post(reader, writer)
            with _exhausted(), caplog.at_level(logging.ERROR):
                await client.say("speak", id="a", text=TEXT)
                assert (await client.until("done"))["reason"] == "completed"
                await _post(reader, writer)
                os.kill(os.getpid(), signal.SIGHUP)
                await eventually(lambda: any("not reloaded" in message for message in caplog.messages))
                await client.say("speak", id="b", text=TEXT)
                assert (await client.until("done", id="b"))["reason"] == "completed"
        assert await _is_let_in(server, secret)


async def _post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    body = json.dumps({"text": TEXT}).encode()
    head = b"POST /v1/speech HTTP/1.1\r\nHost: test\r\nX-API-Key: secret\r\nContent-Length: %d\r\n\r\n"
    writer.write(head % len(body) + body)
    assert (await read_answer(reader))[0] == 200


async def _is_let_in(server: Running, headers: dict[str, str]) -> bool:
    async with server.client(additional_headers=headers):
        return True


@contextlib.contextmanager
def _exhausted() -> Iterator[None]:
    """Take every descriptor that the process may have."""
    with contextlib.ExitStack() as stack:
        highest = max(int(descriptor.name) for descriptor in Path("/proc/self/fd").iterdir())
        stack.enter_context(_limited(resource.RLIMIT_NOFILE, highest + 5))
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                stack.enter_context(socket.socket())
        yield
