"""What a server must survive: each bad message gets one typed answer, and its neighbours continue."""

from __future__ import annotations

import json

import pytest

from tests.server.speaking import configured, running

BAD_FRAMES: list[tuple[str | bytes, str, str | None]] = [
    ("", "invalid_message", None),
    ("{", "invalid_message", None),
    ("null", "invalid_message", None),
    ("[]", "invalid_message", None),
    ('"speak"', "invalid_message", None),
    ("{}", "invalid_message", "type"),
    ('{"type": 5}', "invalid_message", "type"),
    ('{"type": "sing"}', "unknown_type", "type"),
    (b"\x00\xff\xfe rubbish", "invalid_message", None),
    ("[" * 3000, "invalid_message", None),
    ('{"type":"ping","t":{"a":' + "[" * 20 + "]" * 20 + "}}", "invalid_message", None),
    ('{"type":"ping","type":"ping"}', "invalid_message", None),
    ('{"type":"ping","t":NaN}', "invalid_message", None),
    ('{"type":"ping","t":-Infinity}', "invalid_message", None),
    ('{"type":"text","id":"a","text":"\\ud800"}', "invalid_message", None),
    ('{"type":"ping","t":' + "9" * 5000 + "}", "invalid_message", None),
    ('{"type":"start","id":"x","params":{"text_temp":1e999}}', "invalid_message", None),
    ('{"type":"start","id":"x","params":{"text_temp":NaN}}', "invalid_message", None),
    ('{"type":"start","id":"x","params":{"seed":true}}', "invalid_parameter", "params.seed"),
    ('{"type":"start","id":"x","params":{"seed":-1}}', "invalid_parameter", "params.seed"),
    ('{"type":"start","id":"x","params":{"top_p":0}}', "invalid_parameter", "params.top_p"),
    ('{"type":"start","id":"x","params":{"text_temp":1e9}}', "invalid_parameter", "params.text_temp"),
    ('{"type":"start","id":"x","params":[]}', "invalid_parameter", "params"),
    ('{"type":"start"}', "invalid_parameter", "id"),
    ('{"type":"start","id":""}', "invalid_parameter", "id"),
    ('{"type":"start","id":7}', "invalid_parameter", "id"),
    ('{"type":"start","id":"' + "x" * 200 + '"}', "invalid_parameter", "id"),
    ('{"type":"start","id":"x","voice":"nobody"}', "voice_not_found", "voice"),
    ('{"type":"start","id":"x","voice":"../../etc/passwd"}', "voice_not_found", "voice"),
    ('{"type":"start","id":"x","encoding":"mp3"}', "invalid_parameter", "encoding"),
    ('{"type":"start","id":"x","sample_rate":7}', "invalid_parameter", "sample_rate"),
    ('{"type":"start","id":"x","frame_ms":21}', "invalid_parameter", "frame_ms"),
    ('{"type":"start","id":"x","bitrate":1}', "invalid_parameter", "bitrate"),
    ('{"type":"start","id":"x","language":"de"}', "invalid_parameter", "language"),
    ('{"type":"start","id":"x","language":5}', "invalid_parameter", "language"),
    ('{"type":"start","id":"x","normalize":"yes"}', "invalid_parameter", "normalize"),
    ('{"type":"start","id":"x","lead_ms":-1}', "invalid_parameter", "lead_ms"),
    ('{"type":"start","id":"x","lead_ms":"2"}', "invalid_parameter", "lead_ms"),
    ('{"type":"start","id":"x","continuity":"always"}', "invalid_parameter", "continuity"),
    ('{"type":"start","id":"x","speakers":[]}', "invalid_parameter", "speakers"),
    ('{"type":"start","id":"x","speakers":{"A":5}}', "invalid_parameter", "speakers"),
    ('{"type":"start","id":"x","speakers":{"A:":"tone"}}', "invalid_parameter", "speakers"),
    ('{"type":"start","id":"x","speakers":{"A":"nobody"}}', "voice_not_found", "speakers"),
    (
        json.dumps({"type": "start", "id": "x", "speakers": dict.fromkeys(map(str, range(33)), "tone")}),
        "invalid_parameter",
        "speakers",
    ),
    ('{"type":"start","id":"x","after":"nobody"}', "utterance_state", "after"),
    ('{"type":"start","id":"x","after":"y","interrupt":true}', "invalid_parameter", "after"),
    ('{"type":"speak","id":"x"}', "invalid_parameter", "text"),
    ('{"type":"speak","id":"x","text":5}', "invalid_parameter", "text"),
    (json.dumps({"type": "speak", "id": "x", "text": "a" * 2001}), "text_too_long", "text"),
    ('{"type":"text","id":"never","text":"a"}', "utterance_state", "id"),
    ('{"type":"flush","id":"never"}', "utterance_state", "id"),
    ('{"type":"end","id":"never"}', "utterance_state", "id"),
    ('{"type":"played","id":"never","ms":1}', "utterance_state", "id"),
    ('{"type":"cancel","id":"x","played_ms":-5}', "invalid_parameter", "played_ms"),
    ('{"type":"configure","voice":"nobody"}', "voice_not_found", "voice"),
]


