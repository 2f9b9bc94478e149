"""A client of ElevenLabs' WebSocket, written from its description, over a session without sockets."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from streamer.config import Config
from streamer.server.client_protocol import CreateProtocol
from streamer.server.elevenlabs.protocol import ElevenLabsProtocol
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.fake_connection import FakeConnection, session
from tests.server.speaking import eventually

PCM = "output_format=pcm_24000"


@dataclass
class Conversation:
    """What was said over a connection, one object a message."""

    connection: FakeConnection
    protocol: ElevenLabsProtocol
    synthesizer: FakeSynthesizer

    def say(self, *messages: dict[str, Any] | str) -> None:
        for message in messages:
            self.connection.say(message if isinstance(message, str) else json.dumps(message))

    @property
    def received(self) -> list[dict[str, Any]]:
        return [json.loads(frame) for frame in self.connection.sent]

    @property
    def ends(self) -> list[dict[str, Any]]:
        """The messages that end a context, or the connection."""
        return [message for message in self.received if message.get("isFinal") or "message" in message]

    def of(self, context_id: str) -> list[dict[str, Any]]:
        return [message for message in self.received if message.get("contextId") == context_id]

    @property
    def spoken(self) -> list[str]:
        """The sentences that were asked of the synthesizer."""
        return [request.text for request in self.synthesizer.requests]

    async def until_ended(self, number: int = 1) -> list[dict[str, Any]]:
        await eventually(lambda: len(self.ends) >= number)
        return self.ends


def create_for(voice: str = "tone", *, is_multi: bool) -> CreateProtocol:
    """How the protocol is made where no path was matched."""

    def create(upgrade: Upgrade, service: Service) -> ElevenLabsProtocol:
        return ElevenLabsProtocol(replace(upgrade, parameters={"voice": voice}), service, is_multi=is_multi)

    return create


@contextlib.asynccontextmanager
async def conversing(
    *,
    is_multi: bool = True,
    query: str = PCM,
    voice: str = "tone",
    config: Config | None = None,
    synthesizer: FakeSynthesizer | None = None,
    keys: tuple[str, ...] = (),
) -> AsyncIterator[Conversation]:
    """A session that speaks the protocol; afterwards no context may be left."""
    synthesizer = synthesizer or FakeSynthesizer()
    create = create_for(voice, is_multi=is_multi)
    async with session(create, config, synthesizer, query=query, keys=keys) as (_, connection, protocol):
        assert isinstance(protocol, ElevenLabsProtocol)
        yield Conversation(connection, protocol, synthesizer)
    assert not protocol.contexts.open or connection.close_code == 1000


def sound(messages: Iterable[dict[str, Any]]) -> bytes:
    """The sound in these messages."""
    return b"".join(base64.b64decode(message["audio"]) for message in messages if message.get("audio"))


def words(messages: Sequence[dict[str, Any]], *, is_absolute: bool = False) -> list[tuple[str, float]]:
    """Words and their beginnings in seconds, read as pipecat does: each alignment begins where the last one ended."""
    found, word, begin_s, clock_s = [], "", 0.0, 0.0
    for message in messages:
        alignment = message.get("alignment")
        if not alignment:
            continue
        assert message["normalizedAlignment"] == alignment
        starts, durations = alignment["charStartTimesMs"], alignment["charDurationsMs"]
        assert len(alignment["chars"]) == len(starts) == len(durations)
        assert starts == sorted(starts) and min(starts) >= 0 and min(durations) >= 0
        for char, start_ms in zip(alignment["chars"], starts, strict=True):
            if char == " ":
                found += [(word, begin_s)] if word else []
                word = ""
            else:
                begin_s = begin_s if word else clock_s + start_ms / 1000
                word += char
        clock_s += 0.0 if is_absolute else (starts[-1] + durations[-1]) / 1000
    return found + ([(word, begin_s)] if word else [])
