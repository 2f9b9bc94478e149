"""Deepgram's adapter under two thousand messages and requests that are nearly right."""

from __future__ import annotations

import json

import pytest

from tests.server.mutations import attack_http, attack_websocket, undisturbed

PATHS = (
    "/v1/speak?model=tone",
    "/v1/speak?encoding=mulaw&sample_rate=8000",
    "/v1/speak?speed=1.5&model=aura-2-thalia-en",
)
TURNS = [
    {"type": "Speak", "text": "Hello there. "},
    {"type": "Speak", "text": "How are you?"},
    {"type": "Flush"},
    {"type": "Speak", "text": "And this."},
    {"type": "Flush"},
    {"type": "Flush"},
]
INTERRUPTED = [
    {"type": "Speak", "text": "A long text that takes a while. It has two sentences."},
    {"type": "Flush"},
    {"type": "Clear"},
    {"type": "Speak", "text": "Now this."},
    {"type": "Clear"},
    {"type": "Speak", "text": "The end."},
    {"type": "Close"},
]
CONVERSATIONS = tuple([json.dumps(message) for message in messages] for messages in (TURNS, INTERRUPTED))
REQUESTS = tuple(
    ("POST", "/v1/speak" + query, json.dumps({"text": "Hello there. How are you?"}))
    for query in (
        "",
        "?encoding=linear16&container=none",
        "?encoding=alaw&model=tone",
        "?encoding=opus&bit_rate=12000",
    )
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
