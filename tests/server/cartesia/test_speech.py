"""`POST /tts/bytes` and `/tts/sse`, and the lists of voices: Cartesia's clients get what their version expects."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from streamer.errors import EngineError
from tests.audio.decoding import decode_file, dominant_hz
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.cartesia.client import NEW, OLD, RAW
from tests.server.speaking import Running, configured, eventually, figure, read_answer, running

TEXT = "Hello there. How are you today?"
WAV = RAW | {"container": "wav"}
MP3 = {"container": "mp3", "sample_rate": 24000, "bit_rate": 64000}


def post(path: str, version: str = NEW, *headers: str, **fields: Any) -> bytes:
    request = {"model_id": "sonic-3", "transcript": TEXT, "voice": "tone", "output_format": RAW} | fields
    body = json.dumps(request).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, f"Cartesia-Version: {version}", *headers]).encode() + b"\r\n\r\n" + body


async def asked(server: Running, request: bytes) -> tuple[int, Mapping[str, str], bytes]:
    """Return status, header fields by their names in lower case, and body."""
    status, head, body = await server.http(request)
    lines = (line.split(": ", 1) for line in head.decode().strip().split("\r\n")[1:])
    return status, {name.lower(): value for name, value in lines}, body


async def got(server: Running, path: str, version: str = NEW) -> tuple[int, Any]:
    """Return status and JSON, or the text of an older version."""
    request = f"GET {path} HTTP/1.1\r\nHost: test\r\nCartesia-Version: {version}\r\n\r\n"
    status, _, body = await server.http(request.encode())
    return status, json.loads(body) if body.startswith((b"{", b"[")) else body.decode()


def events(body: bytes) -> list[dict[str, Any]]:
    """Return the data of server-sent events, each of which has the name of its type."""
    found = []
    for block in body.decode().removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


@pytest.mark.parametrize(
    ("output_format", "content_type", "rate_hz"),
    [
        (WAV, "audio/wav", 24_000),
        (WAV | {"encoding": "pcm_f32le", "sample_rate": 44_100}, "audio/wav", 44_100),
        (WAV | {"encoding": "pcm_mulaw", "sample_rate": 8_000}, "audio/wav", 8_000),
        (WAV | {"encoding": "pcm_alaw", "sample_rate": 22_050}, "audio/wav", 22_050),
        (MP3, "audio/mpeg", 24_000),
        ({"container": "mp3", "sample_rate": 44_100}, "audio/mpeg", 44_100),
    ],
)
async def test_files_are_what_ffmpeg_reads(
    output_format: dict[str, Any], content_type: str, rate_hz: int
) -> None:
    """As long as the text takes, with the pitch of its longer sentence."""
    async with running() as server:
        status, fields, body = await asked(server, post("/tts/bytes", output_format=output_format))
    assert status == 200 and fields["content-type"] == content_type and len(fields["x-request-id"]) == 16
    sound, found_hz = decode_file(body)
    assert found_hz == rate_hz and len(sound) / rate_hz == pytest.approx(0.85, abs=0.13)
    assert dominant_hz(sound, rate_hz) == pytest.approx(440, abs=5)


@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 24000, 44100, 48000])
@pytest.mark.parametrize(
    ("encoding", "sample_bytes"), [("pcm_s16le", 2), ("pcm_f32le", 4), ("pcm_mulaw", 1), ("pcm_alaw", 1)]
)
async def test_raw_sound_has_no_header(encoding: str, sample_bytes: int, rate_hz: int) -> None:
    """A body and the chunks of events hold the same samples."""
    output_format = {"container": "raw", "encoding": encoding, "sample_rate": rate_hz}
    async with running() as server:
        status, _, body = await asked(server, post("/tts/bytes", output_format=output_format))
        _, fields, stream = await asked(server, post("/tts/sse", output_format=output_format))
    assert status == 200 and fields["content-type"].startswith("text/event-stream")
    assert len(body) / sample_bytes / rate_hz == pytest.approx(0.85, abs=0.045)
    *chunks, done = events(stream)
    assert done == {"type": "done", "done": True, "status_code": 200}
    assert {chunk["type"] for chunk in chunks} == {"chunk"}
    assert b"".join(base64.b64decode(chunk["data"]) for chunk in chunks) == body
    assert all(not chunk["done"] and chunk["status_code"] == 206 for chunk in chunks)
    assert all(chunk["step_time"] >= 0 and "context_id" not in chunk for chunk in chunks)


async def test_events_tell_the_times_of_words() -> None:
    """If they are asked for, in seconds, with the context's name in every event."""
    async with running() as server:
        request = post("/tts/sse", add_timestamps=True, context_id="c", generation_config={"speed": 2})
        _, _, body = await asked(server, request)
    found = events(body)
    assert {event["context_id"] for event in found} == {"c"}
    times = [event["word_timestamps"] for event in found if event["type"] == "timestamps"]
    assert [word for time in times for word in time["words"]] == TEXT.split()
    assert all(
        0 <= start < end < 0.5
        for time in times
        for start, end in zip(time["start"], time["end"], strict=True)
    )


