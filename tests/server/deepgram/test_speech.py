"""`POST /v1/speak`: Deepgram's clients get sound in the format they ask for, or a reason that they understand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from streamer.errors import EngineError
from tests.audio.decoding import decode_file, dominant_hz
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import Running, configured, eventually, figure, read_answer, running

TEXT = "Hello there. How are you today?"


def post(body: object, query: str = "", *headers: str) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST /v1/speak?{query} HTTP/1.1", "Host: test", f"Content-Length: {len(data)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


async def asked(
    server: Running, query: str = "", body: object = None, *headers: str
) -> tuple[int, Mapping[str, str], bytes]:
    """Return status, header fields by their names in lower case, and body."""
    request = post({"text": TEXT} if body is None else body, query, *headers)
    status, head, answer = await server.http(request)
    lines = (line.split(": ", 1) for line in head.decode().strip().split("\r\n")[1:])
    return status, {name.lower(): value for name, value in lines}, answer


@pytest.mark.parametrize(
    ("query", "content_type", "rate_hz"),
    [
        ("", "audio/mpeg", 24_000),
        ("encoding=mp3", "audio/mpeg", 24_000),
        ("encoding=mp3&bit_rate=32000", "audio/mpeg", 24_000),
        ("encoding=mp3&sample_rate=22050", "audio/mpeg", 22_050),
        ("encoding=linear16", "audio/wav", 24_000),
        ("encoding=linear16&container=wav&sample_rate=48000", "audio/wav", 48_000),
        ("encoding=mulaw", "audio/wav", 8_000),
        ("encoding=alaw&sample_rate=16000", "audio/wav", 16_000),
        ("encoding=opus", "audio/ogg; codecs=opus", 48_000),
        ("encoding=opus&container=ogg&bit_rate=12000.0", "audio/ogg; codecs=opus", 48_000),
        ("encoding=flac", "audio/flac", 24_000),
        ("encoding=flac&sample_rate=32000", "audio/flac", 32_000),
        ("encoding=aac&bit_rate=48000", "audio/aac", 24_000),
    ],
)
async def test_each_format_is_a_file_that_ffmpeg_reads(query: str, content_type: str, rate_hz: int) -> None:
    """It is as long as the text takes, up to a codec's frames, and has the pitch of its longer sentence."""
    async with running() as server:
        status, fields, body = await asked(server, query)
    assert status == 200 and fields["content-type"] == content_type
    sound, found_hz = decode_file(body)
    assert found_hz == rate_hz
    assert len(sound) / rate_hz == pytest.approx(0.85, abs=0.13)
    assert dominant_hz(sound, rate_hz) == pytest.approx(440, abs=5)


@pytest.mark.parametrize(
    ("query", "bytes_per_s", "content_type"),
    [
        ("encoding=linear16&container=none", 48_000, "audio/pcm"),
        ("encoding=linear16&container=none&sample_rate=8000", 16_000, "audio/pcm"),
        ("encoding=linear16&container=none&sample_rate=24000.0", 48_000, "audio/pcm"),
        ("encoding=mulaw&container=none", 8_000, "audio/PCMU"),
        ("encoding=alaw&container=none&sample_rate=16000", 16_000, "audio/PCMA"),
        ("encoding=linear16&container=none&speed=2", 24_000, "audio/pcm"),
    ],
)
async def test_samples_have_no_header_if_none_is_asked_for(
    query: str, bytes_per_s: int, content_type: str
) -> None:
    """pipecat and LiveKit ask so; the type says the rate."""
    async with running() as server:
        status, fields, body = await asked(server, query)
    assert status == 200 and fields["content-type"].startswith(f"{content_type}; rate=")
    assert len(body) / bytes_per_s == pytest.approx(0.85, abs=0.045)
    assert b"RIFF" not in body[:4] and len(body) % 2 in (0, int("16" not in query))


async def test_the_header_fields_name_the_request_and_the_voice() -> None:
    """`dg-request-id` is the name by which the log knows the speech."""
    async with running() as server:
        _, fields, _ = await asked(server, "model=other")
    assert fields["dg-model-name"] == "other" and len(fields["dg-model-uuid"]) == 36
    assert fields["dg-char-count"] == str(len(TEXT)) and len(fields["dg-request-id"]) == 16
    assert "dg-warning" not in fields and fields["transfer-encoding"] == "chunked"


async def test_a_stand_in_is_named() -> None:
    """A client that asks for a voice of Deepgram's hears the default one, and is told so."""
    async with running() as server:
        status, fields, _ = await asked(server, "model=aura-2-thalia-en")
    assert status == 200 and fields["dg-model-name"] == "tone"
    assert "'aura-2-thalia-en'" in fields["dg-warning"]


async def test_a_stand_in_is_named_whatever_a_voice_is_called() -> None:
    """A name that a header field cannot hold is no failure: the long s counts as an `s` where capitals do not."""
    async with running() as server:
        status, fields, _ = await asked(server, "model=aura-a%C5%BFteria-en")
    assert status == 200 and "'aura-a?teria-en'" in fields["dg-warning"]


