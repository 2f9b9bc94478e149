"""A voice assistant in a terminal: what you type is answered aloud, and typing again interrupts the answer.

    python voice_assistant.py                                          built-in rules answer into assistant.wav
    python voice_assistant.py --player "aplay -q -t raw -f S16_LE -r 24000"    answers are played
    python voice_assistant.py --llm-url http://localhost:8000/v1 --llm-model NAME    a language model answers

If a line names an audio file, its speech is the question (this needs `pip install faster-whisper`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import subprocess
import sys
import threading
import time
import urllib.request
import wave
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

SAMPLE_RATE_HZ = 24_000
BYTES_PER_MS = SAMPLE_RATE_HZ // 1000 * 2
AUDIO_SUFFIXES = (".wav", ".ogg", ".opus", ".mp3", ".flac", ".m4a")


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


Sink = Recording | Player


class Voice:
    """Speaks one answer at a time over a connection to streamer."""

    def __init__(self, server: ClientConnection, sink: Sink) -> None:
        self._server = server
        self._sink = sink
        self._num_answers = 0
        self._received_ms = 0.0
        self._begin_s = 0.0
        self.silent = asyncio.Event()
        self.silent.set()
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


async def from_rules(question: str) -> AsyncIterator[str]:
    """Yield the answer of an assistant of a few rules, which writes like a model: word by word."""
    asked = question.lower()
    if "time" in asked:
        answer = time.strftime("It is %H:%M.")
    elif "story" in asked:
        answer = (
            "Once upon a time there was a small voice in a large machine. Every morning it read the news to "
            "the fans, and every evening the fans sang for it. One day somebody interrupted."
        )
    elif asked.startswith(("hi", "hello")):
        answer = "Hello! Ask me for the time, or for a story."
    else:
        answer = f"You said: {question.strip()} I know the time and a story."
    for word in answer.split():
        yield word + " "
        await asyncio.sleep(0.03)


async def from_model(url: str, model: str, history: list[dict[str, str]]) -> AsyncIterator[str]:
    """Yield the answer of an OpenAI-compatible server, in the pieces in which it arrives."""
    request = urllib.request.Request(
        url.rstrip("/") + "/chat/completions",
        json.dumps({"model": model, "messages": history, "stream": True}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY')}"},
    )

    def pieces() -> Iterable[str]:
        with urllib.request.urlopen(request, timeout=60) as response:
            for line in response:
                if line.startswith(b"data: {"):
                    choices = json.loads(line[6:])["choices"]
                    yield (choices[0]["delta"].get("content") or "") if choices else ""

    async for piece in on_thread(pieces):
        yield piece


async def on_thread(produce: Callable[[], Iterable[str]]) -> AsyncIterator[str]:
    """Yield what a blocking iterator yields, without blocking; if closed early, its thread ends at the next piece."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[str | Exception | None] = asyncio.Queue()
    is_wanted = True

    def run() -> None:
        end: Exception | None = None
        try:
            for piece in produce():
                if not is_wanted:
                    return
                loop.call_soon_threadsafe(arrived.put_nowait, piece)
        except Exception as error:
            end = error
        if is_wanted:
            loop.call_soon_threadsafe(arrived.put_nowait, end)

    # A daemon: neither a terminal that waits for a line nor a slow model must keep the program alive.
    threading.Thread(target=run, daemon=True).start()
    try:
        while (piece := await arrived.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece
    finally:
        is_wanted = False


def transcribe(path: Path, model_name: str) -> str:
    """Return what is said in an audio file."""
    try:
        from faster_whisper import WhisperModel
    except ImportError:
        raise RuntimeError("listening needs faster-whisper: pip install faster-whisper") from None
    segments, _ = WhisperModel(model_name, device="cpu", compute_type="int8").transcribe(str(path))
    return " ".join(segment.text.strip() for segment in segments)


async def understand(line: str, whisper: str) -> str:
    """Return the question: the line itself, or the speech in the audio file that it names."""
    if line.lower().endswith(AUDIO_SUFFIXES):
        line = await asyncio.to_thread(transcribe, Path(line), whisper)
        print(f"(understood: {line})", flush=True)
    return line


async def answer(
    voice: Voice, line: str, history: list[dict[str, str]], arguments: argparse.Namespace
) -> None:
    """Answer one line; an error ends this answer only."""
    said = ""
    utterance: str | None = None
    try:
        history.append({"role": "user", "content": await understand(line, arguments.whisper)})
        utterance = await voice.begin()
        if arguments.llm_url:
            pieces = from_model(arguments.llm_url, arguments.llm_model, history)
        else:
            pieces = from_rules(history[-1]["content"])
        async for piece in pieces:
            said += piece
            print(piece, end="", flush=True)
            await voice.say("text", id=utterance, text=piece)
        print(flush=True)
    except (OSError, RuntimeError, LookupError, ValueError) as error:
        print(f"(no answer: {error})", file=sys.stderr, flush=True)
    if utterance is not None:
        await voice.say("end", id=utterance)
        await voice.silent.wait()
        history.append({"role": "assistant", "content": said})


async def converse(lines: AsyncIterator[str], arguments: argparse.Namespace, sink: Sink) -> None:
    history = [{"role": "system", "content": "You answer aloud: briefly, in plain sentences."}]
    # Little is sent ahead (lead_ms): an interruption discards all that was sent and not yet heard.
    async with (
        connect(arguments.url + "?framing=bare&encoding=pcm_s16le&lead_ms=500") as server,
        asyncio.TaskGroup() as tasks,
    ):
        voice = Voice(server, sink)
        listening = tasks.create_task(voice.listen())
        answering: asyncio.Task[None] | None = None
        async for line in lines:
            if not line.strip():
                continue
            # Silence comes first: a voice that keeps talking while it is spoken to is rude.
            if answering is not None:
                answering.cancel()
            heard = await voice.hush()
            if heard is not None:
                print(f"\n(interrupted after: {heard})", flush=True)
                history.append({"role": "assistant", "content": heard + " … (interrupted)"})
            answering = tasks.create_task(answer(voice, line.strip(), history, arguments))
        if answering is not None:
            await answering
        listening.cancel()


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--url", default="ws://localhost:8765/v1/stream")
    parser.add_argument("--out", type=Path, default=Path("assistant.wav"), help="where answers are recorded")
    parser.add_argument("--player", help="command that plays raw 16-bit samples instead (24 kHz, mono)")
    parser.add_argument("--llm-url", help="an OpenAI-compatible server, up to /v1; key: OPENAI_API_KEY")
    parser.add_argument("--llm-model", default="default", help="the model's name there")
    parser.add_argument("--whisper", default="base.en", help="faster-whisper's model, for audio files")
    arguments = parser.parse_args()
    sink = Player(arguments.player) if arguments.player else Recording(arguments.out)
    try:
        asyncio.run(converse(on_thread(lambda: sys.stdin), arguments, sink))
    except (OSError, RuntimeError, WebSocketException, ExceptionGroup) as error:
        cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
        sys.exit(f"voice_assistant: {cause}")
    finally:
        sink.close()


if __name__ == "__main__":
    main()
