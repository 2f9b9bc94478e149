"""Contracts of `client_examples/openai_sdk.py`, with OpenAI's own package."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.client_examples.example_runs import assert_spoken, read_sound, run
from tests.server.speaking import running

TEXT = "A tone as long as this sentence."
pytestmark = pytest.mark.clients


@pytest.mark.parametrize("name", ["a.mp3", "a.ogg", "a.flac", "a.wav"])
async def test_the_file_holds_the_sentence(tmp_path: Path, name: str) -> None:
    """The file's name decides the format; another decoder finds the whole sentence in it."""
    async with running() as server:
        address = ["--url", f"http://127.0.0.1:{server.server.port}/v1"]
        status, output, errors = await run(
            "openai_sdk.py", TEXT, tmp_path / name, *address, environment="openai"
        )
    assert (status, errors) == (0, "") and "first sound after" in output
    assert_spoken(read_sound(tmp_path / name), TEXT)


async def test_the_voice_is_asked_for(tmp_path: Path) -> None:
    """`--voice` names one of the server's; an unknown one gives the server's reason in one line."""
    async with running() as server:
        arguments = ("openai_sdk.py", TEXT, tmp_path / "a.wav")
        address = ["--url", f"http://127.0.0.1:{server.server.port}/v1"]
        assert (await run(*arguments, "--voice", "other", *address, environment="openai"))[0] == 0
        assert server.synthesizer.requests[-1].voice == "other"
        status, _, errors = await run(*arguments, "--voice", "no", *address, environment="openai")
    assert status == 1 and "no voice is named 'no'" in errors and len(errors.strip().splitlines()) == 1
