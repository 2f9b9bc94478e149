"""`POST /v1/audio/speech`: OpenAI's clients get sound, or a reason they understand, and never a torn connection."""

from __future__ import annotations

import base64
import contextlib
import io
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from streamer.errors import AudioEncodeError, EngineError, ModelNumericError, StreamerError
from tests.audio.decoding import dominant_hz
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import Running, configured, eventually, figure, read_answer, running

TEXT = "Hello there. How are you today?"
FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")


def post(fields: object, *headers: str, path: str = "/v1/audio/speech") -> bytes:
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def asked(
    server: Running, path: str = "/v1/audio/speech", **fields: Any
) -> tuple[int, Mapping[str, str], bytes]:
    """Return status, header fields by their names in lower case, and body."""
    request = post({"model": "tts-1", "voice": "tone", "input": TEXT} | fields, path=path)
    status, head, body = await server.http(request)
    lines = (line.split(": ", 1) for line in head.decode().strip().split("\r\n")[1:])
    return status, {name.lower(): value for name, value in lines}, body


def decoded(body: bytes, response_format: str) -> tuple[np.ndarray[Any, np.dtype[np.float64]], int]:
    """Return the sound and its rate as ffmpeg reads it."""
    if response_format == "pcm":
        return np.frombuffer(body, "<i2") / 32_768, 24_000
    with av.open(io.BytesIO(body)) as container:
        frames = list(container.decode(audio=0))
        arrays = [frame.to_ndarray()[0].astype(np.float64) for frame in frames]
        return np.concatenate(arrays), frames[0].sample_rate


@contextlib.asynccontextmanager
async def failing(error: StreamerError) -> AsyncIterator[Running]:
    """A server whose model fails at the word `broken`."""
    synthesizer = FakeSynthesizer()
    synthesizer.fail_on["broken"] = error
    async with running(synthesizer=synthesizer) as server:
        yield server


@pytest.mark.parametrize(
    ("response_format", "content_type"),
    [
        ("mp3", "audio/mpeg"),
        ("opus", "audio/ogg; codecs=opus"),
        ("aac", "audio/aac"),
        ("flac", "audio/flac"),
        ("wav", "audio/wav"),
        ("pcm", "audio/pcm; rate=24000; channels=1; encoding=signed-int; bits=16; endian=little"),
        (None, "audio/mpeg"),
    ],
)
async def test_each_format_is_what_its_type_says(response_format: str | None, content_type: str) -> None:
    """As long as the PCM of the same text up to a codec's frames, with the same strongest pitch."""
    async with running() as server:
        _, _, pcm = await asked(server, response_format="pcm")
        status, fields, body = await asked(server, response_format=response_format)
    assert status == 200 and fields["content-type"] == content_type
    assert fields["transfer-encoding"] == "chunked" and "connection" not in fields
    assert fields["x-sample-rate"] == "24000" and len(fields["x-request-id"]) == 16
    expected, _ = decoded(pcm, "pcm")
    sound, rate_hz = decoded(body, response_format or "mp3")
    assert len(sound) / rate_hz == pytest.approx(len(expected) / 24_000, abs=0.13)
    assert dominant_hz(sound, rate_hz) == pytest.approx(dominant_hz(expected, 24_000), abs=5)


@pytest.mark.parametrize("response_format", FORMATS)
@pytest.mark.parametrize("speed", [0.25, 0.5, 1, 1.5, 4.0])
async def test_the_speed_shortens_the_sound(response_format: str, speed: float) -> None:
    """It does not change how the sentences are made."""
    async with running() as server:
        status, _, body = await asked(server, response_format=response_format, speed=speed, input=TEXT * 3)
        assert status == 200
    sound, rate_hz = decoded(body, response_format)
    assert len(sound) / rate_hz == pytest.approx(3.08 / speed, abs=0.2)


