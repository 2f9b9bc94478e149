"""A small client for each protocol that the server speaks: text over an open connection, and the sound as it comes."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import httpx2
from websockets.asyncio.client import connect

Sound = AsyncGenerator[bytes, None]
"""The pieces of a text's sound, as they arrive."""
Speak = Callable[[str], Sound]
"""Speaks a text over an open connection."""
Client = Callable[[int, str], AbstractAsyncContextManager[Speak]]
"""Connects to a port of this machine, for one of its protocol's encodings."""
OPEN_TIMEOUT_S: Final = 60.0
"""How long a handshake may take on a machine that is busy."""
VOICE: Final = "one"
"""The only voice of `server_cost`'s synthesizer."""
NATIVE: Final = "native"
UNTOLD: Final = "untold"
"""Why a text is not spoken over a telephone's stream, which has no message for it."""


class RefusedError(Exception):
    """The server says that it does not speak a text, or not to its end. `code`: why, in the protocol's words."""

    def __init__(self, code: str, *, is_retry_told: bool = False) -> None:
        super().__init__(code)
        self.code = code
        self.is_retry_told = is_retry_told


def numbered() -> Callable[[], str]:
    """Return a function that returns another name at each call."""
    numbers = itertools.count(1)
    return lambda: f"text-{next(numbers)}"


@contextlib.asynccontextmanager
async def native(port: int, encoding: str) -> AsyncIterator[Speak]:
    name = numbered()
    async with websocket(port, f"/v1/stream?framing=bare&encoding={encoding}") as server:
        await server.recv()

        async def speak(text: str) -> Sound:
            await server.send(json.dumps({"type": "speak", "id": name(), "text": text}))
            async for received in server:
                if isinstance(received, bytes):
                    yield received
                elif (message := json.loads(received))["type"] in ("done", "error"):
                    error = message if message["type"] == "error" else message.get("error")
                    if error is not None:
                        raise RefusedError(error["code"], is_retry_told="retry_after_s" in error)
                    return

        yield speak


@contextlib.asynccontextmanager
async def native_http(port: int, encoding: str) -> AsyncIterator[Speak]:
    async with posting(port, "/v1/speech") as post:
        yield lambda text: post({"text": text, "encoding": encoding})


@contextlib.asynccontextmanager
async def openai(port: int, encoding: str) -> AsyncIterator[Speak]:
    async with posting(port, "/v1/audio/speech") as post:
        yield lambda text: post({"input": text, "model": "tts-1", "response_format": encoding})


@contextlib.asynccontextmanager
async def elevenlabs(port: int, encoding: str) -> AsyncIterator[Speak]:
    name = numbered()
    path = f"/v1/text-to-speech/{VOICE}/multi-stream-input?output_format={encoding}"
    async with websocket(port, path) as server:

        async def speak(text: str) -> Sound:
            context = {"context_id": name()}
            for message in ({"text": f"{text} "}, {"flush": True}, {"close_context": True}):
                await server.send(json.dumps(message | context))
            async for received in server:
                message = json.loads(received)
                if message.get("error"):
                    raise RefusedError(message["error"])
                if message.get("audio"):
                    yield base64.b64decode(message["audio"])
                if message.get("isFinal"):
                    return

        yield speak


@contextlib.asynccontextmanager
async def deepgram(port: int, encoding: str) -> AsyncIterator[Speak]:
    path = f"/v1/speak?model={VOICE}&encoding={encoding}&sample_rate=24000"
    async with websocket(port, path) as server:

        async def speak(text: str) -> Sound:
            await server.send(json.dumps({"type": "Speak", "text": text}))
            await server.send(json.dumps({"type": "Flush"}))
            async for received in server:
                if isinstance(received, bytes):
                    yield received
                elif (message := json.loads(received))["type"] == "Error":
                    raise RefusedError(message["code"])
                elif message["type"] == "Flushed":
                    return

        yield speak


@contextlib.asynccontextmanager
async def cartesia(port: int, encoding: str) -> AsyncIterator[Speak]:
    name = numbered()
    output_format = {"container": "raw", "encoding": encoding, "sample_rate": 24_000}
    async with websocket(port, "/tts/websocket?cartesia_version=2025-04-16") as server:

        async def speak(text: str) -> Sound:
            request = {
                "context_id": name(),
                "transcript": text,
                "voice": VOICE,
                "output_format": output_format,
            }
            await server.send(json.dumps(request))
            async for received in server:
                message = json.loads(received)
                if message["type"] == "chunk":
                    yield base64.b64decode(message["data"])
                elif message["type"] == "error":
                    raise RefusedError(f"{message['status_code']} {message['error'].partition(':')[0]}")
                elif message["done"]:
                    return

        yield speak


