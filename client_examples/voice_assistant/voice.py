"""How the assistant speaks: one answer at a time over a connection to streamer, into a file or a player."""

from __future__ import annotations

import asyncio
import json
import shlex
import subprocess
import sys
import time
import wave
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection

SAMPLE_RATE_HZ = 24_000
BYTES_PER_MS = SAMPLE_RATE_HZ // 1000 * 2
QUERY = "?framing=bare&encoding=pcm_s16le&lead_ms=500"
"""Little is sent ahead (lead_ms), because an interruption discards what was sent and not yet heard."""


class Recording:
    """Writes a WAV file of what a listener would hear: an interrupted answer is cut at the interruption."""

    def __init__(self, path: Path) -> None:
        self._file = wave.open(str(path), "wb")  # noqa: SIM115  (open as long as the assistant lives)
        self._file.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", "not compressed"))
        self._answer = bytearray()

    def play(self, sound: bytes) -> None:
        self._answer += sound

    def stop(self, heard_ms: float | None) -> None:
        """End the answer; `heard_ms`: how much of it was heard, None for all."""
        end = len(self._answer) if heard_ms is None else int(heard_ms) * BYTES_PER_MS
        self._file.writeframes(bytes(self._answer[:end]))
        self._answer.clear()

    def close(self) -> None:
        self._file.close()


class Player:
    """Plays through a command that reads raw samples from its standard input; killing it silences it at once."""

    def __init__(self, command: str) -> None:
        self._command = shlex.split(command)
        self._process: subprocess.Popen[bytes] | None = None

    def play(self, sound: bytes) -> None:
        if self._process is None:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE)
        assert self._process.stdin is not None
        self._process.stdin.write(sound)
        self._process.stdin.flush()

    def stop(self, heard_ms: float | None) -> None:
        if heard_ms is not None and self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate()


class Voice:
    """Speaks one answer at a time."""

    def __init__(self, server: ClientConnection, sink: Recording | Player) -> None:
        self.silent = asyncio.Event()
        self.silent.set()
        self._server = server
        self._sink = sink
        self._num_answers = 0
        self._received_ms = 0.0
        self._begin_s = 0.0
        self._heard: str | None = None

    async def begin(self) -> str:
        """Open an utterance and return its id."""
        self._num_answers += 1
        self._received_ms = 0.0
        self.silent.clear()
        utterance = f"answer-{self._num_answers}"
        await self.say("start", id=utterance, interrupt=True)
        return utterance

    async def say(self, kind: str, **fields: Any) -> None:
        await self._server.send(json.dumps({"type": kind, **fields}))

    async def hush(self) -> str | None:
        """Fall silent now; return what was heard of the answer, or None if nothing was being said."""
        if self.silent.is_set():
            return None
        await self.say("cancel", played_ms=round(self._played_ms()))
        await self.silent.wait()
        return self._heard

    async def listen(self) -> None:
        """Forward the sound and keep account of it until the connection closes."""
        async for received in self._server:
            if isinstance(received, bytes):
                self._begin_s = self._begin_s if self._received_ms else time.monotonic()
                self._received_ms += len(received) / BYTES_PER_MS
                self._sink.play(received)
                continue
            message = json.loads(received)
            problem = message if message["type"] == "error" else message.get("error")
            if problem is not None:
                print(f"(streamer: {problem['message']})", file=sys.stderr, flush=True)
            is_refusal = message["type"] == "error" and message["scope"] == "utterance"
            if message["type"] == "done" or is_refusal:
                was_cut = message.get("reason") == "cancelled"
                self._heard = message["heard"]["text"] if was_cut else None
                self._sink.stop(self._played_ms() if was_cut else None)
                self.silent.set()
        raise RuntimeError("streamer closed the connection")

    def _played_ms(self) -> float:
        """Return the position of playback that started with the first packet."""
        return min(1000 * (time.monotonic() - self._begin_s), self._received_ms)
