"""Where the tools' speech comes from: a running server, or a model in this process; `tools` asks either alike."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import numpy as np
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedOK, InvalidStatus, WebSocketException

from streamer.api import SpeechOptions, speech_events, start
from streamer.audio.packets import Packet
from streamer.audio.pcm import to_int16
from streamer.config import EngineConfig
from streamer.errors import EngineError, InvalidParameterError, OverloadedError, StreamerError
from streamer.sampling import draw_seed
from streamer.speech.events import SpeechEnded, SpeechWarning
from streamer.text.reading import TextOptions
from streamer.voices.presets import language_of

logger = logging.getLogger(__name__)
SAMPLE_RATE_HZ: Final = 24_000
OPEN_TIMEOUT_S: Final = 10.0
"""How long a server may take to accept a connection."""
SILENCE_TIMEOUT_S: Final = 60.0
"""How long a server may say nothing while it speaks."""
_QUERY: Final = "encoding=pcm_s16le&sample_rate=24000&framing=bare&lead_ms=null"


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be spoken. None: the voice is the default one, and the seed is drawn."""

    text: str
    voice: str | None = None
    speed: float = 1.0
    seed: int | None = None


@dataclass(slots=True)
class Report:
    """What is known of a speech once all of its sound has come."""

    seed: int = 0
    is_truncated: bool = False
    warnings: list[str] = field(default_factory=list)


class Speech(Protocol):
    """Speaks texts. Several may be spoken at a time."""

    async def warm_up(self) -> None:
        """Load what the first text would wait for. Raises `StreamerError`."""
        ...

    async def voices(self) -> Sequence[dict[str, Any]]:
        """Return the voices: `name`, `language` (or None) and `default`. Raises `StreamerError`."""
        ...

    def speak(self, request: Request, report: Report) -> AsyncGenerator[bytes, None]:
        """Yield 16-bit samples at `SAMPLE_RATE_HZ` as they are made, and fill in the report.

        Closing it cancels the speech. Raises `StreamerError`.
        """
        ...


class LocalSpeech:
    """A model in this process."""

    def __init__(self, engine: EngineConfig, reading: TextOptions) -> None:
        self._engine = replace(engine, max_load=None)
        self._reading = reading

    async def warm_up(self) -> None:
        await start(self._engine)

    async def voices(self) -> list[dict[str, Any]]:
        info = (await start(self._engine)).info
        return [
            {
                "name": name,
                "language": language_of(name, info.languages),
                "default": name == info.default_voice,
            }
            for name in info.voices
        ]

    async def speak(self, request: Request, report: Report) -> AsyncGenerator[bytes, None]:
        report.seed = draw_seed() if request.seed is None else request.seed
        options = SpeechOptions(request.voice, report.seed, reading=self._reading, speed=request.speed)
        async with contextlib.aclosing(speech_events(self._engine, request.text, options)) as events:
            async for event in events:
                if isinstance(event, Packet):
                    yield to_int16(np.frombuffer(event.payload, "<f4")).tobytes()
                elif isinstance(event, SpeechWarning):
                    report.warnings.append(event.message)
                elif isinstance(event, SpeechEnded):
                    report.is_truncated = event.truncated


class RemoteSpeech:
    """A running server, spoken to by the native protocol over a connection for each text."""

    def __init__(self, url: str, key: str | None = None) -> None:
        """`url`: where the server's page is. Raises `InvalidParameterError` for what is no such address."""
        address = urlsplit(url)
        scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(address.scheme)
        if scheme is None or not address.hostname or address.query or address.username:
            raise InvalidParameterError(f"--url {url!r} is not an address such as http://localhost:8765")
        self._url = f"{scheme}://{address.netloc}{address.path.rstrip('/')}"
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def warm_up(self) -> None:
        """Do nothing: the server may be started later."""

    async def voices(self) -> list[dict[str, Any]]:
        import httpx2

        url = f"http{self._url.removeprefix('ws')}/v1/voices"
        try:
            async with httpx2.AsyncClient(headers=self._headers, timeout=OPEN_TIMEOUT_S) as client:
                answer = await client.get(url)
                answer.raise_for_status()
                return [
                    {name: voice[name] for name in ("name", "language", "default")}
                    for voice in answer.json()["voices"]
                ]
        except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
            raise OverloadedError(f"{url} did not tell its voices: {error}") from None

    async def speak(self, request: Request, report: Report) -> AsyncGenerator[bytes, None]:
        try:
            async with connect(
                f"{self._url}/v1/stream?{_QUERY}",
                additional_headers=self._headers,
                open_timeout=OPEN_TIMEOUT_S,
            ) as connection:
                async with asyncio.timeout(SILENCE_TIMEOUT_S):
                    session = json.loads(await connection.recv())
                for message in _messages(request, session["limits"]["max_text_chars"]):
                    await connection.send(json.dumps(message))
                while True:
                    async with asyncio.timeout(SILENCE_TIMEOUT_S):
                        item = await connection.recv()
                    if isinstance(item, bytes):
                        yield item
                    elif _is_done(json.loads(item), report):
                        return
        except InvalidStatus as error:
            raise OverloadedError(_refusal(error)) from None
        except ConnectionClosedOK:
            raise EngineError(f"{self._url} ended the session before the speech") from None
        except TimeoutError:
            raise OverloadedError(f"{self._url} has said nothing for too long") from None
        except (WebSocketException, OSError) as error:
            raise OverloadedError(f"{self._url} cannot be reached: {error}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise EngineError(f"what {self._url} says is not this server's protocol") from None


def _messages(request: Request, max_text_chars: int) -> list[dict[str, Any]]:
    """Return what is sent for one utterance; the text goes in pieces, as the server takes them."""
    opening: dict[str, Any] = {"type": "start", "id": "mcp", "speed": request.speed}
    if request.voice is not None:
        opening["voice"] = request.voice
    if request.seed is not None:
        opening["params"] = {"seed": request.seed}
    pieces = (
        request.text[place : place + max_text_chars] for place in range(0, len(request.text), max_text_chars)
    )
    texts = [{"type": "text", "id": "mcp", "text": piece} for piece in pieces]
    return [opening, *texts, {"type": "end", "id": "mcp"}]


def _is_done(message: dict[str, Any], report: Report) -> bool:
    """Note what a message says of the speech; raises `StreamerError` if there will be none."""
    match message["type"]:
        case "warning":
            report.warnings.append(message["message"])
        case "error":
            raise _failure(message)
        case "done":
            report.seed = message["seed"]
            report.is_truncated = message["reason"] == "truncated"
            if message["reason"] in ("failed", "cancelled"):
                raise _failure(message.get("error", {"message": "the server cancelled the speech"}))
            return True
    return False


def _failure(error: dict[str, Any]) -> StreamerError:
    return InvalidParameterError(error["message"], param=error.get("param"))


def _refusal(error: InvalidStatus) -> str:
    """Say why a server did not let us in, in its own words."""
    response = error.response
    try:
        message = json.loads(response.body or b"")["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = response.reason_phrase
    return f"the server answers {response.status_code}: {message}"
