"""OpenAI's adapter under two thousand requests that are nearly right."""

from __future__ import annotations

import json

import pytest

from tests.server.mutations import attack_http, undisturbed

SPEECHES = [
    {"model": "tts-1", "input": "Hello there. How are you?", "voice": "alloy", "response_format": "pcm"},
    {
        "model": "gpt-4o-mini-tts",
        "input": "Hello.",
        "voice": {"id": "tone"},
        "response_format": "wav",
        "speed": 1.5,
    },
    {
        "model": "tts-1-hd",
        "input": "Hello.",
        "voice": "nova",
        "stream_format": "sse",
        "response_format": "opus",
    },
    {
        "model": "tts-1",
        "input": "Hello.",
        "voice": "ash",
        "instructions": "Speak calmly.",
        "response_format": "flac",
    },
]
PATHS = ("/v1/audio/speech", "/v1//audio/speech/")
REQUESTS = (
    *(("POST", path, json.dumps(speech)) for path in PATHS for speech in SPEECHES),
    *(("GET", path, "") for path in ("/v1/models", "/v1/audio/models", "/v1/audio/voices")),
)


@pytest.mark.parametrize("seed", [1, 2])
async def test_requests_that_are_nearly_right_harm_nobody(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Each has an answer, and none of them is the server's own failure."""
    async with undisturbed(caplog) as server:
        statuses = await attack_http(server.server.port, REQUESTS, 1000, seed)
    assert sum(statuses.values()) == 1000 and 0 not in statuses and all(status < 500 for status in statuses)
    assert statuses[200] > 100 and statuses[400] > 100
