"""The native protocol under a thousand messages and requests that are nearly right."""

from __future__ import annotations

import json

import pytest

from tests.server.mutations import attack_http, attack_websocket, undisturbed

PATHS = (
    "/v1/stream",
    "/v1/stream?encoding=pcm_s16le&lead_ms=null&seed=5",
    "/v1/stream?framing=bare&encoding=mulaw",
)
WRITTEN = [
    {"type": "configure", "voice": "other", "frame_ms": 40, "params": {"top_k": 50, "seed": 3}},
    {"type": "start", "id": "a", "ref": "r1", "speed": 1.2, "normalize": True, "text_format": "chat"},
    {"type": "text", "id": "a", "text": "Hello **there**. "},
    {"type": "flush", "id": "a", "ref": "r2"},
    {"type": "text", "id": "a", "text": "How are you?"},
    {"type": "played", "id": "a", "ms": 20},
    {"type": "end", "id": "a"},
    {"type": "ping", "t": 5},
]
INTERRUPTED = [
    {"type": "speak", "id": "a", "text": "A long text. It has two sentences.", "continuity": "chain"},
    {"type": "speak", "id": "b", "text": "[voice: other] Behind it.", "after": "a", "encoding": "ogg_opus"},
    {"type": "cancel", "id": "a", "played_ms": 10},
    {"type": "speak", "id": "c", "text": "Ann: Hi! <break time='1s'/> Bye.", "speakers": {"Ann": "tone"}},
    {"type": "speak", "id": "a", "text": "Once more.", "interrupt": True, "start": "safe"},
    {"type": "cancel"},
]
CONVERSATIONS = tuple([json.dumps(message) for message in messages] for messages in (WRITTEN, INTERRUPTED))
BODY = {
    "text": "Hello there. How are you?",
    "encoding": "pcm_s16le",
    "sample_rate": 16000,
    "params": {"seed": 1},
    "speed": 1.1,
}
REQUESTS = (
    ("POST", "/v1/speech", json.dumps(BODY)),
    ("GET", "/v1/voices", ""),
    ("GET", "/readyz", ""),
)


async def test_messages_that_are_nearly_right_harm_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Each is answered or ignored."""
    async with undisturbed(caplog) as server:
        await attack_websocket(server.server.port, PATHS, CONVERSATIONS, 600, seed=1)


async def test_requests_that_are_nearly_right_harm_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Each has an answer, and none of them is the server's own failure."""
    async with undisturbed(caplog) as server:
        statuses = await attack_http(server.server.port, REQUESTS, 400, seed=3)
    assert sum(statuses.values()) == 400 and 0 not in statuses and all(status < 500 for status in statuses)
    assert statuses[200] > 50 and statuses[400] > 50