@pytest.mark.parametrize("response_format", FORMATS)
async def test_events_carry_the_same_sound(response_format: str) -> None:
    """`stream_format: sse` has one event for each piece, and a last one that tells what was used."""
    async with running() as server:
        _, _, file = await asked(server, response_format=response_format)
        status, fields, body = await asked(server, response_format=response_format, stream_format="sse")
    assert status == 200 and fields["content-type"].startswith("text/event-stream")
    lines = body.decode().split("\n\n")
    assert lines.pop() == "" and all(line.startswith("data: ") for line in lines)
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    sound = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert len(sound) == pytest.approx(len(file), rel=0.05)
    assert events[-1]["type"] == "speech.audio.done"
    usage = events[-1]["usage"]
    assert usage["input_tokens"] == 6 and usage["output_tokens"] == pytest.approx(0.85 * 75, abs=2)
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


@pytest.mark.parametrize("path", ["/v1/audio/speech/", "/v1//audio/speech", "//v1/audio//speech//"])
async def test_slashes_are_no_matter(path: str) -> None:
    """Clients join their base address and the path as they please."""
    async with running() as server:
        assert (await asked(server, path))[0] == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"model": None},
        {"model": "fake"},
        {"model": "tts-1-hd"},
        {"model": "tts-1-1106"},
        {"model": "gpt-4o-mini-tts"},
        {"model": "gpt-4o-mini-tts-2025-12-15"},
        {"voice": None},
        {"voice": {"id": "other"}},
        {"voice": {"id": "other", "name": "x"}},
        {"instructions": None, "speed": None, "response_format": None, "stream_format": None},
        {"stream": True, "lang": "en", "seed": 3, "chunking": {"deep": [[[1]]]}},
        {"input": "word " * 819 + "x"},
        {"input": "😀😀😀 word words " * 256},
    ],
)
async def test_what_clients_send_is_accepted(fields: dict[str, Any]) -> None:
    """Aliases, nulls, fields of other servers, and a text as long as OpenAI allows."""
    async with running(synthesizer=FakeSynthesizer(ms_per_char=1.0)) as server:
        status, answered, body = await asked(server, **fields)
        assert status == 200 and body and "streamer-warning" not in answered


async def test_a_long_text_is_spoken_to_its_end() -> None:
    """Every word of 4,096 characters, though one text of a session is shorter."""
    text = " ".join(f"word{number}." if number % 9 == 0 else f"word{number}" for number in range(2000))[:4096]
    async with running(configured(max_text_chars=100)) as server:
        assert (await asked(server, input=text, response_format="pcm", speed=4))[0] == 200
        spoken = " ".join(request.text for request in server.synthesizer.requests)
    assert spoken.replace(".", "").split() == text.replace(".", "").split()


async def test_instructions_are_warned_of() -> None:
    """The speech is made all the same."""
    async with running() as server:
        status, fields, _ = await asked(server, instructions="Whisper.")
    assert status == 200 and "instructions" in fields["streamer-warning"]


