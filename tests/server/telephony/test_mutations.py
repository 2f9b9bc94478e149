"""Telephony under two thousand messages that are nearly right, from telephones and from programs."""

from __future__ import annotations

import json

import pytest

from tests.server.mutations import attack_websocket, undisturbed
from tests.server.telephony.phones import calling, telnyx_start, twilio_start

MEDIA = {"event": "media", "media": {"track": "inbound", "payload": "f" * 40}, "streamSid": "MZ9"}
FROM_TELEPHONES = [
    [
        {"event": "connected", "protocol": "Call", "version": "1.0.0"},
        {
            "event": "start",
            **twilio_start("MZ9", "CA9", text="Hello there.", voice="other", keep_open="true"),
        },
        MEDIA,
        {"event": "dtmf", "dtmf": {"digit": "5"}},
        {"event": "mark", "mark": {"name": "streamer-1"}},
        {"event": "text", "text": "How are you? ", "voice": "tone"},
        {"event": "mark", "mark": {"name": "mine"}},
        {"event": "clear"},
        {"event": "stop", "stop": {"callSid": "CA9"}},
    ],
    [
        {"event": "start", **telnyx_start("32DF", "PCMA", text="Hello there.", token="key")},
        {"event": "text", "text": "How are you?", "last": True},
        MEDIA,
    ],
]
FROM_PROGRAMS = [
    [
        {"event": "text", "text": "Hello "},
        {"event": "text", "text": "there.", "last": True, "voice": "other"},
        {"event": "mark", "mark": {"name": "mine"}},
        {"event": "text", "text": "How are you?"},
        {"event": "clear"},
        {"event": "text", "text": "Fine."},
    ]
]
OF_TELEPHONES = tuple([json.dumps(message) for message in messages] for messages in FROM_TELEPHONES)
OF_PROGRAMS = tuple([json.dumps(message) for message in messages] for messages in FROM_PROGRAMS)
PROGRAM_PATHS = tuple(f"/v1/telephony/calls/{sid}" for sid in ("MZ1", "CA1", "nobody", "%ff"))


@pytest.mark.parametrize("seed", [1, 2])
async def test_messages_of_telephones_harm_nobody(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Each is answered, ignored, or ends its own call."""
    async with undisturbed(caplog) as server:
        await attack_websocket(server.server.port, ["/v1/telephony"], OF_TELEPHONES, 600, seed)


@pytest.mark.parametrize("seed", [3, 4])
async def test_messages_of_programs_harm_nobody(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """A call is driven by all of them, and by none too many; it survives them, and others are not heard in it."""
    async with undisturbed(caplog) as server, calling(server) as phone:
        await attack_websocket(server.server.port, PROGRAM_PATHS, OF_PROGRAMS, 400, seed)
        await phone.say("clear")
        await phone.say("mark", mark={"name": "still here"})
        await phone.until_mark("still here")
