"""On SIGHUP files are read again: what is right counts from then on, and what is wrong changes nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streamer.errors import CheckpointError, ConfigError
from streamer.server.reloading import Reloadables
from tests.server.speaking import Running, configured, eventually, running


def _raise(error: Exception) -> Callable[[], None]:
    def reload() -> None:
        raise error

    return reload


@pytest.mark.parametrize(
    "error", [ConfigError("wrong"), CheckpointError("wrong"), OSError(2, "wrong"), RuntimeError("wrong")]
)
async def test_one_that_fails_keeps_no_other_from_being_read(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is told in the log by its name, with the reason why it was not read."""
    read: list[str] = []
    reloadables = Reloadables()
    reloadables.add("first", lambda: read.append("first"))
    reloadables.add("broken", _raise(error))
    reloadables.add("last", lambda: read.append("last"))
    with caplog.at_level(logging.INFO):
        await reloadables.reload()
    assert read == ["first", "last"]
    assert caplog.messages == ["first: reloaded", "broken: not reloaded, the old one stays", "last: reloaded"]


async def test_what_changes_is_read_off_the_event_loop(caplog: pytest.LogCaptureFixture) -> None:
    """The log says what was read; what has not changed, and what goes wrong again, is not told."""
    outcomes: list[bool | Exception] = [
        False,
        True,
        OSError(5, "a"),
        OSError(5, "a"),
        OSError(5, "b"),
        True,
        True,
    ]
    threads: list[threading.Thread] = []

    def refresh() -> bool:
        threads.append(threading.current_thread())
        outcome = outcomes.pop(0) if outcomes else False
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    reloadables = Reloadables()
    reloadables.add("voices", lambda: None, refresh)
    with caplog.at_level(logging.INFO):
        watch = asyncio.create_task(reloadables.watch(interval_s=0))
        await eventually(lambda: len(threads) > 8)
        watch.cancel()
    changed, failed = "voices: changed, and reloaded", "voices: not reloaded, the old one stays"
    assert caplog.messages == [changed, failed, failed, changed, changed]
    assert threading.current_thread() not in threads


async def test_nothing_is_watched_that_is_read_on_demand_only() -> None:
    """The watch ends by itself."""
    reloadables = Reloadables()
    reloadables.add("keys", lambda: None)
    await asyncio.wait_for(reloadables.watch(interval_s=0), 5)


async def _hang_up(caplog: pytest.LogCaptureFixture, result: str) -> None:
    caplog.clear()
    os.kill(os.getpid(), signal.SIGHUP)
    await eventually(lambda: any(result in message for message in caplog.messages))


async def _is_let_in(server: Running, key: str) -> bool:
    try:
        async with server.client(additional_headers={"X-API-Key": key}):
            return True
    except InvalidStatus:
        return False


async def test_keys_are_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """New keys open, old ones close, and sessions of keys that are gone end with 4401; those of others stay."""
    keys = tmp_path / "keys"
    keys.write_text("old\nboth\n")
    caplog.set_level(logging.INFO)
    async with (
        running(configured(server={"api_keys_file": keys})) as server,
        server.client(additional_headers={"X-API-Key": "old"}) as old,
        server.client() as by_message,
        server.client(additional_headers={"X-API-Key": "both"}) as both,
    ):
        await by_message.say("auth", token="old")
        assert await by_message.pong() == []
        await old.say("start", id="a")
        await old.until("started")
        keys.write_text("both\nnew\n")
        await _hang_up(caplog, "API keys: reloaded")
        assert (await old.until("done"))["reason"] == "failed"
        for client in (old, by_message):
            assert (await client.until("error"))["code"] == "unauthorized"
            with pytest.raises(ConnectionClosed):
                await client.next()
            assert client.connection.close_code == 4401
        assert await both.pong() == []
        assert [await _is_let_in(server, key) for key in ("old", "both", "new")] == [False, True, True]


@pytest.mark.parametrize(
    "content", [b"", b"# nothing\n", b"\xff\xfe", "schl\u00fcssel\n".encode(), b"two words\n", None],
    ids=["empty", "comments", "no UTF-8", "not ASCII", "a space", "gone"],
)  # fmt: skip
async def test_a_wrong_file_keeps_the_old_keys(
    content: bytes | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says what is wrong, and everybody who was let in still is."""
    keys = tmp_path / "keys"
    keys.write_text("old\n")
    async with (
        running(configured(server={"api_keys_file": keys})) as server,
        server.client(additional_headers={"X-API-Key": "old"}) as client,
    ):
        keys.unlink() if content is None else keys.write_bytes(content)
        await _hang_up(caplog, "API keys: not reloaded")
        assert await client.pong() == []
        assert await _is_let_in(server, "old") and not await _is_let_in(server, "other")


async def test_a_hang_up_without_files_ends_nothing() -> None:
    """A terminal that is closed sends the same signal."""
    async with running() as server, server.client() as client:
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.05)
        assert await client.pong() == []