@pytest.mark.parametrize(
    ("body", "status", "code", "param", "remedy"),
    [
        ({"input": "Hi.", "voice": "nobody"}, 400, "voice_not_found", "voice", "/v1/audio/voices"),
        ({"input": "Hi.", "voice": {"id": "nobody"}}, 400, "voice_not_found", "voice", "nobody"),
        (
            {"input": "Hi.", "voice": ""},
            400,
            "invalid_parameter",
            "voice",
            "voice is empty; it must be a text of 1 to 128",
        ),
        ({"input": "Hi.", "voice": 5}, 400, "invalid_parameter", "voice", ""),
        ({"input": "Hi.", "model": "tts-11"}, 404, "model_not_found", "model", "tts-11"),
        ({"input": "Hi.", "model": "whisper-1"}, 404, "model_not_found", "model", "tts-1"),
        (
            {"input": "Hi.", "response_format": "vorbis"},
            400,
            "invalid_parameter",
            "response_format",
            "vorbis",
        ),
        ({"input": "Hi.", "stream_format": "ws"}, 400, "invalid_parameter", "stream_format", "ws"),
        ({"input": "Hi.", "speed": 0.2}, 400, "invalid_parameter", "speed", "0.25"),
        ({"input": "Hi.", "speed": 4.5}, 400, "invalid_parameter", "speed", "4"),
        (
            {"input": "Hi.", "speed": "fast"},
            400,
            "invalid_parameter",
            "speed",
            "it must be a number from 0.25 to 4",
        ),
        (
            {"input": "Hi.", "speed": True},
            400,
            "invalid_parameter",
            "speed",
            "it must be a number from 0.25 to 4",
        ),
        ({"input": ""}, 400, "invalid_parameter", "input", "nothing to say"),
        ({"input": " \n"}, 400, "invalid_parameter", "input", "nothing to say"),
        ({"input": None}, 400, "invalid_parameter", "input", ""),
        ({"input": "x" * 4097}, 400, "text_too_long", "input", "4096"),
        ({"text": "Hi."}, 400, "invalid_parameter", "input", "input is missing"),
        ([], 400, "invalid_parameter", None, "object"),
        (b"input=Hi", 400, "invalid_message", None, "JSON"),
        (b"", 400, "invalid_message", None, "JSON"),
        (b'{"input": "\xff"}', 400, "invalid_message", None, "JSON"),
        (b'{"input": "a", "x": ' + b"[" * 50_000 + b"}", 400, "invalid_message", None, "JSON"),
        (b'{"input": "' + b"x" * 70_000 + b'"}', 413, "body_too_large", None, "65536"),
    ],
)
async def test_a_mistake_is_told_as_openai_does(
    body: object, status: int, code: str, param: str | None, remedy: str
) -> None:
    """Message, type, param and code, and nothing was spoken."""
    async with running() as server:
        answered, head, told = await server.http(post(body))
        error = json.loads(told)["error"]
        assert (answered, error["code"], error["param"]) == (status, code, param)
        assert error["type"] == "invalid_request_error" and set(error) == {"message", "type", "param", "code"}
        assert remedy in error["message"] and b"application/json" in head
        assert not server.synthesizer.requests


async def test_a_key_is_asked_for_as_openai_does(tmp_path: Path) -> None:
    """Where keys are configured; a wrong one and none are told in OpenAI's shape."""
    keys = tmp_path / "keys"
    keys.write_text("one\n")
    async with running(configured(server={"api_keys_file": keys})) as server:
        for fields, status in (
            ((), 401),
            (("Authorization: Bearer two",), 401),
            (("Authorization: Bearer one",), 200),
        ):
            answered, _, body = await server.http(post({"input": "Hi."}, *fields))
            assert answered == status
            if status == 401:
                error = json.loads(body)["error"]
                assert (error["code"], error["type"]) == ("invalid_api_key", "invalid_request_error")


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
@pytest.mark.parametrize(
    "error", [EngineError("broke"), ModelNumericError("not a number"), AudioEncodeError("broke")]
)
async def test_a_failure_before_the_first_sound_is_a_status(error: StreamerError, stream_format: str) -> None:
    """The connection stays usable."""
    async with failing(error) as server, server.line() as (reader, writer):
        writer.write(post({"input": "This is broken.", "stream_format": stream_format}))
        status, _, body = await read_answer(reader)
        assert status >= 400 and json.loads(body)["error"]["code"] == error.code
        writer.write(post({"input": "This is well."}))
        assert (await read_answer(reader))[0] == 200
        assert figure(server.server, "tts_errors_total", code=error.code) == 1


async def test_an_overloaded_server_says_when_to_come_back() -> None:
    """503 with `Retry-After`, which OpenAI's library honours."""
    async with running(configured(max_utterances_per_key=1), FakeSynthesizer(speed=1.0)) as server:
        async with server.line() as (reader, writer):
            writer.write(post({"input": TEXT * 10}))
            await reader.readuntil(b"\r\n\r\n")
            status, fields, body = await asked(server)
            assert status == 503 and fields["retry-after"] == "1"
            assert json.loads(body)["error"]["type"] == "server_error"
        await eventually(lambda: server.synthesizer.num_open == 0)


