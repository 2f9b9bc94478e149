"""Guessing keys is slow, whatever the protocol, and keeps nobody out who has used a right key from the same address."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streamer.errors import AuthenticationError, RateLimitedError
from streamer.server import wrong_keys
from streamer.server.key_entries import named_key, plain_key
from streamer.server.keys import FAILURES, ApiKeys
from streamer.server.wrong_keys import WrongKeys
from tests.server.named_keys import key_of, write_keys
from tests.server.speaking import Running, configured, read_answer, running
from tests.server.test_scopes import HANDSHAKES, POSTS

HERE, THERE = "10.0.0.1", "10.0.0.2"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def limited(keys: ApiKeys, given: str, address: str = HERE) -> float | None:
    """Give a key; returns the time that a client is told to wait, None if the key was looked at."""
    try:
        keys.check(given, "speak", address)
    except RateLimitedError as error:
        return error.retry_after_s
    except AuthenticationError:
        return None
    return None


@pytest.mark.parametrize("max_per_min", [1, 2, 7, 30, 60, 1000])
def test_as_many_wrong_keys_are_looked_at_as_the_limit_says(max_per_min: int) -> None:
    """At once, and then one after the other, each at the time that was told; after a quiet minute all at once again."""
    clock = Clock()
    keys = ApiKeys([plain_key("right")], wrong_keys=WrongKeys(max_per_min, clock))
    assert [limited(keys, f"wrong{number}") for number in range(max_per_min)] == [None] * max_per_min
    for number in range(3):
        wait_s = limited(keys, f"another{number}")
        assert wait_s == pytest.approx(60 / max_per_min, abs=0.01)
        assert limited(keys, "right") == wait_s, (
            "a right key that was never used here is not looked at either"
        )
        clock.now_s += 60 / max_per_min
        assert limited(keys, f"another{number}") is None
    clock.now_s += 60
    assert [limited(keys, f"more{number}") for number in range(max_per_min)] == [None] * max_per_min
    assert limited(keys, "wrong")
    assert limited(keys, "right", THERE) is None and limited(keys, "wrong", THERE) is None


def test_a_key_that_was_used_before_is_never_kept_out() -> None:
    """However many wrong ones come from its address; that another address has used it does not count."""
    keys = ApiKeys([plain_key("right"), named_key("alice", "hers")], wrong_keys=WrongKeys(2, Clock()))
    for _ in range(1000):
        assert limited(keys, "right") is None
    keys.check("hers", "speak", THERE)
    for number in range(1000):
        limited(keys, f"wrong{number}")
    assert limited(keys, "right") is None and limited(keys, "hers")
    assert limited(keys, "hers", THERE) is None


def test_a_key_that_is_taken_away_is_a_wrong_one(tmp_path: Path) -> None:
    """That it was used before lets nobody in."""
    keys = ApiKeys.read(write_keys(tmp_path / "keys.toml", {"alice": ["speak"], "bob": ["speak"]}), 1)
    keys.check(key_of("alice"), "speak", HERE)
    write_keys(tmp_path / "keys.toml", {"bob": ["speak"]})
    keys.reload()
    for _ in range(2):
        with pytest.raises(AuthenticationError):
            keys.check(key_of("alice"), "speak", HERE)
    assert limited(keys, key_of("bob")) is None


@pytest.mark.parametrize("num_tries", [1, 10, 20_000])
def test_who_gives_the_same_wrong_key_again_locks_out_nobody(num_tries: int) -> None:
    """A client that keeps trying learns nothing by it; others of its address wait no longer than for one attempt."""
    clock = Clock()
    keys = ApiKeys([plain_key("right")], wrong_keys=WrongKeys(2, clock))
    for _ in range(num_tries):
        assert limited(keys, "wrong") is None
        clock.now_s += 0.01
    assert limited(keys, "right") is None
    for number in range(num_tries):
        limited(keys, f"wrong{number}", THERE)
    assert (limited(keys, "right", THERE) or 0) <= 30


def test_expired_keys_and_wrong_scopes_are_no_guesses() -> None:
    """Who has them knows a key, and locks nobody out."""
    clock = Clock()
    keys = [
        named_key("old", "old", expires="2020-01-01T00:00:00Z"),
        named_key("metrics", "metrics", ["metrics"]),
    ]
    checked = ApiKeys(keys, wrong_keys=WrongKeys(1, clock))
    for _ in range(5):
        for given in ("old", "metrics"):
            assert limited(checked, given) is None
    assert limited(checked, "wrong") is None and limited(checked, "another")
    assert checked.failures == {"expired": 5, "scope": 5, "wrong": 1, "limited": 1}


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that guessed last is remembered, and so is the key that was used last."""
    monkeypatch.setattr(wrong_keys, "MAX_ADDRESSES", 10)
    monkeypatch.setattr(wrong_keys, "MAX_KNOWN", 10)
    clock = Clock()
    limit = WrongKeys(1, clock)
    for number in range(100):
        limit.note_wrong(f"10.0.0.{number}", b"wrong")
        limit.note_right(HERE, bytes([number]))
        limit.note_right(HERE, bytes([0]))
    assert len(limit._spent_until_s) == len(limit._known) == len(limit._refused) == 10
    limit.note_wrong(HERE, b"wrong")
    assert limit.wait_s("10.0.0.99", b"") and not limit.wait_s("10.0.0.50", b"")
    assert not limit.wait_s(HERE, bytes([0])) and limit.wait_s(HERE, bytes([50]))
    clock.now_s += 61
    limit.note_wrong(THERE, b"wrong")
    assert len(limit._spent_until_s) == 1, "who owes nothing is forgotten first"


