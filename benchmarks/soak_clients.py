"""The clients of `soak.py`: some of each protocol that listen to what they ask for or leave early, and some that break
off wherever they are, send half of a request, or do not read the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.protocol_clients import CLIENTS, OTHERS, VOICE, Client, RefusedError, Speak
from benchmarks.soak_tally import HEARD, LEFT, NO_SOUND, TIMED_OUT, Tally, broken_off, failed, refused

WORDS: Final = (
    "the cat sat on a mat and looked at rain that fell over old ships from far away in green light".split()
)
LONGEST_TEXT_WORDS: Final = 30
LEAVES_EARLY: Final = 0.15
"""Part of the utterances whose listener leaves in the middle."""
UTTERANCE_TIMEOUT_S: Final = 120.0
SILENT_S: Final = 15.0
"""How long a client that does nothing waits for the server to end the connection."""
SMALL_BUFFER_BYTES: Final = 4096


@dataclass(frozen=True)
class Ports:
    """Where the server listens."""

    main: int
    wyoming: int

    def of(self, protocol: str) -> int:
        """Return the port of a protocol."""
        return self.wyoming if protocol == "wyoming" else self.main


def polite_clients() -> dict[str, list[tuple[Client, str]]]:
    """Return each protocol's client with each of its encodings."""
    clients = {
        name: [(client, name) for name in encodings.values()] for name, (client, encodings) in CLIENTS.items()
    }
    return clients | {name: [(client, "")] for name, client in OTHERS.items()}


def text(rng: random.Random) -> str:
    """Return a text of one to a few sentences."""
    words = [rng.choice(WORDS) for _ in range(rng.randint(1, LONGEST_TEXT_WORDS))]
    for index in range(7, len(words) - 1, 8):
        words[index] += "."
        words[index + 1] = words[index + 1].capitalize()
    return f"{' '.join(words).capitalize()}."


async def listen_politely(ports: Ports, tally: Tally, rng: random.Random, until_s: float) -> None:
    """Connect again and again by another protocol, and listen to a few texts each time."""
    clients = polite_clients()
    while time.monotonic() < until_s:
        protocol = rng.choice(list(clients))
        client, encoding = rng.choice(clients[protocol])
        is_listening = False
        try:
            async with asyncio.timeout(UTTERANCE_TIMEOUT_S), client(ports.of(protocol), encoding) as speak:
                for _ in range(rng.randint(1, 3)):
                    is_listening = True
                    is_over = not await _listen(speak, protocol, tally, rng)
                    is_listening = False
                    if is_over or time.monotonic() >= until_s:
                        break
        except Exception as error:
            if not is_listening:
                tally.note_unconnected(protocol, error)
            await asyncio.sleep(0.5)


async def _listen(speak: Speak, protocol: str, tally: Tally, rng: random.Random) -> bool:
    """Listen to one text; returns whether it was heard to its end, after which another may be said.

    Its outcome is noted, and what ended it otherwise is raised.
    """
    leaves_after = rng.randint(1, 20) if rng.random() < LEAVES_EARLY else None
    tally.num_asked += 1
    asked_s, num_pieces = time.monotonic(), 0
    outcome = TIMED_OUT
    try:
        async with contextlib.aclosing(speak(text(rng))) as pieces:
            async for _ in pieces:
                if num_pieces == 0:
                    tally.first_sounds.append((time.monotonic(), time.monotonic() - asked_s))
                num_pieces += 1
                if num_pieces == leaves_after:
                    outcome = LEFT
                    return False
        outcome = HEARD if num_pieces else NO_SOUND
        return outcome == HEARD
    except RefusedError as error:
        outcome = refused(error)
        raise
    except Exception as error:
        outcome = failed(error)
        raise
    finally:
        tally.note(protocol, outcome)


def raw_requests(words: str) -> dict[str, bytes]:
    """Return a request of each protocol for one utterance, as its bytes."""
    start = {"streamSid": "MZ1", "callSid": "CA1", "mediaFormat": {"encoding": "audio/x-mulaw"}}
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": words}]}
    sound = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24_000}
    spoken = {"type": "speak", "id": "1", "text": words, "encoding": "pcm_s16le", "lead_ms": None}
    said = {"context_id": "1", "transcript": words, "voice": VOICE, "output_format": sound}
    context = {"context_id": "1"}
    appended = {"type": "input_text_buffer.append", "text": words}
    return {
        "native": _websocket("/v1/stream", spoken),
        "native, HTTP": _post("/v1/speech", {"text": words, "encoding": "wav"}),
        "openai": _post("/v1/audio/speech", {"input": words, "model": "tts-1", "response_format": "pcm"}),
        "elevenlabs": _websocket(
            f"/v1/text-to-speech/{VOICE}/multi-stream-input?output_format=pcm_24000",
            *(
                {"text": f"{words} ", **context},
                {"flush": True, **context},
                {"close_context": True, **context},
            ),
        ),
        "deepgram": _websocket(
            f"/v1/speak?model={VOICE}", {"type": "Speak", "text": words}, {"type": "Flush"}
        ),
        "cartesia": _websocket("/tts/websocket?cartesia_version=2025-04-16", said),
        "realtime": _websocket(
            "/v1/realtime?model=gpt-realtime",
            {"type": "response.create", "response": {"conversation": "none", "input": [item]}},
        ),
        "text buffer": _websocket(
            f"/v1/audio/speech/websocket?voice={VOICE}", appended, {"type": "input_text_buffer.commit"}
        ),
        "telephony": _websocket(
            "/v1/telephony",
            {"event": "start", "streamSid": "MZ1", "start": start},
            {"event": "text", "text": words, "last": True},
        ),
        "wyoming": json.dumps({"type": "synthesize", "data": {"text": words}}).encode() + b"\n",
    }


