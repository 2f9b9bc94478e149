"""The realtime APIs under two thousand events that are nearly right."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from tests.server.mutations import Conversation, attack_websocket, undisturbed
from tests.server.realtime.speaking import REALTIME, TEXT_BUFFER, message

OUTPUT = {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "other", "speed": 1.0}
OPENAIS = [
    {
        "type": "session.update",
        "event_id": "e1",
        "session": {"type": "realtime", "audio": {"output": OUTPUT}},
    },
    {"type": "conversation.item.create", "item": message("Hello there.", id="a")},
    {"type": "conversation.item.create", "previous_item_id": "a", "item": message("How are you?")},
    {"type": "response.create"},
    {"type": "response.cancel"},
    {"type": "response.create", "response": {"conversation": "none", "input": [message("Fine.")]}},
    {"type": "conversation.item.truncate", "item_id": "a", "content_index": 0, "audio_end_ms": 10},
    {"type": "conversation.item.delete", "item_id": "a"},
]
TEXT_BUFFERS = [
    {"type": "tts_session.updated", "session": {"voice": "other"}},
    {"type": "input_text_buffer.append", "text": "Hello there."},
    {"type": "input_text_buffer.commit"},
    {"type": "input_text_buffer.append", "text": "How are you?"},
    {"type": "input_text_buffer.commit"},
    {"type": "input_text_buffer.commit"},
    {"type": "input_text_buffer.clear"},
    {"type": "input_text_buffer.append", "text": "Fine."},
    {"type": "input_text_buffer.commit"},
]
OPENAI_PATHS = (REALTIME, "/v1/realtime", "/v1/realtime?model=nothing&" + "a=1&" * 40)
TEXT_BUFFER_PATHS = (
    TEXT_BUFFER,
    TEXT_BUFFER + "&voice=other&language=en",
    TEXT_BUFFER + "&voice=%ff&language=%00",
)
OPENAI_CONVERSATIONS = ([json.dumps(event) for event in OPENAIS],)
TEXT_BUFFER_CONVERSATIONS = ([json.dumps(event) for event in TEXT_BUFFERS],)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("paths", "conversations"),
    [(OPENAI_PATHS, OPENAI_CONVERSATIONS), (TEXT_BUFFER_PATHS, TEXT_BUFFER_CONVERSATIONS)],
    ids=["openai", "text_buffer"],
)
async def test_events_that_are_nearly_right_harm_nobody(
    paths: Sequence[str], conversations: Sequence[Conversation], seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is answered, or ends its own connection."""
    async with undisturbed(caplog) as server:
        await attack_websocket(server.server.port, paths, conversations, 500, seed)