@contextlib.asynccontextmanager
async def realtime(port: int, _encoding: str) -> AsyncIterator[Speak]:
    async with websocket(port, "/v1/realtime?model=gpt-realtime") as server:

        async def speak(text: str) -> Sound:
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
            response = {"conversation": "none", "input": [item]}
            await server.send(json.dumps({"type": "response.create", "response": response}))
            async for received in server:
                message = json.loads(received)
                if message["type"] == "response.output_audio.delta":
                    yield base64.b64decode(message["delta"])
                elif message["type"] == "error":
                    raise RefusedError(message["error"]["code"])
                elif message["type"] == "response.done":
                    details = message["response"].get("status_details") or {}
                    if error := details.get("error"):
                        raise RefusedError(error["code"])
                    return

        yield speak


@contextlib.asynccontextmanager
async def text_buffer(port: int, _encoding: str) -> AsyncIterator[Speak]:
    async with websocket(port, f"/v1/audio/speech/websocket?voice={VOICE}") as server:

        async def speak(text: str) -> Sound:
            await server.send(json.dumps({"type": "input_text_buffer.append", "text": text}))
            await server.send(json.dumps({"type": "input_text_buffer.commit"}))
            async for received in server:
                message = json.loads(received)
                if message["type"] == "conversation.item.audio_output.delta":
                    yield base64.b64decode(message["delta"])
                elif message["type"] in ("conversation.item.tts.failed", "error"):
                    raise RefusedError(message["error"]["code"])
                elif message["type"] == "conversation.item.audio_output.done":
                    return

        yield speak


@contextlib.asynccontextmanager
async def telephony(port: int, _encoding: str) -> AsyncIterator[Speak]:
    async with websocket(port, "/v1/telephony") as server:
        start = {"streamSid": "MZ1", "callSid": "CA1", "mediaFormat": {"encoding": "audio/x-mulaw"}}
        await server.send(json.dumps({"event": "start", "streamSid": "MZ1", "start": start}))

        async def speak(text: str) -> Sound:
            await server.send(json.dumps({"event": "text", "text": text, "last": True}))
            is_silent = True
            async for received in server:
                message = json.loads(received)
                if message["event"] == "media":
                    is_silent = False
                    yield base64.b64decode(message["media"]["payload"])
                elif message["event"] == "mark":
                    await server.send(received)  # as a telephone reports that all was played
                    if is_silent:
                        raise RefusedError(UNTOLD)
                    return

        yield speak


@contextlib.asynccontextmanager
async def wyoming(port: int, _encoding: str) -> AsyncIterator[Speak]:
    """Connect to the port that Wyoming has for itself."""
    from wyoming.client import AsyncTcpClient
    from wyoming.event import Event

    async with AsyncTcpClient("127.0.0.1", port) as server:

        async def speak(text: str) -> Sound:
            await server.write_event(Event("synthesize", {"text": text}))
            while (event := await server.read_event()) is not None and event.type != "audio-stop":
                if event.type == "error":
                    raise RefusedError(event.data["code"])
                if event.payload:
                    yield event.payload

        yield speak


def websocket(port: int, path: str) -> connect:
    address = f"ws://127.0.0.1:{port}{path}"
    return connect(address, proxy=None, compression=None, max_queue=None, open_timeout=OPEN_TIMEOUT_S)


@contextlib.asynccontextmanager
async def posting(port: int, path: str) -> AsyncIterator[Callable[[dict[str, str]], Sound]]:
    """Keep a connection for requests; the function that this yields sends one."""
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
        await client.get(f"http://127.0.0.1:{port}/livez")

        async def post(body: dict[str, str]) -> Sound:
            async with client.stream("POST", f"http://127.0.0.1:{port}{path}", json=body) as answer:
                if answer.is_error:
                    error = json.loads(await answer.aread())["error"]
                    raise RefusedError(error["code"], is_retry_told="Retry-After" in answer.headers)
                async for piece in answer.aiter_raw():
                    yield piece

        yield post


CLIENTS: Final[dict[str, tuple[Client, dict[str, str]]]] = {
    NATIVE: (native, {"pcm": "pcm_s16le", "opus": "opus"}),
    "native, HTTP": (native_http, {"pcm": "pcm_s16le", "opus": "ogg_opus"}),
    "openai": (openai, {"pcm": "pcm", "opus": "opus"}),
    "elevenlabs": (elevenlabs, {"pcm": "pcm_24000", "opus": "opus_48000_32"}),
    "deepgram": (deepgram, {"pcm": "linear16"}),
    "cartesia": (cartesia, {"pcm": "pcm_s16le"}),
    "realtime": (realtime, {"pcm": "pcm"}),
    "text buffer": (text_buffer, {"pcm": "pcm"}),
}
"""Each protocol's client, and what it calls the encodings."""
OTHERS: Final[dict[str, Client]] = {"telephony": telephony, "wyoming": wyoming}
"""Clients of protocols that choose the encoding themselves. Wyoming has a port of its own."""
