"""Speaks one utterance over one connection at a set time, and records each message as it arrives, undecoded."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from streamer.errors import StreamerError

PROTOCOL: Final = "streamer.v1"
CONNECT_AHEAD_S: Final = 1.0
"""How long before its utterance a connection is opened, because applications keep one ready."""
OPEN_TIMEOUT_S: Final = 10.0
Outcome = Literal["served", "rejected", "failed", "unfinished"]
REFUSALS: Final = frozenset({"overloaded", "rate_limited"})
_REFUSED_STATUS: Final = frozenset({429, 503})


class BenchError(StreamerError):
    """The load test cannot run: no such server, another protocol, no valid key, or a number out of its range."""

    code = "bench_impossible"


@dataclass(frozen=True, slots=True)
class Target:
    """Which server to load, and what to request. `settings` are further fields of `speak` and `start`."""

    url: str
    encoding: str = "opus"
    api_key: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Recording:
    """Everything that came back for one utterance. All times are the event loop's, in seconds.

    `frames` are (time, binary message) pairs as received. `due_s` is when the text was to be sent: latencies count
    from then, so that a server that keeps the client from sending does not look better than it is.
    """

    due_s: float
    sent_s: float | None = None
    ended_s: float | None = None
    outcome: Outcome = "unfinished"
    reason: str = ""
    started: dict[str, Any] = field(default_factory=dict)
    done: dict[str, Any] = field(default_factory=dict)
    frames: list[tuple[float, bytes]] = field(default_factory=list)

    def end(self, outcome: Outcome, reason: str = "") -> None:
        self.outcome, self.reason = outcome, reason
        self.ended_s = asyncio.get_running_loop().time()


@contextlib.asynccontextmanager
async def connected(target: Target) -> AsyncIterator[tuple[ClientConnection, dict[str, Any]]]:
    """Open a connection; yields it with the server's `session`.

    Raises what `connect` raises, and `BenchError` for a server that speaks another protocol.
    """
    headers = {"Authorization": f"Bearer {target.api_key}"} if target.api_key else {}
    async with connect(
        target.url,
        subprotocols=[Subprotocol(PROTOCOL)],
        additional_headers=headers,
        compression=None,
        proxy=None,
        open_timeout=OPEN_TIMEOUT_S,
        ping_interval=None,
        close_timeout=1.0,
        max_queue=None,
    ) as connection:
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                session = json.loads(await connection.recv())
        except (ValueError, TimeoutError) as error:
            raise BenchError(f"{target.url} does not greet with a `session`: is it {PROTOCOL}?") from error
        if not isinstance(session, dict) or session.get("protocol") != PROTOCOL:
            raise BenchError(f"{target.url} does not speak {PROTOCOL}")
        yield connection, session


async def probe(target: Target) -> dict[str, Any]:
    """Return the server's `session`. Raises `BenchError` if the server cannot be tested."""
    try:
        parts = urlsplit(target.url)
        is_address = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port out of range, half an IPv6 address
        is_address = False
    if not is_address:
        raise BenchError(f"{target.url!r} is not an address: give ws://host:port/v1/stream")
    if "framing" in dict(parse_qsl(parts.query)):
        raise BenchError(f"{target.url!r}: leave out `framing`, packets are told apart by their headers")
    try:
        async with connected(target) as (_, session):
            return session
    except InvalidStatus as error:
        status = error.response.status_code
        meaning = {401: "it requires a valid --api-key-file", 404: "the path should be /v1/stream"}.get(
            status, ""
        )
        body = bytes(error.response.body or b"").decode(errors="replace").strip()[:200]
        raise BenchError(f"{target.url} answers HTTP {status}: {meaning or body or 'no reason'}") from error
    except (OSError, TimeoutError, WebSocketException) as error:
        raise BenchError(f"{target.url} cannot be reached: {error or type(error).__name__}") from error


async def speak(target: Target, text: str, seed: int, recording: Recording) -> None:
    """Connect, send `text` at `recording.due_s`, and record everything until it ends; no server makes it raise."""
    loop = asyncio.get_running_loop()
    try:
        async with connected(target) as (connection, _):
            await asyncio.sleep(max(0.0, recording.due_s - loop.time()))
            message = {"type": "speak", "id": "1", "text": text, **utterance_settings(target, seed)}
            recording.sent_s = loop.time()
            await connection.send(json.dumps(message))
            await listen(connection, recording)
    except InvalidStatus as error:
        status = error.response.status_code
        recording.end("rejected" if status in _REFUSED_STATUS else "failed", f"HTTP {status}")
    except (OSError, TimeoutError, WebSocketException, BenchError) as error:
        if recording.outcome == "unfinished":  # Only the closing handshake was lost otherwise.
            recording.end("failed", f"{type(error).__name__}: {error}")


def utterance_settings(target: Target, seed: int) -> dict[str, Any]:
    """Return the fields of `start` that all utterances share, with the seed of this one."""
    params = {**target.settings.get("params", {}), "seed": seed}
    return {**target.settings, "encoding": target.encoding, "params": params}


async def listen(connection: ClientConnection, recording: Recording) -> None:
    """Record each message with its time until the utterance has ended."""
    now = asyncio.get_running_loop().time
    try:
        while recording.outcome == "unfinished":
            data = await connection.recv()
            if isinstance(data, bytes):
                recording.frames.append((now(), data))
            else:
                _note(json.loads(data), recording)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        recording.end("failed", f"a malformed message: {type(error).__name__}")
    except ConnectionClosed as error:
        recording.end("failed", f"the connection was closed: {error}")


def _note(message: dict[str, Any], recording: Recording) -> None:
    kind = message.get("type")
    if kind == "started":
        recording.started = message
    elif kind == "done":
        recording.done = message
        error = message.get("error") or {}
        if message["reason"] in ("completed", "truncated"):
            recording.end("served")
        else:
            is_refusal = error.get("code") in REFUSALS and not recording.frames
            recording.end("rejected" if is_refusal else "failed", error.get("code") or message["reason"])
    elif kind == "error" and not recording.started:
        recording.end("rejected" if message["code"] in REFUSALS else "failed", message["code"])