def _websocket(path: str, *messages: dict[str, object]) -> bytes:
    """Return a handshake (RFC 6455, section 4.1) and frames of text with a mask of zeros (section 5.2)."""
    handshake = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
    payloads = [json.dumps(message).encode() for message in messages]
    frames = [struct.pack("!BBH4x", 0x81, 0x80 | 126, len(payload)) + payload for payload in payloads]
    return handshake + b"".join(frames)


def _post(path: str, body: dict[str, object]) -> bytes:
    content = json.dumps(body).encode()
    fields = f"Host: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
    return f"POST {path} HTTP/1.1\r\n{fields}\r\n\r\n".encode() + content


class Line:
    """A plain socket to the server."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket()
        self._socket.setblocking(False)

    async def connect(self, port: int, receive_buffer_bytes: int | None = None) -> None:
        """Connect; with a small buffer the server soon notices that nothing is read."""
        if receive_buffer_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        await self._loop.sock_connect(self._socket, ("127.0.0.1", port))

    async def send(self, data: bytes) -> None:
        """Send it all."""
        await self._loop.sock_sendall(self._socket, data)

    async def read(self, timeout_s: float, num_bytes: int = 65_536) -> bytes:
        """Return what has come; nothing at the end of the connection, or when the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                return await self._loop.sock_recv(self._socket, num_bytes)
        return b""

    def close(self) -> None:
        """Close in order."""
        self._socket.close()

    def reset(self) -> None:
        """Cut the connection with a RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


async def reset_in_the_middle(line: Line, request: bytes, rng: random.Random) -> None:
    """Ask, read a little, and cut the connection."""
    await line.send(request)
    for _ in range(rng.randint(0, 5)):
        await line.read(2.0, 4096)
    line.reset()


async def send_half(line: Line, request: bytes, rng: random.Random) -> None:
    """Stop anywhere in the request, and leave."""
    await line.send(request[: rng.randrange(len(request))])
    await asyncio.sleep(rng.random() / 2)
    if rng.random() < 0.5:
        line.reset()


async def fall_silent(line: Line, request: bytes, rng: random.Random) -> None:
    """Stop anywhere in the request, and wait for the server to end the connection."""
    await line.send(request[: rng.randrange(len(request))])
    end_s = time.monotonic() + SILENT_S
    while await line.read(end_s - time.monotonic()):
        pass


async def read_nothing(line: Line, request: bytes, _rng: random.Random) -> None:
    """Ask, and take nothing of the answer for a while."""
    await line.send(request)
    await asyncio.sleep(SILENT_S)
    line.reset()


async def read_slowly(line: Line, request: bytes, rng: random.Random) -> None:
    """Ask, and take far less of the answer than comes."""
    await line.send(request)
    for _ in range(rng.randint(10, 100)):
        await line.read(1.0, 256)
        await asyncio.sleep(0.05)
    line.reset()


MISDEEDS: Final[tuple[Callable[[Line, bytes, random.Random], Awaitable[None]], ...]] = (
    reset_in_the_middle,
    send_half,
    fall_silent,
    read_nothing,
    read_slowly,
)


async def misbehave(ports: Ports, tally: Tally, rng: random.Random, until_s: float) -> None:
    """Do one wrong thing after another, by any of the protocols."""
    while time.monotonic() < until_s:
        do = rng.choice(MISDEEDS)
        protocol, request = rng.choice(list(raw_requests(text(rng)).items()))
        line, is_asked, is_cut = Line(), False, False
        try:
            await line.connect(ports.of(protocol), SMALL_BUFFER_BYTES if do is read_nothing else None)
            is_asked = True
            await do(line, request, rng)
        except OSError as error:
            is_cut = True
            if not is_asked:
                tally.note_unconnected(protocol, error)
        finally:
            line.close()
        if is_asked:
            tally.num_asked += 1
            tally.note(protocol, broken_off(do.__name__.replace("_", " "), is_cut=is_cut))
        await asyncio.sleep(rng.random() / 5)
