"""Clients of OpenAI's speech API, untouched and of their newest versions, hold a conversation over our route."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.driving import drive
from tests.clients.turns import WatchedSynthesizer, check_turns, orders
from tests.clients.venvs import NODE
from tests.server.speaking import running

pytestmark = pytest.mark.clients
FORMATS = ("pcm", "wav", "flac", "mp3", "opus", "aac", "aac")
"""What the turns are asked for in; turns that are not interrupted have each of the six."""
MODEL = "gpt-4o-mini-tts"


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("formats", [("pcm",), FORMATS], ids=["pcm", "formats"])
async def test_the_library_for_python(tmp_path: Path, is_async: bool, formats: tuple[str, ...]) -> None:
    """`openai`, both of its clients, with PCM in each turn and with all six formats in turn."""
    async with running(synthesizer=WatchedSynthesizer()) as server:
        more = {"folder": str(tmp_path), "formats": formats, "is_async": is_async, "model": MODEL}
        report = await drive("openai_sdk", "openai", server.server, **orders(**more))
        await check_turns(server, report, tmp_path, formats)
        assert server.synthesizer.num_cancelled, "no interruption came in time"


@pytest.mark.parametrize("formats", [("pcm",), FORMATS], ids=["pcm", "formats"])
async def test_the_library_for_node(tmp_path: Path, formats: tuple[str, ...]) -> None:
    """`openai` of npm."""
    async with running(synthesizer=WatchedSynthesizer()) as server:
        more = {"folder": str(tmp_path), "formats": formats, "model": MODEL}
        report = await drive("openai_node", NODE, server.server, **orders(**more))
        await check_turns(server, report, tmp_path, formats)
        assert server.synthesizer.num_cancelled, "no interruption came in time"


async def test_pipecat(tmp_path: Path) -> None:
    """`OpenAITTSService`, which asks for each sentence as soon as the language model has written it."""
    async with running(synthesizer=WatchedSynthesizer()) as server:
        more = {"folder": str(tmp_path), "model": MODEL}
        report = await drive("pipecat_openai", "pipecat", server.server, **orders(**more))
        assert report["errors"] == []
        await check_turns(server, report, tmp_path)
        assert server.synthesizer.num_cancelled, "no interruption came in time"


@pytest.mark.parametrize(
    ("model", "response_format"), [(MODEL, "pcm"), (MODEL, None), ("tts-1", "pcm"), ("tts-1", None)]
)
async def test_livekit(tmp_path: Path, model: str, response_format: str | None) -> None:
    """`livekit-plugins-openai` with PCM and with its default, MP3; `tts-1` gets a body, other models events."""
    async with running(synthesizer=WatchedSynthesizer()) as server:
        more = {"folder": str(tmp_path), "model": model, "response_format": response_format}
        report = await drive("livekit_openai", "livekit", server.server, **orders(**more))
        assert report["errors"] == []
        await check_turns(server, report, tmp_path, sent_as=response_format or "mp3")
        assert server.synthesizer.num_cancelled, "no interruption came in time"
