"""Thousands of messages and requests that are nearly right, for the robustness tests of every adapter.

A protocol's test gives conversations that are right, and `attack` changes them at random, with a seed. Meanwhile a
neighbour speaks by our own protocol. Nothing may be logged as unexpected, change for the neighbour, or be left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.protocol import State

from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import Running, configured, eventually, figure, line, read_answer, running

Conversation = Sequence[str | bytes]
NEIGHBOURS_TEXT: Final = "A neighbour says what it wants to say. It hears every word of it."
CUT_OFF: Final = 1006
"""Stands for a close without a word (RFC 6455, section 7.4.1)."""
ANSWER_TIMEOUT_S: Final = 60.0
"""How long a handshake may take on a busy machine, and a request be spoken: a text that is repeated is long."""
STAY_S: Final = 0.01
"""How long clients stay behind their last message; one that stays for longer waits until it has been read."""
AT_ONCE: Final = 8
"""How many connections are attacked side by side."""
ODD_VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    False,
    0,
    -1,
    2**31,
    2**64,
    1e300,
    -0.5,
    "",
    " ",
    "x" * 300,
    "x" * 3000,
    "\x00\x1f\ufeff",
    "👩‍🚀ä\u0301",
    "null",
    "../../etc/passwd",
    [],
    {},
    [[[[]]]],
    {"a": {"b": [None]}},
    [1, "two", None],
)
_TEXT_CHANGES: Final = ("", '"', "{", "}", "[", "]", ",", ":", "\\", "\\ud800", "NaN", "1e999", "\x00", "é")


def mutated(message: str | bytes, chance: random.Random) -> str | bytes:
    """Change a message at one to three places: in its values and keys if it is JSON, else in its characters."""
    for _ in range(chance.choice((1, 1, 2, 3))):
        if isinstance(message, bytes):
            message = _with_other_bytes(message, chance)
        elif chance.random() < 0.6 and isinstance(value := _parsed(message), dict):
            message = json.dumps(_with_other_values(value, chance))
        else:
            message = chance.choice((_with_other_text, _cut, _repeated, _as_bytes))(message, chance)
    return message


def _parsed(message: str) -> Any:
    with contextlib.suppress(ValueError):
        return json.loads(message)
    return None


def _with_other_values(value: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    changed = dict(value)
    name = chance.choice([*changed, "unknown"])
    match chance.choice(("replace", "remove", "rename", "inside")):
        case "remove":
            changed.pop(name, None)
        case "rename":
            changed[chance.choice((name.upper(), name + "s", ""))] = changed.pop(name, None)
        case "inside" if isinstance(changed.get(name), dict):
            changed[name] = _with_other_values(changed[name], chance)
        case _:
            changed[name] = chance.choice(ODD_VALUES)
    return changed


def _with_other_text(message: str, chance: random.Random) -> str:
    at = chance.randrange(len(message) + 1)
    return message[:at] + chance.choice(_TEXT_CHANGES) + message[at + chance.randrange(3) :]


def _cut(message: str, chance: random.Random) -> str:
    return message[: chance.randrange(len(message) + 1)]


def _repeated(message: str, chance: random.Random) -> str:
    return message * chance.choice((2, 3, 40))


def _as_bytes(message: str, chance: random.Random) -> bytes:
    return _with_other_bytes(message.encode(), chance)


def _with_other_bytes(message: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(message) + 1)
    return message[:at] + chance.randbytes(chance.randrange(4)) + message[at + chance.randrange(4) :]


@contextlib.asynccontextmanager
async def undisturbed(caplog: pytest.LogCaptureFixture, **limits: Any) -> AsyncIterator[Running]:
    """A server with a neighbour that speaks all the time; afterwards, what this module's docstring says is checked."""
    limits = {
        "max_bytes_per_s": 16_777_216,
        "max_utterances_per_key": 10_000,
        "max_starts_per_s": 10_000,
    } | limits
    synthesizer = FakeSynthesizer(speed=200.0)
    async with running(configured(speech={"lead_ms": None}, **limits), synthesizer) as server:
        expected = await _neighbour(server)
        is_over = asyncio.Event()

        async def speak_on() -> int:
            number = 0
            while not is_over.is_set():
                assert await _neighbour(server) == expected, "the neighbour hears something else"
                number += 1
            return number

        neighbour = asyncio.create_task(speak_on())
        with caplog.at_level(logging.WARNING):
            yield server
        is_over.set()
        assert await neighbour > 0
        await eventually(lambda: server.synthesizer.num_open == 0)
        await eventually(lambda: not figure(server.server, "tts_requests_running"))
        await eventually(lambda: server.server.num_sessions == 0)
        assert await _neighbour(server) == expected
    unexpected = [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
    assert not unexpected, unexpected[0]


async def attack_websocket(
    port: int,
    paths: Sequence[str],
    conversations: Sequence[Conversation],
    number: int,
    seed: int,
    *,
    at_once: int = AT_ONCE,
    stay_s: float = STAY_S,
) -> Counter[int | None]:
    """Send `number` changed messages, in conversations that are otherwise right; returns how they were closed.

    The client stays for `stay_s` and leaves politely, or leaves at once and without a word. A message behind one that
    made the server close does not count. The codes are those of the server's own closes; None stands for a connection
    that it let the client close.
    """
    chance = random.Random(seed)
    codes: Counter[int | None] = Counter()

    async def one() -> int:
        conversation = list(chance.choice(conversations))
        changed = chance.sample(range(len(conversation)), k=chance.randrange(1, len(conversation) + 1))
        for at in changed:
            conversation[at] = mutated(conversation[at], chance)
        path, is_polite = chance.choice(paths), chance.random() < 0.5
        num_sent, code = await _converse(port, path, conversation, stay_s if is_polite else None)
        codes[code] += 1
        return sum(at < num_sent for at in changed)

    while number > 0:
        number -= sum(await asyncio.gather(*(one() for _ in range(at_once))))
    return codes


async def attack_http(
    port: int, requests: Sequence[tuple[str, str, str]], number: int, seed: int, *, at_once: int = AT_ONCE
) -> dict[int, int]:
    """Send `number` requests (method, path, body) with changes; returns how often each status came."""
    chance = random.Random(seed)
    statuses: dict[int, int] = {}
    gate = asyncio.Semaphore(at_once)

    async def one(data: bytes) -> None:
        async with gate, line(port) as (reader, writer):
            writer.write(data)
            status, _, _ = await read_answer(reader, timeout_s=ANSWER_TIMEOUT_S)
            statuses[status] = statuses.get(status, 0) + 1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(number):
            method, path, body = chance.choice(requests)
            changed = mutated(body, chance)
            data = changed if isinstance(changed, bytes) else changed.encode()
            if chance.random() < 0.3:
                path = _with_other_path(path, chance)
            head = f"{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(data)}\r\n\r\n"
            tasks.create_task(one(head.encode("latin-1", "replace") + data))
    return statuses


def _with_other_path(path: str, chance: random.Random) -> str:
    """Change a path, and leave it one: what no path is ends before any adapter sees it."""
    at = chance.randrange(1, len(path) + 1)
    piece = chance.choice(
        ("/", "//", "%2F", "%00", "%ff", "%", "?", "&", "=", "..", "x" * 300, "%F0%9F%98%8A")
    )
    return path[:at] + piece + path[at + chance.randrange(3) :]


async def _converse(
    port: int, path: str, messages: Conversation, stay_s: float | None
) -> tuple[int, int | None]:
    """Return how many messages were sent, and the code with which the server closed the connection, if it did."""
    num_sent = 0
    # websockets raises `AttributeError` if the connection is lost while it sends: it aborts a transport that is gone.
    with contextlib.suppress(WebSocketException, ConnectionError, AttributeError):
        async with connect(
            f"ws://127.0.0.1:{port}{path}",
            proxy=None,
            compression=None,
            max_size=None,
            open_timeout=ANSWER_TIMEOUT_S,
        ) as websocket:
            listening = asyncio.create_task(_listen(websocket.recv))
            try:
                with contextlib.suppress(ConnectionClosed, AttributeError):
                    for message in messages:
                        await websocket.send(message)
                        num_sent += 1
                    if stay_s is not None and stay_s > STAY_S:
                        await (await websocket.ping())  # a busy server has read so far
                await asyncio.wait([listening], timeout=stay_s or STAY_S)
            finally:
                listening.cancel()
                is_cut_off = websocket.state is State.CLOSED and websocket.close_code == CUT_OFF
                if stay_s is None:
                    websocket.transport.abort()
        closed = websocket.protocol
        if is_cut_off:
            return num_sent, CUT_OFF
        if closed.close_rcvd is not None and closed.close_rcvd_then_sent:
            return num_sent, int(closed.close_rcvd.code)
    return num_sent, None


async def _listen(receive: Callable[[], Any]) -> None:
    with contextlib.suppress(WebSocketException):
        while True:
            await receive()


async def _neighbour(server: Running) -> bytes:
    """Speak by our own protocol; returns the sound."""
    async with server.client("?encoding=pcm_s16le") as client:
        await client.say("speak", id="a", text=NEIGHBOURS_TEXT, params={"seed": 1})
        done = await client.until("done", id="a")
    assert done["reason"] == "completed"
    return b"".join(frame.payload for frame in client.frames())
