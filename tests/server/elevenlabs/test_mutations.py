"""ElevenLabs' adapter under two thousand messages and requests that are nearly right."""

from __future__ import annotations

import json

import pytest

from tests.server.mutations import attack_http, attack_websocket, undisturbed

PATH = "/v1/text-to-speech/tone"
QUERY = "?output_format=pcm_24000"
OF_ONE = [
    {
        "text": " ",
        "voice_settings": {"speed": 1.0, "style": 0.1},
        "generation_config": {"chunk_length_schedule": [50]},
    },
    {"text": "Hello there. ", "try_trigger_generation": True},
    {"text": "How are you? ", "flush": True},
    {"text": ""},
]
OF_MANY = [
    {"text": " ", "context_id": "c1", "voice_settings": {"speed": 1.1}, "xi-api-key": "key"},
    {"text": "Hello there.", "context_id": "c1"},
    {"text": "How are you?", "contextId": "c2", "flush": True},
    {"context_id": "c1", "flush": True},
    {"text": "", "context_id": "c2"},
    {"context_id": "c1", "close_context": True},
    {"context_id": "c1", "close_context": True},
    {"text": "Again.", "context_id": "c1"},
    {"context_id": "c2", "close_context": True},
    {"close_socket": True},
]
BODY = {
    "text": "Hello there. How are you?",
    "model_id": "eleven_turbo_v2_5",
    "voice_settings": {"stability": 0.5, "speed": 1.0},
    "seed": 5,
    "apply_text_normalization": "auto",
    "language_code": "en",
}
PATHS = tuple(PATH + ending + QUERY for ending in ("/stream-input", "/multi-stream-input"))
CONVERSATIONS = tuple([json.dumps(message) for message in messages] for messages in (OF_ONE, OF_MANY))
ENDINGS = ("", "/stream", "/with-timestamps", "/stream/with-timestamps")
REQUESTS = (
    *(("POST", PATH + ending + QUERY, json.dumps(BODY)) for ending in ENDINGS),
    *(("GET", path, "") for path in ("/v1/voices/tone", "/v2/voices?search=t", "/v1/user")),
)


@pytest.mark.parametrize("seed", [1, 2])
async def test_messages_that_are_nearly_right_harm_nobody(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is answered, ignored, or ends its own connection."""
    async with undisturbed(caplog) as server:
        await attack_websocket(server.server.port, PATHS, CONVERSATIONS, 800, seed)


async def test_requests_that_are_nearly_right_harm_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Each has an answer, and none of them is the server's own failure."""
    async with undisturbed(caplog) as server:
        statuses = await attack_http(server.server.port, REQUESTS, 400, seed=3)
    assert sum(statuses.values()) == 400 and 0 not in statuses and all(status < 500 for status in statuses)
    assert statuses[200] > 50 and statuses[400] > 50
