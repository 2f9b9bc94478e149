"""Cartesia's adapter under two thousand messages and requests that are nearly right."""

from __future__ import annotations

import json

import pytest

from tests.server.mutations import attack_http, attack_websocket, undisturbed

PATHS = (
    "/tts/websocket",
    "/tts/websocket?cartesia_version=2025-04-16",
    "/tts/websocket?cartesia_version=2026-03-01",
)
BASIS = {
    "model_id": "sonic-3",
    "voice": {"mode": "id", "id": "tone"},
    "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000},
    "language": "en",
    "add_timestamps": True,
    "generation_config": {"speed": 1.2, "volume": 0.8, "emotion": "sad"},
    "context_id": "a",
}
CONTINUED = [
    BASIS | {"transcript": "Hello there.", "continue": True},
    BASIS | {"transcript": "How are you? ", "continue": True, "flush": True},
    BASIS | {"transcript": "", "continue": True, "flush": True},
    BASIS | {"transcript": " ", "continue": False},
]
INTERRUPTED = [
    BASIS | {"transcript": "A long text. It has two sentences.", "continue": True, "max_buffer_delay_ms": 0},
    BASIS | {"transcript": "Side by side.", "context_id": "b", "voice": "other"},
    {"context_id": "a", "cancel": True},
    BASIS | {"transcript": "Once more.", "output_format": BASIS["output_format"] | {"encoding": "pcm_f32le"}},
    {"context_id": "b", "cancel": True},
]
CONVERSATIONS = tuple([json.dumps(message) for message in messages] for messages in (CONTINUED, INTERRUPTED))
BODY = json.dumps(BASIS | {"transcript": "Hello there. How are you?"})
REQUESTS = (
    *(("POST", path, BODY) for path in ("/tts/bytes", "/tts/sse", "/tts/sse?cartesia_version=2025-04-16")),
    *(("GET", path, "") for path in ("/voices", "/voices?limit=2&starting_after=tone", "/voices/tone")),
)


@pytest.mark.parametrize("seed", [1, 2])
async def test_messages_that_are_nearly_right_harm_nobody(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is answered, ignored, or ends its own context."""
    async with undisturbed(caplog) as server:
        await attack_websocket(server.server.port, PATHS, CONVERSATIONS, 800, seed)


async def test_requests_that_are_nearly_right_harm_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Each has an answer, and none of them is the server's own failure."""
    async with undisturbed(caplog) as server:
        statuses = await attack_http(server.server.port, REQUESTS, 400, seed=3)
    assert sum(statuses.values()) == 400 and 0 not in statuses and all(status < 500 for status in statuses)
    assert statuses[200] > 50 and statuses[400] > 50
