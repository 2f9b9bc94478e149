"""Open WebUI (0.12.4) reads a conversation aloud over our route: its requests, sent as its own source sends them.

It is not a few lines but a whole server, so that it is replayed here. `routers/audio/__init__.py` asks for models and
voices without a key. For each piece of a message it posts `input`, `voice` and `model`, waits for the whole answer, and
takes its `Content-Type` for true. The page cuts a message into pieces, and does not stop what it has asked for.
"""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from tests.clients.turns import PRIMING_S, TURNS, Turn, WatchedSynthesizer, check_turns, read_sound
from tests.server.speaking import configured, running

SUFFIXES = {
    "audio/mpeg": ".mp3",
    "audio/ogg; codecs=opus": ".ogg",
    "audio/wav": ".wav",
    "audio/flac": ".flac",
}


def pieces_of(message: str) -> list[str]:
    """Cut a message as the page does: into sentences, but none of less than four words or fifty characters."""
    pieces: list[str] = []
    for sentence in re.split(r"(?<=[.!?])\s+|\n+", message):
        if pieces and (len(pieces[-1].split()) < 4 or len(pieces[-1]) < 50):
            pieces[-1] += f" {sentence}"
        else:
            pieces.append(sentence)
    return pieces


class OpenWebUI:
    """What its administrator sets: the base address as it is typed, a key, and further fields of each request."""

    def __init__(self, session: aiohttp.ClientSession, base: str, key: str, params: dict[str, Any]) -> None:
        self._session = session
        self._base = base
        self._key = key
        self._params = params

    async def choices(self, kind: str) -> list[dict[str, Any]]:
        """Return the models or voices that are offered."""
        async with self._session.get(f"{self._base}/audio/{kind}") as answer:
            answer.raise_for_status()
            choices: list[dict[str, Any]] = (await answer.json())[kind]
            return choices

    async def speech(self, text: str) -> tuple[str, bytes]:
        """Return the type and the whole sound of a piece. Raises `RuntimeError` with what its user is shown."""
        payload = {"input": text, "voice": "alloy", "model": "tts-1", **self._params}
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
        async with self._session.post(f"{self._base}/audio/speech", json=payload, headers=headers) as answer:
            if answer.status >= 400:
                raise RuntimeError(f"External: {(await answer.json())['error']['message']}")
            return answer.headers["Content-Type"], await answer.read()

    async def read_aloud(self, turn: Turn) -> tuple[list[tuple[str, bytes]], float | None]:
        """Ask for all pieces of a message at once; if it is interrupted, only the first has been asked for."""
        pieces = pieces_of(turn.text)
        if turn.is_interrupted:
            return [await self.speech(pieces[0])], time.time()
        return await asyncio.gather(*map(self.speech, pieces)), None


@pytest.mark.parametrize("params", [{}, {"response_format": "opus"}, {"response_format": "wav", "speed": 1}])
@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_conversation_is_read_aloud(tmp_path: Path, params: dict[str, Any], slash: str) -> None:
    """Ten messages, behind a key, with and without a slash at the end of the address."""
    keys = tmp_path / "keys"
    keys.write_text("an-api-key-of-good-length\n")
    config = configured(server={"api_keys_file": keys})
    async with running(config, WatchedSynthesizer()) as server, aiohttp.ClientSession() as session:
        base = f"http://127.0.0.1:{server.server.port}/v1{slash}"
        web_ui = OpenWebUI(session, base, "an-api-key-of-good-length", params)
        assert {"id": "tts-1"} in await web_ui.choices("models")
        assert {"id": "tone", "name": "tone"} in await web_ui.choices("voices")
        told: list[dict[str, float | None]] = []
        for number, turn in enumerate(TURNS):
            heard, stopped_at = await web_ui.read_aloud(turn)
            told.append({"stopped_at": stopped_at})
            (tmp_path / f"{number}.pcm").write_bytes(b"".join(pcm_of(tmp_path, *piece) for piece in heard))
        await check_turns(server, {"turns": told}, tmp_path, key="an-api-key-of-good-length")


async def test_the_user_is_shown_the_reason() -> None:
    """A refusal has a message where Open WebUI looks for it."""
    async with running() as server, aiohttp.ClientSession() as session:
        base = f"http://127.0.0.1:{server.server.port}/v1"
        with pytest.raises(RuntimeError, match="External: no voice is named 'nobody'"):
            await OpenWebUI(session, base, "any", {"voice": "nobody"}).speech("Hello.")


def pcm_of(folder: Path, content_type: str, body: bytes) -> bytes:
    """Return the sound of a piece, without the encoder's silence, as 16-bit samples of 24 kHz."""
    file = folder / f"piece{SUFFIXES[content_type]}"
    file.write_bytes(body)
    sound = read_sound(file)[round(24_000 * PRIMING_S.get(file.suffix[1:], 0.0)) :]
    return (np.clip(sound, -1, 1) * 32_767).astype("<i2").tobytes()
