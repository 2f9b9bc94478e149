"""What the person asks: typed lines, audio files that a line names, or a microphone."""

from __future__ import annotations

import asyncio
import io
import shlex
import sys
import threading
import wave
from array import array
from asyncio.subprocess import PIPE
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

AUDIO_SUFFIXES = (".wav", ".ogg", ".opus", ".mp3", ".flac", ".m4a")
SAMPLE_RATE_HZ = 16_000
BLOCK_MS = 20
BLOCK_BYTES = SAMPLE_RATE_HZ * BLOCK_MS // 1000 * 2
ONSET_BLOCKS, END_BLOCKS, MAX_BLOCKS = 5, 35, 1500
"""How many loud blocks in a row begin a question, how many quiet ones end it, and how many it has at most."""
MIN_LOUD = 300.0
"""The least root mean square of a loud block, of 32,768; the noise of the room may raise it."""

Question = str | bytes | None
"""A typed line, the sound of what was said (WAV), or None: the person has begun to speak."""


async def typed() -> AsyncIterator[Question]:
    """Yield the lines of standard input. The thread is a daemon, so that waiting for a line keeps nothing alive."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line.strip())
        loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    while (line := await lines.get()) is not None:
        if line:
            yield line


async def spoken(command: str) -> AsyncIterator[Question]:
    """Yield what is said into a microphone, which `command` writes to its standard output as raw 16-bit samples."""
    process = await asyncio.create_subprocess_exec(*shlex.split(command), stdout=PIPE)
    assert process.stdout is not None
    ear = Ear()
    try:
        while block := await read_block(process.stdout):
            for question in ear.hear(block):
                yield question
        if sound := ear.end():
            yield sound
    except BaseException:
        process.kill()
        raise
    finally:
        await process.wait()


async def read_block(stream: asyncio.StreamReader) -> bytes:
    """Return the next block, b"" at the end."""
    try:
        return await stream.readexactly(BLOCK_BYTES)
    except asyncio.IncompleteReadError:
        return b""


class Ear:
    """Finds speech by its loudness: enough for a quiet room; a voice activity detector such as Silero does better."""

    def __init__(self) -> None:
        self._before: deque[bytes] = deque(
            maxlen=ONSET_BLOCKS + 10
        )  # what led to the onset belongs to the question
        self._said: list[bytes] = []
        self._run = 0  # blocks in a row that speak for a change
        self._noise = 0.0

    def hear(self, block: bytes) -> list[Question]:
        """Take a block; return what it begins or ends."""
        level = rms(block)
        is_loud = level > max(MIN_LOUD, 3 * self._noise)
        if not is_loud:
            self._noise += 0.05 * (level - self._noise)
        if not self._said:
            self._before.append(block)
            self._run = self._run + 1 if is_loud else 0
            if self._run < ONSET_BLOCKS:
                return []
            self._said, self._run = [*self._before], 0
            return [None]
        self._said.append(block)
        self._run = 0 if is_loud else self._run + 1
        has_ended = self._run >= END_BLOCKS or len(self._said) >= MAX_BLOCKS
        return [self.end()] if has_ended else []

    def end(self) -> bytes:
        """Return what was said since the onset as a WAV, b"" for nothing."""
        said, self._said, self._run = b"".join(self._said), [], 0
        self._before.clear()
        return wav(said) if said else b""


def rms(block: bytes) -> float:
    samples = array("h", block)
    return (sum(sample * sample for sample in samples) / len(samples)) ** 0.5


def wav(samples: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", "not compressed"))
        writer.writeframes(samples)
    return file.getvalue()


async def understand(question: str | bytes, whisper: str) -> str:
    """Return the question as text; `whisper` names faster-whisper's model, or is its folder."""
    if isinstance(question, str) and not question.lower().endswith(AUDIO_SUFFIXES):
        return question
    sound: BinaryIO | str = io.BytesIO(question) if isinstance(question, bytes) else str(Path(question))
    text = await asyncio.to_thread(transcribe, sound, whisper)
    print(f"(understood: {text})", flush=True)
    return text


def transcribe(sound: BinaryIO | str, whisper: str) -> str:
    try:
        from faster_whisper import WhisperModel
    except ImportError:
        raise RuntimeError("listening needs faster-whisper: pip install faster-whisper") from None
    segments, _ = WhisperModel(whisper, device="cpu", compute_type="int8").transcribe(sound)
    return " ".join(segment.text.strip() for segment in segments)
