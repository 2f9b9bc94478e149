"""On SIGHUP files are read again: what is right counts from then on, and what is wrong changes nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streamer.config import ServerConfig, SpeechConfig
from streamer.errors import CheckpointError, ConfigError
from streamer.server.key_files import plain_key
from streamer.server.keys import ApiKeys
from streamer.server.reloading import Reloadables
from streamer.server.tickets import Tickets
from tests.server.certificates import write_certificate
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


async def test_every_file_of_the_settings_is_read_again(tmp_path: Path) -> None:
    """An option that names a file is forgotten by nobody: a new one has to be added here and to what is reloaded."""
    chain, key = write_certificate(tmp_path)
    keys, secret = tmp_path / "keys", tmp_path / "secret"
    keys.write_text("key\n")
    secret.write_bytes(b"x" * 32)
    words = tmp_path / "words"
    words.write_text("nginx = engine x\n")
    files: dict[str, dict[str, Any]] = {
        "server": {"api_keys_file": keys, "tls_cert": chain, "tls_key": key, "ticket_secret_file": secret},
        "speech": {"lexicon": words},
    }
    options = {
        (section, option.name)
        for section, kind in (("server", ServerConfig), ("speech", SpeechConfig))
        for option in fields(kind)
        if "Path" in str(option.type)
    }
    assert options == {(section, name) for section, named in files.items() for name in named}
    async with running(configured(**files)) as server:
        assert await server.server.reload_files() == dict.fromkeys(
            ("API keys", "pronunciation", "ticket secret", "certificate")
        )


async def _spoken(server: Running) -> str:
    """What the synthesizer is given for `Start nginx now.`"""
    async with server.client() as client:
        await client.say("speak", id="a", text="Start nginx now.", lead_ms=None)
        await client.until("done")
    return server.synthesizer.requests[-1].text


async def test_a_list_of_words_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """New words count for the next utterance; one that has begun keeps those that it began with."""
    words = tmp_path / "words"
    words.write_text("nginx = engine x\n")
    caplog.set_level(logging.INFO)
    async with running(configured(speech={"lexicon": words})) as server, server.client() as client:
        assert await _spoken(server) == "Start engine x now."
        await client.say("start", id="b", lead_ms=None)
        await client.until("started")
        await client.say("text", id="b", text="This here is the beginning of it. And ")
        await eventually(lambda: "beginning" in server.synthesizer.requests[-1].text)
        words.write_text("nginx = N jinx\n")
        await _hang_up(caplog, "pronunciation: reloaded")
        await client.say("text", id="b", text="nginx is here.")
        await client.say("end", id="b")
        await client.until("done")
        assert server.synthesizer.requests[-1].text == "And engine x is here."
        assert await _spoken(server) == "Start N jinx now."


@pytest.mark.parametrize(
    "content",
    [
        b"nginx\n",
        b"nginx = \n",
        b"a = b\nA = c\nA = d\n",
        b"\xff = x\n",
        b"nginx = /XX/\n",
        b"a = ...\n",
        None,
    ],
    ids=["no sign", "no words", "twice", "no UTF-8", "no phones", "nothing to say", "gone"],
)
async def test_a_wrong_list_of_words_keeps_the_old_one(
    content: bytes | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Phones that the model lacks are a mistake then as they are at the start."""
    words = tmp_path / "words"
    words.write_text("nginx = engine x\n")
    async with running(configured(speech={"lexicon": words})) as server:
        words.unlink() if content is None else words.write_bytes(content)
        await _hang_up(caplog, "pronunciation: not reloaded")
        assert await _spoken(server) == "Start engine x now."


def test_tickets_are_signed_by_the_secret_that_was_read_last(tmp_path: Path) -> None:
    """A new secret makes tickets of the old one worthless at once; a wrong file changes nothing."""
    file, page, keys = tmp_path / "secret", "https://app.example.com", ApiKeys([plain_key("key")])
    name = keys.check("key", "speak")
    file.write_bytes(b"a" * 32)
    tickets = Tickets.read(file)
    old = tickets.issue(name, page)
    for wrong in (b"", b"short", b"x" * 70_000, None):
        file.unlink() if wrong is None else file.write_bytes(wrong)
        with pytest.raises(ConfigError, match="ticket_secret_file"):
            tickets.reload()
    kept = tickets.issue(name, page)
    file.write_bytes(b"b" * 32)
    assert tickets.redeem(kept, page, keys) == name
    tickets.reload()
    assert tickets.redeem(old, page, keys) is None
    other = Tickets(b"b" * 32)
    assert tickets.redeem(other.issue(name, page), page, keys) == name


async def test_a_hang_up_without_files_ends_nothing() -> None:
    """A terminal that is closed sends the same signal."""
    async with running() as server, server.client() as client:
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.05)
        assert await client.pong() == []
