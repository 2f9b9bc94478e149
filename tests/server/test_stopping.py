"""A server that stops tells every client so whose utterance has not ended, whatever the protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from streamer.server.cartesia.protocol import create_protocol as create_cartesia
from streamer.server.client_protocol import ClientProtocol, CreateProtocol
from streamer.server.deepgram.protocol import create_protocol as create_deepgram
from streamer.server.elevenlabs.protocol import ElevenLabsProtocol
from streamer.server.ending import CloseRequest
from streamer.server.native.handshake import create_protocol as create_native
from streamer.server.realtime.protocol import RealtimeProtocol
from streamer.server.realtime.text_buffer import TextBufferProtocol
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade
from streamer.server.wyoming.protocol import WyomingProtocol
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.fake_connection import session
from tests.server.speaking import eventually

TEXT = "One two three."


def create_elevenlabs(*, is_multi: bool) -> CreateProtocol:
    def create(upgrade: Upgrade, service: Service) -> ClientProtocol:
        return ElevenLabsProtocol(replace(upgrade, parameters={"voice": "tone"}), service, is_multi=is_multi)

    return create


CASES: dict[str, tuple[CreateProtocol, Sequence[dict[str, Any]], Sequence[str]]] = {
    "native": (create_native, [{"type": "speak", "id": "a", "text": TEXT}], ['"done"', '"cancelled"']),
    "cartesia": (
        create_cartesia,
        [
            {
                "context_id": "a",
                "transcript": TEXT,
                "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000},
            }
        ],
        ['"error"', '"cancelled"', '"context_id": "a"'],
    ),
    "deepgram": (
        create_deepgram,
        [{"type": "Speak", "text": TEXT}, {"type": "Flush"}],
        ['"Error"', '"cancelled"', '"Flushed"'],
    ),
    "deepgram, without a flush": (
        create_deepgram,
        [{"type": "Speak", "text": TEXT}],
        ['"Error"', '"cancelled"'],
    ),
    "elevenlabs, one text": (
        create_elevenlabs(is_multi=False),
        [{"text": f"{TEXT} "}],
        ['"error":"cancelled"', '"code":1001'],
    ),
    "elevenlabs, contexts": (
        create_elevenlabs(is_multi=True),
        [{"text": f"{TEXT} ", "context_id": "a"}],
        ['"error":"cancelled"', '"contextId":"a"', '"isFinal":true'],
    ),
    "realtime": (
        RealtimeProtocol,
        [
            {
                "type": "response.create",
                "response": {
                    "input": [{"role": "user", "content": [{"type": "input_text", "text": TEXT}]}],
                },
            }
        ],
        ['"response.done"', '"cancelled"'],
    ),
    "text buffer": (
        TextBufferProtocol,
        [{"type": "input_text_buffer.append", "text": TEXT}, {"type": "input_text_buffer.commit"}],
        ["audio_output.cancelled"],
    ),
    "wyoming": (
        WyomingProtocol,
        [{"type": "synthesize", "data": {"text": TEXT}}],
        ['"error"', '"cancelled"'],
    ),
}


@pytest.mark.parametrize("protocol", CASES)
async def test_an_utterance_that_the_server_stops_does_not_end_in_silence(protocol: str) -> None:
    """The end of its drain is told as such, and not as if the client had asked for it, or all had been said."""
    create, messages, told = CASES[protocol]
    synthesizer = FakeSynthesizer()
    synthesizer.stall_on = "One"
    async with session(create, synthesizer=synthesizer) as (running, connection, _):
        for message in messages:
            connection.say(json.dumps(message))
        await eventually(lambda: synthesizer.num_open)
        before = len(connection.sent)
        running.end(CloseRequest(1001, "the server stops", grace_s=0.05))
        await connection.until_closed()
    last = "\n".join(str(frame) for frame in connection.sent[before:])
    assert connection.close_code == 1001 and all(word in last for word in told), last
