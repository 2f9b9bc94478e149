"""Contracts of `client_examples/curl_player.sh`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.client_examples.example_runs import assert_spoken, run
from tests.server.speaking import running

pytestmark = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("jq")), reason="curl or jq is not installed"
)


@pytest.mark.parametrize("text", ["A tone as long as this.", 'Quotes "and" $signs \\ are text.'])
async def test_the_player_gets_the_samples(tmp_path: Path, text: str) -> None:
    """The samples of the whole text reach the program's standard input, whatever signs the text has."""
    path = tmp_path / "played.raw"
    async with running() as server:
        address = f"http://127.0.0.1:{server.server.port}/v1/speech"
        environ = {"URL": address, "PLAYER": f"dd status=none of={path}"}
        status, _, errors = await run("curl_player.sh", text, environ=environ)
        assert server.synthesizer.requests[-1].text == text
    assert (status, errors) == (0, "")
    assert_spoken(np.frombuffer(path.read_bytes(), "<i2") / 32_768, text)


async def test_without_a_server_nothing_is_played(tmp_path: Path) -> None:
    """The program fails with curl's words, and the player gets nothing that would be noise."""
    path = tmp_path / "played.raw"
    environ = {"URL": "http://127.0.0.1:9/v1/speech", "PLAYER": f"dd status=none of={path}"}
    status, _, errors = await run("curl_player.sh", "Hello.", environ=environ)
    assert status != 0 and "curl:" in errors and path.read_bytes() == b""


async def test_an_error_of_the_server_is_no_sound(tmp_path: Path) -> None:
    """If the server refuses the text, its JSON does not reach the player."""
    path = tmp_path / "played.raw"
    async with running() as server:
        address = f"http://127.0.0.1:{server.server.port}/v1/nothing"
        environ = {"URL": address, "PLAYER": f"dd status=none of={path}"}
        status, _, errors = await run("curl_player.sh", "Hello.", environ=environ)
    assert status != 0 and "404" in errors and path.read_bytes() == b""