@pytest.mark.parametrize(
    ("query", "body", "reason"),
    [
        ("", {"url": "http://example.com/text"}, "url: this server fetches no texts; send it as `text`"),
        ("", {"url": "http://x", "text": "Hi."}, "url: this server fetches no texts"),
        ("", {}, "text is missing: there is nothing to say"),
        ("", {"text": ""}, "text is empty"),
        ("", {"text": " \n"}, "text is empty"),
        ("", {"text": None}, "text is missing"),
        ("", {"text": 5}, "text is 5; it must be a text"),
        ("", [], "the message is a list; it must be an object"),
        ("", b"", "this is not JSON"),
        ("", b"{", "this is not JSON"),
        ("", b"\xff", "this is not JSON"),
        ("", b"[" * 5_000, "the message is wrong; it must be an object"),
        ("encoding=vorbis", None, "encoding 'vorbis' is none of linear16, mulaw, alaw, mp3, flac, aac, opus"),
        ("encoding=mp3&container=wav", None, "container 'wav': mp3 may have none"),
        ("encoding=opus&container=none", None, "container 'none': opus may have ogg"),
        ("encoding=linear16&container=ogg", None, "container 'ogg': linear16 may have wav or none"),
        ("encoding=linear16&sample_rate=11025", None, "sample_rate 11025 is none of"),
        ("encoding=opus&sample_rate=44100", None, "sample_rate 44100 is none of"),
        ("encoding=mp3&bit_rate=1", None, "bit_rate 1 is not from 6000 to 256000"),
        ("encoding=mp3&bit_rate=many", None, "bit_rate 'many' is no number"),
        ("speed=0.1", None, "speed 0.1 is not from"),
        ("model=nobody", None, "no voice is named 'nobody'"),
        ("callback=http://x", None, "callback: this server calls no addresses"),
    ],
)
async def test_a_wrong_request_is_refused(query: str, body: object, reason: str) -> None:
    """The body is Deepgram's, and says what is wrong."""
    async with running() as server:
        status, fields, answer = await asked(server, query, body)
        error = json.loads(answer)
        assert status == 400 and set(error) == {"err_code", "err_msg", "request_id"}
        assert error["err_code"] == "Bad Request" and error["err_msg"].startswith(reason)
        assert fields["dg-request-id"] == error["request_id"]
        assert fields["dg-error"][:60] == error["err_msg"].strip()[:60]


async def test_a_long_text_is_413() -> None:
    """The limit is that of a text of a session."""
    async with running(configured(max_text_chars=10)) as server:
        status, _, body = await asked(server, "", {"text": "x" * 11})
    assert status == 413 and json.loads(body)["err_msg"] == "text has 11 characters; it may have 10"


async def test_errors_have_deepgrams_codes(tmp_path: Any) -> None:
    """401 without a key, 503 when too much is open already."""
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    config = configured(server={"api_keys_file": keys}, max_utterances_per_key=1)
    async with running(config, FakeSynthesizer(speed=1.0)) as server:
        status, _, body = await asked(server)
        assert (status, json.loads(body)["err_code"]) == (401, "INVALID_AUTH")
        async with server.line() as (reader, writer):
            writer.write(post({"text": TEXT * 5}, "", "Authorization: Token secret"))
            await reader.readuntil(b"\r\n\r\n")
            status, fields, body = await asked(server, "", None, "Authorization: Bearer secret")
            assert (status, json.loads(body)["err_code"]) == (503, "SERVICE_UNAVAILABLE")
            assert fields["retry-after"] == "1"
        await eventually(lambda: server.synthesizer.num_open == 0)


async def test_a_failure_before_the_first_sound_is_a_status() -> None:
    """The connection stays usable."""
    async with running() as server, server.line() as (reader, writer):
        server.synthesizer.fail_on["broken"] = EngineError("it broke")
        writer.write(post({"text": "This is broken."}))
        status, _, body = await read_answer(reader)
        assert (status, json.loads(body)["err_code"]) == (500, "INTERNAL_SERVER_ERROR")
        writer.write(post({"text": "This is well."}))
        assert (await read_answer(reader))[0] == 200


@pytest.mark.parametrize("query", ["encoding=linear16&container=none", "encoding=mp3", "encoding=mulaw"])
async def test_a_failure_after_the_first_sound_ends_the_body(query: str) -> None:
    """Clients repeat what is cut, and their listeners would hear the beginning again."""
    async with running() as server, server.line() as (reader, writer):
        server.synthesizer.fail_on["broken"] = EngineError("it broke")
        writer.write(post({"text": "This is well. This is broken."}, query))
        status, _, body = await read_answer(reader)
        assert status == 200 and body
        assert "none" not in query or len(body) / 48_000 == pytest.approx(0.515, abs=0.1)
        assert figure(server.server, "tts_errors_total", code="engine_failed") == 1
        writer.write(post({"text": "This is well."}))
        assert (await read_answer(reader))[0] == 200


@pytest.mark.parametrize("query", ["encoding=linear16", "encoding=mp3", "encoding=opus", "encoding=alaw"])
async def test_a_text_without_a_word_is_a_short_silence(query: str) -> None:
    """A file without sound would be taken for a failure."""
    async with running() as server:
        status, _, body = await asked(server, query, {"text": "..."})
    sound, rate_hz = decode_file(body)
    assert status == 200 and 0.1 <= len(sound) / rate_hz < 0.25
    assert np.abs(sound).max() < 0.001


async def test_a_client_that_is_gone_leaves_nothing() -> None:
    """The speech stops being made."""
    synthesizer = FakeSynthesizer(speed=1.0)
    async with running(synthesizer=synthesizer) as server:
        async with server.line() as (reader, writer):
            writer.write(post({"text": TEXT * 5}))
            await reader.readuntil(b"\r\n\r\n")
        await eventually(lambda: synthesizer.num_open == 0)
        await eventually(lambda: figure(server.server, "tts_requests_running") == 0)
