"""Untouched clients of ElevenLabs' API: ten turns, of which three are interrupted, and nothing is lost or left."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.asyncio.client import connect

from streamer.assembly import build_synthesizer
from streamer.config import EngineConfig
from tests.clients.driving import drive, until_idle
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import Running, configured, eventually, running, serving

pytestmark = pytest.mark.clients

FRAME_S = 0.02
TEXTS = (
    "Hello there, how are you?",
    "I am fine. Thank you for asking! And you?",
    "It costs 5.5 dollars, and not a cent more.",
    "One.",
    "Let me see. The weather in Paris is mild today, with some clouds. You will need no coat.",
    "Well, that is all there is to say about it.",
    'He said: "Go home." So I went.',
    "The train leaves at 8 o'clock. Do not miss it!",
    "Really, yes.",
    "Goodbye, and thank you.",
)
WHILE_WRITING, WHILE_SPEAKING = (4,), (1, 7)
INTERRUPTED = WHILE_WRITING + WHILE_SPEAKING
VOICE = "v2/en_speaker_6"


def pieces_of(text: str) -> list[str]:
    """The text as a language model writes it."""
    words = text.split(" ")
    return [words[0], *(f" {word}" for word in words[1:])]


def speaking_server(speed: float = 10.0) -> Any:
    """A server whose voice is faster than speech, as a good one is, and slow enough to be interrupted."""
    synthesizer = FakeSynthesizer(speed=speed, ms_per_char=50.0, voices=(VOICE, "tone"))
    return running(configured(), synthesizer)


async def expected_s(server: Running, text: str) -> float:
    """How long a text is, by our own protocol."""
    num_bytes = 0
    async with connect(
        f"{server.address}?encoding=pcm_s16le&framing=bare&lead_ms=null", proxy=None
    ) as websocket:
        await websocket.send(json.dumps({"type": "speak", "id": "a", "text": text}))
        async for message in websocket:
            if isinstance(message, bytes):
                num_bytes += len(message)
            elif json.loads(message)["type"] == "done":
                return num_bytes / 48_000
    raise AssertionError("no done")


def assert_lengths(found: list[float], expected: list[float], tolerance_s: float = 2 * FRAME_S) -> None:
    """Each turn is as long as its text, and one that was interrupted is shorter, but not silent."""
    for number, (length_s, expected_length_s) in enumerate(zip(found, expected, strict=True)):
        if number in INTERRUPTED:
            assert 0 < length_s <= expected_length_s + tolerance_s, number
        else:
            assert length_s == pytest.approx(expected_length_s, abs=tolerance_s), number


async def test_the_sdk_speaks_every_turn() -> None:
    """Live text over its WebSocket, HTTP in a stream and in one piece, timestamps, and all lists."""
    async with speaking_server() as server:
        expected = [await expected_s(server, text) for text in TEXTS]
        report = await drive(
            "elevenlabs", "elevenlabs", server.server, voice=VOICE, turns=TEXTS, interrupted=INTERRUPTED
        )
        await until_idle(server)
        await eventually(lambda: not server.server.num_sessions)
    for way in ("realtime", "stream"):
        assert_lengths([turn[way] / 48_000 for turn in report["turns"]], expected)
    for turn, text, length_s in zip(report["turns"], TEXTS, expected, strict=True):
        assert turn["convert"] / 48_000 == pytest.approx(length_s, abs=2 * FRAME_S)
        assert turn["characters"].split() == text.split()
    assert report["voices"] == report["found"] == [VOICE, "tone"] and report["voice"] == VOICE
    assert report["models"] == ["fake"] and report["status"] == "active" and report["tier"]


async def test_pipecat_speaks_every_turn() -> None:
    """Sentences of a language model, interrupted while it writes and while it is heard, on one connection."""
    async with speaking_server() as server:
        expected = [await expected_s(server, text) for text in TEXTS]
        report = await drive(
            "pipecat_elevenlabs",
            "pipecat",
            server.server,
            voice=VOICE,
            turns=[pieces_of(text) for text in TEXTS],
            while_writing=WHILE_WRITING,
            while_speaking=WHILE_SPEAKING,
        )
        await until_idle(server)
        await eventually(lambda: not server.server.num_sessions)
    assert report["errors"] == []
    turns = report["turns"]
    assert_lengths([turn["samples"] / 24_000 for turn in turns], expected)
    for number, (turn, text) in enumerate(zip(turns, TEXTS, strict=True)):
        heard = " ".join(turn["words"]).split()
        assert turn["times_ms"] == sorted(turn["times_ms"]), number
        if number not in INTERRUPTED:
            assert heard == text.split() and turn["stopped"], number
            assert turn["times_ms"][-1] / 1000 < expected[number], number
        else:
            assert heard == text.split()[: len(heard)], number


@pytest.mark.parametrize(
    ("encoding", "tolerance_s"), [("pcm_24000", 2 * FRAME_S), ("opus_48000_32", 2 * FRAME_S), (None, 0.08)]
)
async def test_livekit_speaks_every_turn(encoding: str | None, tolerance_s: float) -> None:
    """In PCM, in Opus, and in the MP3 that it asks for by itself, whose frames are longer; words by its own clock."""
    async with speaking_server() as server:
        expected = [await expected_s(server, text) for text in TEXTS]
        report = await drive(
            "livekit_elevenlabs",
            "livekit",
            server.server,
            voice=VOICE,
            encoding=encoding,
            turns=[pieces_of(text) for text in TEXTS],
            while_writing=WHILE_WRITING,
            while_speaking=WHILE_SPEAKING,
        )
        await until_idle(server)
        await eventually(lambda: not server.server.num_sessions)
    turns = report["turns"]
    assert_lengths([turn["length_s"] for turn in turns], expected, tolerance_s)
    for number, (turn, text) in enumerate(zip(turns, TEXTS, strict=True)):
        starts = [word["start"] for word in turn["words"]]
        assert starts == sorted(starts), number
        if number not in INTERRUPTED:
            assert "".join(word["text"] for word in turn["words"]).split() == text.split(), number
            assert expected[number] / 3 < starts[-1] < expected[number] or len(text) < 20, number
    assert report["synthesized"] == pytest.approx(expected[0], abs=max(tolerance_s, 0.08))
    assert report["voices"] == [VOICE, "tone"]


@pytest.mark.slow
async def test_pipecat_speaks_with_the_builtin_voice() -> None:
    """One turn of a real model, whose first sound may take longer on a busy machine than pipecat waits by itself."""
    synthesizer = build_synthesizer(EngineConfig())
    text = "Hello there, this is the built-in voice."
    async with serving(synthesizer) as server:
        report = await drive(
            "pipecat_elevenlabs",
            "pipecat",
            server,
            voice=synthesizer.info.default_voice,
            turns=[pieces_of(text)],
            while_writing=[],
            while_speaking=[],
            timeout_s=60,
        )
    (turn,) = report["turns"]
    assert report["errors"] == [] and turn["stopped"] and turn["words"] == text.split()
    assert 1.0 < turn["samples"] / 24_000 < 10.0
