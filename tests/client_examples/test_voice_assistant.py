"""Contracts of `client_examples/voice_assistant.py`."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.client_examples.example_runs import assert_spoken, line_with, read_sound, run, started, url
from tests.server.speaking import running


async def test_a_question_is_answered_aloud(tmp_path: Path) -> None:
    """The answer of the rules is printed and, as sound, in the file."""
    path = tmp_path / "a.wav"
    async with running() as server:
        status, output, errors = await run("voice_assistant.py", "--out", path, *url(server), stdin="hello\n")
    assert (status, errors) == (0, "")
    assert_spoken(read_sound(path), output.strip(), pauses_s=1.0)


async def test_a_new_question_interrupts_the_answer(tmp_path: Path) -> None:
    """On a barge-in the story stops, the heard part of it is known, and the next question is answered."""
    path = tmp_path / "a.wav"
    async with running() as server, started("voice_assistant.py", "--out", path, *url(server)) as process:
        assert process.stdin is not None
        process.stdin.write(b"tell me a story\n")
        await line_with(process, "Once upon a time")
        await asyncio.sleep(0.3)
        process.stdin.write(b"hello\n")
        told = await line_with(process, "interrupted after")
        process.stdin.close()
        await line_with(process, "Hello!")
        async with asyncio.timeout(10):
            assert await process.wait() == 0
    assert "somebody interrupted." not in told
    sound = read_sound(path)
    assert 0.8 < len(sound) / 24_000 < 6
    assert np.abs(sound).max() > 0.1


async def test_a_player_gets_the_samples(tmp_path: Path) -> None:
    """The command that `--player` names gets 16-bit samples."""
    path = tmp_path / "played.raw"
    async with running() as server:
        player = f"sh -c 'cat > {path}'"
        status, _, errors = await run(
            "voice_assistant.py", "--player", player, *url(server), stdin="what time is it?\n"
        )
    assert (status, errors) == (0, "")
    sound = np.frombuffer(path.read_bytes(), "<i2") / 32_768
    assert_spoken(sound, "It is 12:00.", pauses_s=0.5)


@contextlib.asynccontextmanager
async def language_model(pieces: list[str]) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """Run a server that answers chat completions with a stream of these pieces; yield its address and the requests."""
    asked: list[dict[str, Any]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].split()[0])
        asked.append(json.loads(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for piece in pieces:
            chunk = {"choices": [{"delta": {"content": piece}}]}
            writer.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
            await writer.drain()
        writer.write(b"data: [DONE]\n\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", asked


async def test_a_language_model_answers(tmp_path: Path) -> None:
    """The language model gets the question, and the pieces of its OpenAI-compatible stream are spoken."""
    path = tmp_path / "a.wav"
    async with running() as server, language_model(["A mod", "el wrote", " this."]) as (address, asked):
        status, output, errors = await run(
            "voice_assistant.py", "--out", path, "--llm-url", address, *url(server), stdin="who are you?\n"
        )
    assert (status, errors) == (0, "")
    assert output.strip() == "A model wrote this."
    assert asked[0]["messages"][-1] == {"role": "user", "content": "who are you?"}
    assert_spoken(read_sound(path), "A model wrote this.", pauses_s=0.5)


async def test_a_model_that_is_away_is_told(tmp_path: Path) -> None:
    """If the language model cannot be reached, the assistant says so and continues to the end."""
    nobody = ["--llm-url", "http://127.0.0.1:9/v1"]
    async with running() as server:
        status, _, errors = await run(
            "voice_assistant.py", "--out", tmp_path / "a.wav", *nobody, *url(server), stdin="hello\n"
        )
    assert status == 0
    assert "no answer" in errors and "Traceback" not in errors


async def test_an_audio_file_is_listened_to(tmp_path: Path) -> None:
    """A file named by a line is transcribed by faster-whisper, here by a stand-in for it."""
    (tmp_path / "faster_whisper.py").write_text(
        "from types import SimpleNamespace\n"
        "class WhisperModel:\n"
        "    def __init__(self, *_, **__): pass\n"
        "    def transcribe(self, path): return [SimpleNamespace(text=' hello')], None\n"
    )
    (tmp_path / "question.wav").write_bytes(b"")
    path = tmp_path / "a.wav"
    environ = {"PYTHONPATH": str(tmp_path)}
    async with (
        running() as server,
        started("voice_assistant.py", "--out", path, *url(server), environ=environ) as process,
        asyncio.timeout(20),
    ):
        output, _ = await process.communicate(f"{tmp_path / 'question.wav'}\n".encode())
    assert b"(understood: hello)" in output and b"Hello!" in output


async def test_without_ears_it_says_what_is_missing(tmp_path: Path) -> None:
    """If faster-whisper is not installed, the answer to an audio file says how to get it."""
    (tmp_path / "faster_whisper.py").write_text("raise ImportError\n")
    (tmp_path / "question.wav").write_bytes(b"")
    path = tmp_path / "a.wav"
    environ = {"PYTHONPATH": str(tmp_path)}
    async with (
        running() as server,
        started("voice_assistant.py", "--out", path, *url(server), environ=environ) as process,
        asyncio.timeout(20),
    ):
        _, errors = await process.communicate(f"{tmp_path / 'question.wav'}\n".encode())
    assert b"pip install faster-whisper" in errors