@pytest.mark.parametrize("path", ["/tts/bytes", "/tts/sse"])
@pytest.mark.parametrize(
    ("fields", "status", "code", "message"),
    [
        ({"transcript": ""}, 400, "invalid_parameter", "transcript is empty"),
        ({"transcript": " \n"}, 400, "invalid_parameter", "transcript is empty"),
        ({"transcript": None}, 400, "invalid_parameter", "transcript is missing"),
        ({"transcript": ["Hi."]}, 400, "invalid_parameter", "transcript is "),
        ({"transcript": "x" * 2001}, 400, "text_too_long", "transcript has 2001 characters"),
        ({"voice": "nobody"}, 404, "voice_not_found", "no voice is named 'nobody'"),
        ({"output_format": None}, 400, "invalid_parameter", "output_format is missing"),
        (
            {"output_format": RAW | {"container": "ogg"}},
            400,
            "invalid_parameter",
            "output_format.container 'ogg'",
        ),
        (
            {"output_format": RAW | {"sample_rate": 11025}},
            400,
            "invalid_parameter",
            "output_format.sample_rate 11025 is none of 8000",
        ),
        (
            {"output_format": {"container": "raw", "encoding": "pcm_s16le"}},
            400,
            "invalid_parameter",
            "output_format.sample_rate is missing: it may be 8000",
        ),
        (
            {"output_format": RAW | {"encoding": None}},
            400,
            "invalid_parameter",
            "output_format.encoding is missing: it may be pcm_s16le",
        ),
        ({"add_phoneme_timestamps": True}, 400, "invalid_parameter", "add_phoneme_timestamps: this server"),
    ],
)
async def test_a_wrong_request_is_refused(
    path: str, fields: dict[str, Any], status: int, code: str, message: str
) -> None:
    """With an object from 2026-03-01 on, and with a text in older versions."""
    async with running() as server:
        answered, head, body = await asked(server, post(path, NEW, **fields))
        error = json.loads(body)
        assert answered == status and set(error) == {"error_code", "title", "message", "request_id"}
        assert error["error_code"] == code and error["message"].startswith(message) and error["title"]
        assert head["x-request-id"] == error["request_id"]
        for old in (post(path, OLD, **fields), post(path + f"?cartesia_version={OLD}", NEW, **fields)):
            answered, head, body = await asked(server, old)
            assert answered == status and head["content-type"].startswith("text/plain")
            assert body.decode().partition(": ")[2].startswith(message)


@pytest.mark.parametrize("bit_rate", [5, 0, -1])
async def test_a_wrong_bit_rate_is_named_as_the_client_wrote_it(bit_rate: int) -> None:
    """By its path in Cartesia's request, with what it may be; 0 is wrong, too."""
    output_format = {"container": "mp3", "sample_rate": 44100, "bit_rate": bit_rate}
    async with running() as server:
        status, _, body = await asked(server, post("/tts/bytes", output_format=output_format))
    assert status == 400 and f"output_format.bit_rate {bit_rate} is not from 6000 to 256000" in body.decode()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"null"])
async def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    """Whatever the version."""
    async with running() as server:
        head = f"POST /tts/bytes HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n"
        status, _, answer = await server.http(head.encode() + body)
    assert status == 400 and json.loads(answer)["error_code"] in ("invalid_message", "invalid_parameter")


async def test_a_stand_in_is_named() -> None:
    """Who asks for a voice of Cartesia's hears the default one, and is told so."""
    async with running() as server:
        request = post("/tts/bytes", voice="6ccbfb76-1fc6-48f7-b71d-91ac6298247b")
        status, fields, _ = await asked(server, request)
    assert status == 200 and "tone speaks instead" in fields["streamer-warning"]


async def test_too_much_is_429() -> None:
    """With Cartesia's code, and the time after which to come back."""
    async with running(configured(max_utterances_per_key=1), FakeSynthesizer(speed=1.0)) as server:
        async with server.line() as (reader, writer):
            writer.write(post("/tts/bytes", transcript=TEXT * 5))
            await reader.readuntil(b"\r\n\r\n")
            status, fields, body = await asked(server, post("/tts/bytes"))
            assert (status, json.loads(body)["error_code"]) == (429, "concurrency_limited")
            assert fields["retry-after"] == "1"
        await eventually(lambda: server.synthesizer.num_open == 0)


@pytest.mark.parametrize("version", [NEW, OLD])
@pytest.mark.parametrize("text", ["This is broken.", "This is well. This is broken."])
async def test_a_failure_is_a_status_or_the_last_event(text: str, version: str) -> None:
    """Before the first sound it is a status; later the events end with an error, and no `done`."""
    async with running() as server, server.line() as (reader, writer):
        server.synthesizer.fail_on["broken"] = EngineError("it broke")
        writer.write(post("/tts/sse", version, transcript=text))
        status, _, body = await read_answer(reader)
        assert status == (500 if text == "This is broken." else 200)
        if status == 200:
            *chunks, error = events(body)
            assert {chunk["type"] for chunk in chunks} == {"chunk"}
            assert error["type"] == "error" and error["done"] and error["status_code"] == 500
            assert ("error" in error) == (version == OLD)
        writer.write(post("/tts/bytes", version, transcript=text))
        status, _, body = await read_answer(reader)
        assert status == (500 if text == "This is broken." else 200)
        assert status == 500 or len(body) / 48_000 == pytest.approx(0.515, abs=0.1)
        writer.write(post("/tts/bytes"))
        assert (await read_answer(reader))[0] == 200