def test_the_log_says_it_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """With the address, however many addresses guess."""
    clock = Clock()
    keys = ApiKeys([plain_key("right")], wrong_keys=WrongKeys(2, clock))
    with caplog.at_level(logging.WARNING):
        for minute in range(2):
            for address in (HERE, THERE):
                for number in range(5):
                    limited(keys, f"wrong{minute}{number}", address)
            clock.now_s += 70
    assert [record.address for record in caplog.records] == [HERE, HERE]


def test_without_a_limit_every_key_is_looked_at() -> None:
    """`none` switches it off."""
    keys = ApiKeys([plain_key("right")], wrong_keys=WrongKeys(None, Clock()))
    assert [limited(keys, "wrong") for _ in range(1000)] == [None] * 1000


def _file(tmp_path: Path) -> Path:
    return write_keys(tmp_path / "keys.toml", {"alice": ["speak", "metrics", "admin"], "bob": ["speak"]})


async def _ask(server: Running, lines: list[str], source: str = "127.0.0.1") -> tuple[int, bytes, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port, local_addr=(source, 0))
    body = lines.pop()
    writer.write("\r\n".join([*lines, f"Content-Length: {len(body)}"]).encode() + b"\r\n\r\n" + body.encode())
    try:
        return await read_answer(reader)
    finally:
        writer.close()


@pytest.mark.parametrize("name", POSTS)
async def test_a_request_is_limited_in_the_shape_of_its_protocol(name: str, tmp_path: Path) -> None:
    """429 with the time after two wrong keys; a known key is served, and so is another address."""
    path, fields, scheme, read_code, _ = POSTS[name]

    def asked(owner: str) -> list[str]:
        return [f"POST {path} HTTP/1.1", "Host: test", f"{scheme} {key_of(owner)}", "Content-Type: application/json",
                "Cartesia-Version: 2026-03-01", json.dumps(fields)]  # fmt: skip

    config = configured(server={"api_keys_file": _file(tmp_path)}, max_wrong_keys_per_min=2)
    async with running(config) as server:
        statuses = [(await _ask(server, asked(owner)))[0] for owner in ("alice", "x", "y")]
        assert statuses == [200, 401, 401]
        for owner in ("z", "bob"):
            status, head, body = await _ask(server, asked(owner))
            assert status == 429 and b"too many wrong keys came from this address: try again in 30 s" in body
            assert read_code(body) and b"Retry-After: 30" in head
        assert (await _ask(server, asked("alice")))[0] == 200
        assert (await _ask(server, asked("bob"), "127.0.0.2"))[0] == 200
        _, _, told = await _ask(
            server, ["GET /metrics HTTP/1.1", "Host: test", f"X-API-Key: {key_of('alice')}", ""]
        )
    counts = {"wrong": 2.0, "limited": 2.0}
    for reason in FAILURES:
        expected = f'tts_authentication_failures_total{{reason="{reason}"}} {counts.get(reason, 0.0)}\n'
        assert expected.encode() in told
    assert b'tts_connections_rejected_total{reason="wrong_keys"} 2.0\n' in told