async def test_each_bad_frame_gets_one_typed_error_and_nothing_ends() -> None:
    """One error with code and param for each, while another utterance of the session is spoken to its end."""
    async with running(configured(max_bytes_per_s=1_000_000)) as server, server.client() as client:
        await client.say("speak", id="neighbour", text="Hello there. I am the neighbour.", lead_ms=500)
        for frame, code, param in BAD_FRAMES:
            await client.connection.send(frame)
            answers = [item for item in await client.pong() if item["type"] in ("error", "warning")]
            assert [(item["code"], item.get("param")) for item in answers] == [(code, param)], frame
            assert answers[0]["scope"] in ("message", "utterance") and answers[0]["retryable"] is False
        if not client.messages("done"):
            await client.until("done")
        assert client.messages("done")[0]["reason"] == "completed"
        assert len(client.messages("done")) == 1 and len(client.messages("started")) == 1


async def test_misused_utterances_are_told_and_continue() -> None:
    """A second start with an open id, and text after the end, are errors that harm nothing."""
    async with running() as server, server.client() as client:
        await client.say("start", id="a")
        await client.say("start", id="a", ref="again")
        error = await client.until("error")
        assert (error["code"], error["id"], error["ref"]) == ("utterance_state", "a", "again")
        await client.say("text", id="a", text="Still fine.")
        await client.say("end", id="a")
        await client.say("text", id="a", text="Too late.")
        error = await client.until("error")
        assert error["code"] == "utterance_state"
        done = client.messages("done") or [await client.until("done")]
        assert done[0]["reason"] == "completed" and done[0]["characters"] == len("Still fine.")


async def test_a_refused_start_silences_what_follows_it() -> None:
    """The refusal is told once; text and end for that id are then dropped without a word."""
    async with running() as server, server.client() as client:
        await client.say("start", id="x", voice="nobody")
        for _ in range(5):
            await client.say("text", id="x", text="word ")
        await client.say("end", id="x")
        assert [item["type"] for item in await client.pong()] == ["error"]
        await client.say("speak", id="x", text="Now it works.")
        assert (await client.until("done"))["reason"] == "completed"


async def test_a_start_with_a_number_that_is_none_is_refused_like_any_other() -> None:
    """NaN in `params` is one error with the id and the ref, and silences what follows the start."""
    async with running() as server, server.client() as client:
        await client.connection.send('{"type":"start","id":"x","ref":"r","params":{"text_temp":NaN}}')
        await client.say("text", id="x", text="word ")
        await client.say("end", id="x")
        (error,) = await client.pong()
        assert (error["code"], error["scope"], error["id"], error["ref"]) == (
            "invalid_message",
            "utterance",
            "x",
            "r",
        )


async def test_an_id_that_is_too_long_refuses_no_other() -> None:
    """Only the very id of a refused start is remembered."""
    async with running() as server, server.client() as client:
        await client.say("start", id="x" * 129)
        await client.say("text", id="x" * 128, text="word ")
        assert [item["code"] for item in await client.pong()] == ["invalid_parameter", "utterance_state"]


async def test_a_writer_far_ahead_loses_nothing() -> None:
    """Thousands of single letters that wait are one text; only flushes are counted, and never `end`."""
    text = "Word by word. " * 400
    config = configured(max_bytes_per_s=16_777_216)
    async with running(config) as server, server.client() as client:
        await client.say("start", id="first")
        await client.say("start", id="a", after="first", lead_ms=None)
        for letter in text:
            await client.say("text", id="a", text=letter)
        await client.say("end", id="a")
        assert not [item for item in await client.pong() if item["type"] == "error"]
        await client.say("cancel", id="first")
        assert (await client.until("done", id="a"))["characters"] == len(text)


