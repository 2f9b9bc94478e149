"""Wyoming under two thousand events that are nearly right."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random

import pytest
from wyoming.event import Event

from streamer.server.wyoming.messages import encode
from tests.server.mutations import AT_ONCE, mutated, undisturbed

IN_LINES = [
    {"type": "describe"},
    {"type": "ping", "data": {"text": "here"}, "version": "1.8.0"},
    {"type": "synthesize", "data": {"text": "Hello there.", "voice": {"name": "tone"}}},
    {"type": "synthesize-start", "data": {"voice": {"language": "en"}}},
    {"type": "synthesize-chunk", "data": {"text": "How are "}},
    {"type": "synthesize-chunk", "data": {"text": "you?"}},
    {"type": "synthesize", "data": {"text": "How are you?"}},
    {"type": "synthesize-stop"},
    {"type": "audio-chunk", "data": {"rate": 16000, "width": 2, "channels": 1}},
]
BEHIND_LINES = [
    Event("synthesize", {"text": "Hello there.", "voice": {"name": "other"}}),
    Event("audio-chunk", {"rate": 16000, "width": 2, "channels": 1}, bytes(320)),
    Event("synthesize-start", {"voice": {"name": "tone"}}),
    Event("synthesize-chunk", {"text": "How are you? Fine."}),
    Event("synthesize-stop"),
]


async def converse(port: int, data: bytes, *, is_polite: bool) -> None:
    """Send what was changed, in one piece; the client leaves politely, or without a word."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                while await reader.read(65_536):
                    pass
    except ConnectionError:
        pass
    finally:
        if is_polite:
            writer.close()
        else:
            writer.transport.abort()


async def attack(port: int, number: int, seed: int, *, at_once: int = AT_ONCE) -> None:
    """Send `number` changed events, among others that are right."""
    chance, gate = random.Random(seed), asyncio.Semaphore(at_once)
    lines = [json.dumps(event) for event in IN_LINES]
    pieces = [encode(event) for event in BEHIND_LINES]
    num_changed = 0

    def changed(message: str | bytes) -> bytes:
        nonlocal num_changed
        if chance.random() < 0.5:
            num_changed += 1
            message = mutated(message, chance)
        return message.encode(errors="surrogatepass") + b"\n" if isinstance(message, str) else message

    async def one(data: bytes, *, is_polite: bool) -> None:
        async with gate:
            await converse(port, data, is_polite=is_polite)

    async with asyncio.TaskGroup() as tasks:
        while num_changed < number:
            data = b"".join(map(changed, lines if chance.random() < 0.6 else pieces))
            tasks.create_task(one(data, is_polite=chance.random() < 0.5))
            await gate.acquire()  # no more are made than are sent
            gate.release()


@pytest.mark.parametrize("seed", [1, 2])
async def test_events_that_are_nearly_right_harm_nobody(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Each is answered, ignored, or ends its own connection."""
    async with undisturbed(caplog, server={"wyoming_port": 0}) as server:
        await attack(server.server.tcp_ports[0], 1000, seed)
