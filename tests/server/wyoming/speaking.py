"""A server that speaks Wyoming, and a client made of Home Assistant's own package, as it is."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from wyoming.client import AsyncTcpClient
from wyoming.event import Event

from streamer.config import Config
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import Running, configured, running

TERMINAL = ("audio-stop", "synthesize-stopped", "error")


def with_wyoming(**limits: Any) -> Config:
    """The defaults with a Wyoming port."""
    return configured(server={"wyoming_port": 0}, **limits)


@contextlib.asynccontextmanager
async def wyoming(
    config: Config | None = None, synthesizer: FakeSynthesizer | None = None
) -> AsyncIterator[Running]:
    async with running(config or with_wyoming(), synthesizer) as speaking:
        yield speaking


@contextlib.asynccontextmanager
async def client_of(speaking: Running) -> AsyncIterator[AsyncTcpClient]:
    async with AsyncTcpClient("127.0.0.1", speaking.server.tcp_ports[0], read_timeout=10) as client:
        yield client


async def until(client: AsyncTcpClient, *kinds: str) -> list[Event]:
    """Read on to an event of one of these types, or the end of the connection."""
    events: list[Event] = []
    while (event := await client.read_event()) is not None:
        events.append(event)
        if event.type in kinds:
            break
    return events


async def rest(client: AsyncTcpClient) -> list[Event]:
    """Read to the end of the connection."""
    return await until(client)


def kinds(events: list[Event]) -> list[str]:
    """The types of events, chunks of sound in a row counted once."""
    types = [event.type for event in events]
    return [kind for index, kind in enumerate(types) if kind != "audio-chunk" or types[index - 1] != kind]


def pcm(events: list[Event]) -> bytes:
    return b"".join(event.payload or b"" for event in events if event.type == "audio-chunk")