@pytest.mark.parametrize("output_format", [RAW, WAV, MP3])
async def test_a_text_without_a_word_is_a_short_silence(output_format: dict[str, Any]) -> None:
    """An answer without sound would be taken for a failure."""
    async with running() as server:
        _, _, body = await asked(server, post("/tts/bytes", transcript="...", output_format=output_format))
        _, _, stream = await asked(server, post("/tts/sse", transcript="..."))
    assert [event["type"] for event in events(stream)][-2:] == ["chunk", "done"]
    if output_format == RAW:
        assert len(body) == 4_800 and not any(body)
    else:
        sound, rate_hz = decode_file(body)
        assert 0.1 <= len(sound) / rate_hz < 0.25 and np.abs(sound).max() < 0.001


@pytest.mark.parametrize("path", ["/tts/bytes", "/tts/sse"])
async def test_a_client_that_is_gone_leaves_nothing(path: str) -> None:
    """The speech stops being made."""
    synthesizer = FakeSynthesizer(speed=1.0)
    async with running(synthesizer=synthesizer) as server:
        async with server.line() as (reader, writer):
            writer.write(post(path, transcript=TEXT * 5))
            await reader.readuntil(b"\r\n\r\n")
        await eventually(lambda: synthesizer.num_open == 0)
        await eventually(lambda: figure(server.server, "tts_requests_running") == 0)


VOICES = ("v2/en_one", "v2/en_two", "v2/de_three", "joe", "anna")


@pytest.mark.parametrize(
    ("query", "names", "has_more"),
    [
        ("", list(VOICES), False),
        ("limit=2", list(VOICES[:2]), True),
        ("limit=2&starting_after=v2/en_two", list(VOICES[2:4]), True),
        ("limit=2&starting_after=v2%2Fde_three", list(VOICES[3:]), False),
        ("starting_after=anna", [], False),
        ("limit=2&ending_before=joe", list(VOICES[1:3]), True),
        ("limit=5&ending_before=v2/en_two", list(VOICES[:1]), False),
        ("q=EN_", list(VOICES[:2]), False),
        ("q=nobody", [], False),
        ("is_owner=true&expand[]=preview_file_url", list(VOICES), False),
        ("is_owner=false", [], False),
        ("gender=feminine", [], False),
    ],
)
async def test_voices_are_listed_in_pages(query: str, names: list[str], has_more: bool) -> None:
    """Cartesia's library asks for the next page behind the last voice until one is empty."""
    async with running(synthesizer=FakeSynthesizer(voices=VOICES, languages=("en", "de"))) as server:
        status, page = await got(server, f"/voices?{query}")
    assert status == 200 and [voice["id"] for voice in page["data"]] == names
    assert page["has_more"] is has_more


@pytest.mark.parametrize(
    "path", ["/voices/v2/de_three", "/voices/v2%2Fde_three", "/voices/de_three", "/voices/v2_de_three/"]
)
async def test_a_voice_is_found_by_its_id(path: str) -> None:
    """It has the fields of both versions, with the language that its name begins with."""
    async with running(synthesizer=FakeSynthesizer(voices=VOICES, languages=("en", "de"))) as server:
        status, voice = await got(server, path)
        new_status, error = await got(server, "/voices/nobody")
        old_status, text = await got(server, "/voices/nobody", OLD)
    assert status == 200 and voice["id"] == voice["name"] == "v2/de_three"
    assert voice["language"] == "de" and voice["locales"] == [{"locale": "de", "is_native": True}]
    assert voice["is_owner"] is voice["is_public"] is True and voice["description"]
    assert new_status == 404 and error["error_code"] == "voice_not_found"
    assert old_status == 404 and text == "Voice not found: no voice is named 'nobody'; /v1/voices lists them"


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=many", "limit=-1", "starting_after=nobody"])
async def test_a_wrong_page_is_refused(query: str) -> None:
    """The parameter is named."""
    async with running() as server:
        status, error = await got(server, f"/voices?{query}")
    assert status == 400 and error["message"].startswith(query.partition("=")[0])


async def test_the_lists_keep_the_operators_rule(tmp_path: Any) -> None:
    """`list_access = "key"` closes them, too."""
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    for access, status in (("key", 401), ("public", 200)):
        async with running(configured(server={"api_keys_file": keys, "list_access": access})) as server:
            assert (await got(server, "/voices"))[0] == status
            answered, _, _ = await asked(server, post("/tts/bytes", NEW, "X-API-Key: secret"))
            assert answered == 200
