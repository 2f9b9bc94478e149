"""One utterance by each protocol, as clients of it speak it: for tests of what holds for all of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, Final, cast

from wyoming.tts import Synthesize

from streamer.config import Config
from streamer.server.app import Server
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.cartesia import client as cartesia_client
from tests.server.deepgram import client as deepgram_client
from tests.server.elevenlabs.conversing import PCM, sound
from tests.server.elevenlabs.test_endpoints import connected as elevenlabs_connected
from tests.server.elevenlabs.test_endpoints import conversation
from tests.server.realtime import speaking as realtime_client
from tests.server.speaking import Running, configured
from tests.server.telephony.phones import ringing, twilio_start
from tests.server.wyoming.speaking import client_of, pcm, until

TEXT: Final = "Hello there. How are you today?"
QUICK: Final[dict[str, Any]] = {"close_timeout": 0.2}
"""How long a client waits for the server's part of its own close: over a broken line it does not come."""


async def native(server: Running) -> bytes:
    async with server.client("?encoding=pcm_s16le", **QUICK) as client:
        await client.say("speak", id="a", text=TEXT)
        done = await client.until("done")
        assert done["reason"] in ("completed", "truncated")
        return b"".join(frame.payload for frame in client.frames())


async def native_http(server: Running) -> bytes:
    return await _posted(server, "/v1/speech", {"text": TEXT, "encoding": "pcm_s16le"})


async def openai(server: Running) -> bytes:
    fields = {"model": "tts-1", "voice": "tone", "input": TEXT, "response_format": "pcm"}
    return await _posted(server, "/v1/audio/speech", fields)


async def elevenlabs(server: Running) -> bytes:
    async with elevenlabs_connected(server, f"tone/stream-input?{PCM}", **QUICK) as connection:
        received = await conversation(connection, {"text": " "}, {"text": TEXT + " "}, {"text": ""})
        assert received[-1]["isFinal"]
        return sound(received)


async def cartesia(server: Running) -> bytes:
    async with cartesia_client.connected(server, **QUICK) as client:
        await client.say(TEXT)
        assert (await client.until("done", "error"))["type"] == "done"
        return client.sound()


async def deepgram(server: Running) -> bytes:
    async with deepgram_client.connected(server, **QUICK) as client:
        turn = await client.turn(TEXT)
        assert not client.messages("Error")
        return turn


async def realtime(server: Running) -> bytes:
    async with realtime_client.connected(server, realtime_client.TEXT_BUFFER, **QUICK) as client:
        await client.say("input_text_buffer.append", text=TEXT)
        await client.say("input_text_buffer.commit")
        await client.until("conversation.item.audio_output.done")
        return client.sound()


async def wyoming(server: Running) -> bytes:
    async with client_of(server) as client:
        await client.write_event(Synthesize(text=TEXT).event())
        events = await until(client, "audio-stop", "error")
        assert events and events[-1].type == "audio-stop"
        return pcm(events)


async def telephony(server: Running) -> bytes:
    async with ringing(server, **QUICK) as phone:
        await phone.say("start", **twilio_start(text=TEXT))
        await phone.until_mark("streamer-1")
        await phone.say("mark", streamSid="MZ1", mark={"name": "streamer-1"})
        await phone.connection.wait_closed()
        assert phone.connection.close_code == 1000
        return phone.sound


Converse = Callable[[Running], Awaitable[bytes]]
"""Has `TEXT` spoken by the server, and returns the sound; whatever prevents that is raised."""
CONVERSATIONS: Final[tuple[Converse, ...]] = (
    native,
    native_http,
    openai,
    elevenlabs,
    cartesia,
    deepgram,
    realtime,
    wyoming,
    telephony,
)


def for_all(**limits: Any) -> Config:
    """A configuration with which each protocol is spoken."""
    return configured(server={"wyoming_port": 0}, **limits)


def port_of(server: Running, converse: Converse) -> int:
    """The port at which a conversation's protocol is spoken."""
    return server.server.tcp_ports[0] if converse is wyoming else server.server.port


def at(port: int) -> Running:
    """What a conversation is given to connect to another port than the server's own."""
    return Running(cast(Server, SimpleNamespace(port=port, tcp_ports=[port])), FakeSynthesizer(), [])


async def told(converse: Converse, server: Running, timeout_s: float = 5.0) -> bytes | Exception:
    """Return the sound, or what prevented it."""
    try:
        async with asyncio.timeout(timeout_s):
            return await converse(server)
    except Exception as error:
        return error


async def _posted(server: Running, path: str, fields: dict[str, object]) -> bytes:
    body = json.dumps(fields).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n"
    status, _, sound = await server.http(head.encode() + body)
    assert status == 200
    return sound
