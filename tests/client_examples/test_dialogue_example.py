"""Contracts of `client_examples/dialogue.py`."""

from __future__ import annotations

from pathlib import Path

from tests.client_examples.example_runs import read_sound, run, url
from tests.server.speaking import running


async def test_each_speaker_has_a_voice(tmp_path: Path) -> None:
    """The program prints who says what and when, and the whole scene is in the file."""
    speakers = ("--speaker", "Alice=other", "--speaker", "Bob=tone")
    async with running() as server:
        status, output, errors = await run("dialogue.py", tmp_path / "a.ogg", *speakers, *url(server))
        voices = [request.voice for request in server.synthesizer.requests]
    assert (status, errors) == (0, "")
    assert voices[0] == voices[-1] == "other" and "tone" in voices
    assert "other: Did you hear that?" in output and "tone: It is only the wind." in output
    assert "Alice" not in output
    assert len(read_sound(tmp_path / "a.ogg")) / 24_000 > 2.5


async def test_a_script_of_ones_own(tmp_path: Path) -> None:
    """A script is read from a file; an unknown voice is reported in one line."""
    script = tmp_path / "script.txt"
    script.write_text("Eve: Nothing but this. [voice: nobody] And that.")
    async with running() as server:
        arguments = ("dialogue.py", tmp_path / "a.ogg", script, *url(server))
        status, output, _ = await run(*arguments, "--speaker", "Eve=tone")
        assert status == 0 and "tone: Nothing but this." in output and "note: no voice" in output
        status, _, errors = await run(*arguments, "--speaker", "Eve=nobody")
    assert status == 1 and "nobody" in errors and len(errors.splitlines()) == 1