async def test_flushes_in_line_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound a flush is refused; the text and its end are taken."""
    monkeypatch.setattr("streamer.server.native.protocol.MAX_WAITING_PIECES", 4)
    async with running() as server, server.client() as client:
        await client.say("start", id="first")
        await client.say("start", id="a", after="first", lead_ms=None)
        for _ in range(20):
            await client.say("text", id="a", text="One. ")
            await client.say("flush", id="a")
        await client.say("end", id="a")
        errors = [item for item in await client.pong() if item["type"] == "error"]
        assert errors and {item["code"] for item in errors} == {"rate_limited"}
        await client.say("cancel", id="first")
        done = await client.until("done", id="a")
        assert (done["reason"], done["characters"]) == ("completed", 100)


async def test_unknown_fields_are_warned_about_and_ignored() -> None:
    """A field of a later version does no harm."""
    async with running() as server, server.client("?colour=red") as client:
        assert (await client.until("warning"))["param"] == "colour"
        await client.say("speak", id="a", text="Hi.", flavour=2, params={"mood": 1}, ref="r")
        await client.until("done", reason="completed")
        warnings = client.messages("warning")[1:]
        assert [(item["code"], item["param"], item["ref"]) for item in warnings] == [
            ("unknown_field", "flavour", "r"),
            ("unknown_field", "params.mood", "r"),
        ]


async def test_a_bad_query_is_an_error_after_the_greeting() -> None:
    """What is wrong in the address does not keep a session from starting with the defaults."""
    async with running() as server, server.client("?frame_ms=21&voice=other") as client:
        assert (await client.until("error"))["param"] == "frame_ms"
        await client.say("speak", id="a", text="Hi.")
        assert (await client.until("started"))["frame_ms"] == 20
        await client.until("done")


async def test_too_much_waiting_text_is_refused() -> None:
    """Beyond `max_buffered_chars` a piece is refused whole, and what was accepted is spoken."""
    config = configured(max_buffered_chars=40, speech={"max_buffer_ms": None})
    async with running(config) as server, server.client() as client:
        await client.say("start", id="a")
        await client.say("text", id="a", text="x" * 30)
        await client.say("text", id="a", text="y" * 30)
        assert (await client.until("error"))["code"] == "text_too_long"
        await client.say("end", id="a")
        assert (await client.until("done"))["characters"] == 30


async def test_too_many_utterances_are_refused_with_a_time_to_come_back() -> None:
    """The session's limit refuses with `retry_after_s`; a start that interrupts is not refused."""
    async with running(configured(max_utterances_per_session=2)) as server, server.client() as client:
        for name in "abc":
            await client.say("start", id=name)
        error = await client.until("error")
        assert (error["code"], error["id"], error["retryable"]) == ("overloaded", "c", True)
        assert error["retry_after_s"] > 0
        await client.say("start", id="d", interrupt=True)
        await client.until("started", id="d")
        await client.say("cancel")
        await client.until("done", id="d")


async def test_starts_beyond_the_rate_wait_or_are_refused() -> None:
    """A few wait their permit, the rest is refused at once with the time to come back."""
    config = configured(max_starts_per_s=1, max_start_wait_s=1.0, max_utterances_per_session=50)
    async with running(config) as server, server.client() as client:
        for number in range(6):
            await client.say("start", id=str(number))
        answers = await client.pong()
        errors = [item for item in answers if item["type"] == "error"]
        assert errors and all(item["code"] == "rate_limited" and item["retry_after_s"] > 0 for item in errors)
        assert len([item for item in answers if item["type"] == "started"]) + len(errors) == 6


async def test_a_message_that_is_too_large_is_one_error() -> None:
    """It names the utterance, and the session continues."""
    async with running(configured(max_message_bytes=2048)) as server, server.client() as client:
        await client.say("speak", id="a", text="e" * 3000)
        (error,) = await client.pong()
        assert (error["code"], error["id"]) == ("invalid_message", "a")
        await client.say("speak", id="b", text="Hello.")
        assert (await client.until("done", id="b"))["reason"] == "completed"


async def test_a_message_far_too_large_closes_with_1009() -> None:
    """What the server would not even hold in memory, only a close can answer."""
    async with running(configured(max_message_bytes=2048)) as server, server.client() as client:
        await client.connection.send("x" * 9000)
        await client.connection.wait_closed()
        assert client.connection.close_code == 1009