@pytest.mark.parametrize("response_format", FORMATS)
@pytest.mark.parametrize("stream_format", ["audio", "sse"])
async def test_a_failure_after_the_first_sound_ends_the_body(
    response_format: str, stream_format: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Clients repeat what is cut, and so their listeners hear the beginning again; it is logged and counted."""
    fields = {"input": "This is well. This is broken.", "response_format": response_format}
    async with failing(EngineError("broke")) as server, server.line() as (reader, writer):
        writer.write(post(fields | {"stream_format": stream_format}))
        status, _, body = await read_answer(reader)
        assert status == 200
        if stream_format == "sse":
            events = [json.loads(line.removeprefix("data: ")) for line in body.decode().strip().split("\n\n")]
            assert events.pop()["type"] == "speech.audio.done"
            body = b"".join(base64.b64decode(event["audio"]) for event in events)
        assert response_format != "pcm" or len(body) % 2 == 0
        sound, rate_hz = decoded(body, response_format)
        assert len(sound) / rate_hz == pytest.approx(0.515, abs=0.1)
        assert figure(server.server, "tts_requests_total", outcome="error") == 1
        assert figure(server.server, "tts_errors_total", code="engine_failed") == 1
        assert caplog.messages == ["utterance"]
        writer.write(post({"input": "This is well."}))
        assert (await read_answer(reader))[0] == 200


@pytest.mark.parametrize("response_format", FORMATS)
@pytest.mark.parametrize("text", ["...", "😊", "♪ ♪"])
async def test_a_text_without_a_word_is_a_short_silence(response_format: str, text: str) -> None:
    """A file without sound would be taken for a failure."""
    async with running() as server:
        status, _, body = await asked(server, input=text, response_format=response_format)
    sound, rate_hz = decoded(body, response_format)
    assert status == 200 and 0.1 <= len(sound) / rate_hz < 0.25 and np.abs(sound).max() < 0.001


@pytest.mark.parametrize("text", ["A.", "Hello there.", TEXT, "One. Two. Three."])
@pytest.mark.parametrize("speed", [0.7, 1.0, 1.3])
async def test_pcm_has_whole_samples(text: str, speed: float) -> None:
    """An odd byte would shift all that a client plays afterwards into noise."""
    async with running() as server:
        _, _, body = await asked(server, input=text, speed=speed, response_format="pcm")
    assert body and len(body) % 2 == 0


async def test_the_longest_sound_is_that_which_is_heard() -> None:
    """`max_audio_s` bounds the answer at every speed."""
    async with running(configured(max_audio_s=1.0)) as server:
        for speed in (0.5, 2.0):
            _, _, body = await asked(
                server, input="Word after word. " * 100, response_format="pcm", speed=speed
            )
            assert len(body) / 48_000 == pytest.approx(1.0, abs=0.3)


async def test_many_speeches_use_one_connection() -> None:
    """A client sends a request for each sentence."""
    async with running() as server, server.line() as (reader, writer):
        for response_format in FORMATS * 2:
            writer.write(post({"input": "Hi there.", "response_format": response_format}))
            status, head, _ = await read_answer(reader)
            assert status == 200 and b"Connection: close" not in head
        assert server.server.num_connections == 1


async def test_a_page_of_an_allowed_origin_may_ask() -> None:
    """The preflight allows what OpenAI's library for browsers sends."""
    names = "authorization,content-type,x-stainless-lang,x-stainless-retry-count"
    fields = f"Origin: https://a.example\r\nAccess-Control-Request-Headers: {names}"
    request = f"OPTIONS /v1/audio/speech HTTP/1.1\r\nHost: test\r\n{fields}\r\n\r\n"
    async with running(configured(server={"allowed_origins": ("https://a.example",)})) as server:
        status, head, _ = await server.http(request.encode())
        assert status == 204 and f"Access-Control-Allow-Headers: {names}\r\n".encode() in head
        assert b"Access-Control-Allow-Methods: OPTIONS, POST\r\n" in head
