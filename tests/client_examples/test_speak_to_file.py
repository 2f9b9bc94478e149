"""Contracts of `client_examples/speak_to_file.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.client_examples.example_runs import assert_spoken, read_sound, run, url, wav_duration_s
from tests.server.speaking import configured, running

TEXT = "A tone as long as this sentence."


@pytest.mark.parametrize("name", ["hello.ogg", "hello.wav"])
async def test_the_file_holds_the_sentence(tmp_path: Path, name: str) -> None:
    """The file's name decides the format; another decoder finds the whole sentence in it."""
    async with running() as server:
        status, output, errors = await run("speak_to_file.py", TEXT, tmp_path / name, *url(server))
    assert (status, errors) == (0, "")
    assert "1 sentence(s)" in output
    assert_spoken(read_sound(tmp_path / name), TEXT)


async def test_a_wav_knows_its_length(tmp_path: Path) -> None:
    """The header of the WAV has the true length, unlike a stream's."""
    async with running() as server:
        await run("speak_to_file.py", TEXT, tmp_path / "a.wav", *url(server))
    assert wav_duration_s(tmp_path / "a.wav") == pytest.approx(0.02 * len(TEXT), abs=0.1)


async def test_the_voice_is_asked_for(tmp_path: Path) -> None:
    """`--voice` names the voice; an unknown one gives a clear error and no file."""
    async with running() as server:
        status, _, _ = await run(
            "speak_to_file.py", TEXT, tmp_path / "a.wav", "--voice", "other", *url(server)
        )
        assert status == 0
        assert server.synthesizer.requests[-1].voice == "other"
        status, _, errors = await run(
            "speak_to_file.py", TEXT, tmp_path / "b.wav", "--voice", "no", *url(server)
        )
    assert status == 1
    assert "voice" in errors and "Traceback" not in errors
    assert not (tmp_path / "b.wav").exists()


async def test_a_key_opens_the_door(tmp_path: Path) -> None:
    """`--key` is sent as the server expects it; without it the example says that it was refused."""
    keys = tmp_path / "keys"
    keys.write_text("an-api-key-of-good-length\n")
    async with running(configured(server={"api_keys_file": keys})) as server:
        arguments = (TEXT, tmp_path / "a.wav", *url(server))
        assert (await run("speak_to_file.py", *arguments, "--key", "an-api-key-of-good-length"))[0] == 0
        status, _, errors = await run("speak_to_file.py", *arguments, "--key", "a-wrong-one")
    assert status == 1
    assert "401" in errors


async def test_no_server_is_one_line(tmp_path: Path) -> None:
    """If no server is running, the example says so, without a traceback."""
    status, _, errors = await run(
        "speak_to_file.py", TEXT, tmp_path / "a.wav", "--url", "ws://127.0.0.1:9/v1/stream"
    )
    assert status == 1
    assert len(errors.strip().splitlines()) == 1