@pytest.mark.parametrize("name", HANDSHAKES)
async def test_a_handshake_is_limited(name: str, tmp_path: Path) -> None:
    """With 429, before the protocol begins."""
    path, field = HANDSHAKES[name]
    config = configured(server={"api_keys_file": _file(tmp_path)}, max_wrong_keys_per_min=2)
    async with running(config) as server:
        url = f"ws://127.0.0.1:{server.server.port}{path}"
        async with connect(url, proxy=None, additional_headers={field: key_of("alice")}):
            pass
        for owner, expected in (("x", 401), ("y", 401), ("z", 429), ("bob", 429)):
            with pytest.raises(InvalidStatus) as refused:
                await connect(url, proxy=None, additional_headers={field: key_of(owner)})
            assert refused.value.response.status_code == expected
        async with connect(url, proxy=None, additional_headers={field: key_of("alice")}):
            pass


async def test_keys_that_follow_are_limited_together(tmp_path: Path) -> None:
    """In the first message of a session: told in words and the time, and closed with the protocol's code for it."""
    first = {
        "/v1/stream": lambda key: {"type": "auth", "token": key},
        "/v1/text-to-speech/tone/stream-input": lambda key: {"text": " ", "xi_api_key": key},
        "/v1/telephony": lambda key: {
            "event": "start",
            "streamSid": "MZ1",
            "start": {
                "streamSid": "MZ1",
                "callSid": "CA1",
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": {"token": key},
            },
        },
    }
    config = configured(server={"api_keys_file": _file(tmp_path)}, max_wrong_keys_per_min=2)
    async with running(config) as server:
        for owners, line in ((("x", "y"), "not valid here"), (("z", "bob", "bob"), "too many wrong keys")):
            for owner, (path, message) in zip(owners, first.items(), strict=False):
                url = f"ws://127.0.0.1:{server.server.port}{path}"
                async with connect(url, proxy=None) as websocket:
                    await websocket.send(json.dumps(message(key_of(owner))))
                    told = ""
                    with pytest.raises(ConnectionClosed):
                        while True:
                            told += str(await websocket.recv())
                code = 1013 if "many" in line else 4401
                assert websocket.close_code == (1008 if "text-to-speech" in path else code)
                assert line in told + (websocket.close_reason or "")
                if path == "/v1/stream" and "many" in line:
                    assert (
                        '"rate_limited"' in told
                        and 29 < float(re.findall(r'"retry_after_s":([\d.]+)', told)[0]) <= 30
                    )


async def test_the_operators_port_is_limited_too(tmp_path: Path) -> None:
    """Its keys open more than speech."""
    options = {"api_keys_file": _file(tmp_path), "admin_port": 0}
    async with running(configured(server=options, max_wrong_keys_per_min=2)) as server:
        statuses = []
        for owner in ("alice", "x", "y", "z", "bob", "alice"):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.server.admin_port)
            writer.write(
                f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key_of(owner)}\r\n\r\n".encode()
            )
            statuses.append((await read_answer(reader))[0])
            writer.close()
    assert statuses == [200, 401, 401, 429, 429, 200]
