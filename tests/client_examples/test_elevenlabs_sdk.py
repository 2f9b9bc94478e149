"""Contracts of `client_examples/elevenlabs_sdk.py`, with ElevenLabs' own package."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.client_examples.example_runs import assert_spoken, read_sound, run
from tests.server.certificates import write_certificate
from tests.server.speaking import configured, running

TEXT = "The first sentence is short. The second one comes a little later, word by word."
pytestmark = pytest.mark.clients


async def test_speech_begins_before_the_text_ends(tmp_path: Path) -> None:
    """Over TLS the first sound comes while words are still being written, and all words are in the file."""
    certificate, key = write_certificate(tmp_path)
    async with running(configured(server={"tls_cert": certificate, "tls_key": key})) as server:
        status, output, errors = await run(
            *("elevenlabs_sdk.py", tmp_path / "a.wav", TEXT, "--voice", "other"),
            *("--url", f"https://127.0.0.1:{server.server.port}"),
            environ={"SSL_CERT_FILE": str(certificate)},
            environment="elevenlabs",
        )
        assert {request.voice for request in server.synthesizer.requests} == {"other"}
    assert (status, errors) == (0, "")
    assert output.split("\n") == ["first sound", "all text written", ""]
    assert_spoken(read_sound(tmp_path / "a.wav"), TEXT, pauses_s=1.0)


async def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    """An unknown voice, and a server that is not there, are told without a traceback."""
    certificate, key = write_certificate(tmp_path)
    async with running(configured(server={"tls_cert": certificate, "tls_key": key})) as server:
        for address, voice in ((f"127.0.0.1:{server.server.port}", "nobody"), ("127.0.0.1:9", "tone")):
            status, _, errors = await run(
                *("elevenlabs_sdk.py", tmp_path / "a.wav", "Hello.", "--voice", voice),
                *("--url", f"https://{address}"),
                environ={"SSL_CERT_FILE": str(certificate)},
                environment="elevenlabs",
            )
            assert status == 1 and errors.startswith("elevenlabs_sdk: ") and len(errors.splitlines()) == 1
