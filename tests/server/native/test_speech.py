"""`POST /v1/speech`: a text in, its sound out, in a body that streams, or the reason why not."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import socket
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from streamer.errors import EngineError
from streamer.server import connection
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import Running, configured, eventually, figure, read_answer, running

TEXT = "Hello there. How are you today?"


def _post(fields: object, *headers: str) -> bytes:
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    lines = ["POST /v1/speech HTTP/1.1", "Host: test", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def _pcm(server: Running, text: str, **fields: Any) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    request = _post({"text": text, "encoding": "pcm_s16le", "params": {"seed": 1}, **fields})
    status, _, body = await server.http(request)
    assert status == 200
    return np.frombuffer(body, "<i2")


async def test_a_text_is_spoken_into_the_body() -> None:
    """The whole sound that a session hears, in chunks; the answer names the seed that repeats it."""
    async with running() as server:
        status, head, body = await server.http(_post({"text": TEXT, "encoding": "pcm_s16le"}))
        fields = dict(line.split(": ", 1) for line in head.decode().strip().split("\r\n")[1:])
        assert status == 200 and fields["Transfer-Encoding"] == "chunked"
        seed = server.synthesizer.requests[0].params.seed
        assert fields["Streamer-Seed"] == str(seed)
        async with server.client("?encoding=pcm_s16le") as client:
            await client.say("speak", id="a", text=TEXT, lead_ms=None, params={"seed": seed})
            await client.until("done")
        assert body == b"".join(frame.payload for frame in client.frames())
        assert figure(server.server, "tts_requests_total", outcome="ok") == 2
        assert figure(server.server, "tts_text_chars_total") == 2 * len(TEXT)


@pytest.mark.parametrize(
    ("fields", "content_type", "rate_hz"),
    [
        ({}, "audio/ogg; codecs=opus", 48_000),
        ({"encoding": None}, "audio/ogg; codecs=opus", 48_000),
        (
            {"encoding": "ogg_opus", "sample_rate": 16_000, "bitrate": 16_000},
            "audio/ogg; codecs=opus",
            48_000,
        ),
        ({"encoding": "wav", "sample_rate": 48_000}, "audio/wav", 48_000),
    ],
)
async def test_a_file_is_what_it_says(fields: dict[str, Any], content_type: str, rate_hz: int) -> None:
    """A foreign decoder finds the announced sound."""
    async with running() as server:
        status, head, body = await server.http(_post({"text": "Hello there.", **fields}))
    assert status == 200 and f"Content-Type: {content_type}\r\n".encode() in head
    with av.open(io.BytesIO(body)) as container:
        num_samples = sum(frame.samples for frame in container.decode(audio=0))
    assert num_samples / rate_hz == pytest.approx(0.24, abs=0.03)


@pytest.mark.parametrize(
    ("fields", "content_type", "num_bytes"),
    [
        (
            {"encoding": "pcm_s16le"},
            "audio/pcm; rate=24000; channels=1; encoding=signed-int; bits=16; endian=little",
            2,
        ),
        (
            {"encoding": "pcm_f32le", "sample_rate": 16_000},
            "audio/pcm; rate=16000; channels=1; encoding=float; bits=32; endian=little",
            4,
        ),
        ({"encoding": "mulaw"}, "audio/PCMU; rate=8000; channels=1", 1),
        ({"encoding": "alaw", "sample_rate": 16_000}, "audio/PCMA; rate=16000; channels=1", 1),
    ],
)
async def test_bare_samples_are_as_long_as_the_sound(
    fields: dict[str, Any], content_type: str, num_bytes: int
) -> None:
    """Their type tells how to read them."""
    async with running() as server:
        _, head, body = await server.http(_post({"text": "Hello there.", **fields}))
    assert f"Content-Type: {content_type}\r\n".encode() in head
    rate_hz = int(content_type.partition("rate=")[2].partition(";")[0])
    assert len(body) / num_bytes / rate_hz == pytest.approx(0.24, abs=0.01)


async def test_the_fields_of_speak_are_followed() -> None:
    """Voice, speakers, seed, language and format of the text, as in a session."""
    async with running() as server:
        pcm = await _pcm(
            server, "A: One. B: **Two**.", voice="other", speakers={"B": "tone"}, text_format="chat"
        )
        assert len(pcm)
        asked = [
            (request.voice, request.text, request.params.seed) for request in server.synthesizer.requests
        ]
        assert [voice for voice, _, _ in asked] == ["other", "tone"]
        assert "*" not in asked[1][1]


@pytest.mark.parametrize(
    ("body", "status", "code", "param", "remedy"),
    [
        ({"text": "Hi.", "voice": "nobody"}, 400, "voice_not_found", "voice", "/v1/voices"),
        ({"text": "Hi.", "encoding": "mp3"}, 400, "invalid_parameter", "encoding", "ogg_opus"),
        ({"text": "Hi.", "encoding": "opus"}, 400, "invalid_parameter", "encoding", "ogg_opus"),
        ({"text": "Hi.", "encoding": ["wav"]}, 400, "invalid_parameter", "encoding", "ogg_opus"),
        ({"text": "Hi.", "sample_rate": 44_100}, 400, "invalid_parameter", "sample_rate", "44100"),
        ({"text": "Hi.", "bitrate": 1}, 400, "invalid_parameter", "bitrate", "6000"),
        ({"text": "Hi.", "params": {"top_p": 2}}, 400, "invalid_parameter", "params.top_p", ""),
        ({"text": "Hi.", "params": {"tpo_p": 1}}, 400, "invalid_parameter", "params.tpo_p", "tpo_p"),
        ({"text": "Hi.", "vioce": "tone"}, 400, "invalid_parameter", "vioce", "vioce"),
        ({"text": "Hi.", "lead_ms": 10}, 400, "invalid_parameter", "lead_ms", "session"),
        ({"text": "Hi.", "id": "a"}, 400, "invalid_parameter", "id", "session"),
        ({"text": 5}, 400, "invalid_parameter", "text", ""),
        ({"input": "Hi."}, 400, "invalid_parameter", "text", "text"),
        ({}, 400, "invalid_parameter", "text", "text"),
        ({"text": ""}, 400, "invalid_parameter", "text", "nothing to say"),
        ({"text": " \n\t"}, 400, "invalid_parameter", "text", "nothing to say"),
        ({"text": "x" * 2001}, 400, "text_too_long", "text", "2000"),
        ([], 400, "invalid_message", None, "object"),
        (b"text=Hi", 400, "invalid_message", None, "JSON"),
        (b"", 400, "invalid_message", None, "JSON"),
        (b'{"text": "\xff"}', 400, "invalid_message", None, "UTF-8"),
        (b'{"text": NaN}', 400, "invalid_message", None, "NaN"),
        (b'{"text": "a", "text": "b"}', 400, "invalid_message", None, "twice"),
        (b"[" * 50_000, 400, "invalid_message", None, "nested"),
        (b'{"text": "' + b"x" * 70_000 + b'"}', 413, "body_too_large", None, "65536"),
    ],
)
async def test_a_mistake_is_one_clear_answer(
    body: object, status: int, code: str, param: str | None, remedy: str
) -> None:
    """JSON with code, message and the field; nothing was spoken."""
    async with running() as server:
        answered, head, told = await server.http(_post(body))
        error = json.loads(told)["error"]
        assert (answered, error["code"], error.get("param")) == (status, code, param)
        assert remedy in error["message"] and b"application/json" in head
        assert not server.synthesizer.requests


@pytest.mark.parametrize("text", ["...", "😊", "\u200b"])
@pytest.mark.parametrize("encoding", ["wav", "ogg_opus", "pcm_s16le"])
async def test_a_text_without_a_word_is_an_empty_file(text: str, encoding: str) -> None:
    """It is a file of its kind, and not an error."""
    async with running() as server:
        status, _, body = await server.http(_post({"text": text, "encoding": encoding}))
        assert status == 200
        if encoding == "wav":
            assert body[:4] == b"RIFF"
        elif encoding == "ogg_opus":
            assert body[:4] == b"OggS"


@pytest.mark.parametrize(
    ("text", "limits", "outcome"),
    [
        (TEXT, {}, b"completed"),
        ("...", {}, b"completed"),
        ("Hello there. This one is cut.", {}, b"truncated"),
        ("This one is lost. Hello there.", {}, b"truncated"),
        (TEXT * 20, {"max_audio_s": 1.0}, b"truncated"),
    ],
)
async def test_a_trailer_tells_whether_all_was_spoken(
    text: str, limits: dict[str, float], outcome: bytes
) -> None:
    """The body ends as it should in each case, so that nothing else would tell."""
    synthesizer = FakeSynthesizer()
    synthesizer.truncate_on, synthesizer.lose_on = "is cut", {"is lost": 0.0}
    async with running(configured(**limits), synthesizer) as server:
        status, head, _ = await server.http(_post({"text": text}))
    assert status == 200 and b"\r\nTrailer: Streamer-Outcome\r\n" in head
    assert head.endswith(b"\r\nStreamer-Outcome: " + outcome + b"\r\n\r\n")


async def test_the_status_waits_for_the_first_sound() -> None:
    """A failure before it is an answer of its own, and the connection stays usable."""
    synthesizer = FakeSynthesizer()
    synthesizer.fail_on["broken"] = EngineError("the model broke")
    async with running(synthesizer=synthesizer) as server, server.line() as (reader, writer):
        writer.write(_post({"text": "This is broken."}))
        status, _, body = await read_answer(reader)
        assert (status, json.loads(body)["error"]["code"]) == (500, "engine_failed")
        writer.write(_post({"text": "This is well."}))
        assert (await read_answer(reader))[0] == 200
        assert figure(server.server, "tts_requests_total", outcome="error") == 1
        assert figure(server.server, "tts_errors_total", code="engine_failed") == 1


async def test_a_failure_after_the_first_sound_breaks_the_body_off(caplog: pytest.LogCaptureFixture) -> None:
    """The chunk that ends it never comes; the failure is logged and counted."""
    synthesizer = FakeSynthesizer()
    synthesizer.fail_on["broken"] = EngineError("the model broke")
    async with running(synthesizer=synthesizer) as server, server.line() as (reader, writer):
        writer.write(_post({"text": "This is well. This one is broken."}))
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        received = b""
        with contextlib.suppress(ConnectionError):
            received = await reader.read()
        assert not received.endswith(b"0\r\n\r\n")
        await eventually(lambda: figure(server.server, "tts_requests_total", outcome="error") == 1)
        assert figure(server.server, "tts_errors_total", code="engine_failed") == 1
        assert caplog.messages == ["utterance"]


@pytest.mark.parametrize("after_first_sound", [False, True])
async def test_a_client_that_vanishes_cancels_the_speech(after_first_sound: bool) -> None:
    """At once, whether it hears something already or not."""
    synthesizer = FakeSynthesizer(speed=1.0)
    synthesizer.stall_on = None if after_first_sound else "stall"
    async with running(synthesizer=synthesizer) as server:
        async with server.line() as (reader, writer):
            writer.write(_post({"text": "Please stall here for a long time. " * 20}))
            if after_first_sound:
                await reader.readuntil(b"\r\n\r\n")
            await eventually(lambda: synthesizer.num_open > 0)
        await eventually(lambda: synthesizer.num_open == 0)
        await eventually(lambda: figure(server.server, "tts_requests_total", outcome="client_gone") == 1)
        assert figure(server.server, "tts_requests_running") == 0


async def test_a_slow_reader_slows_the_speech_and_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is made far ahead of a client that reads nothing, and in the end it is dropped."""
    monkeypatch.setattr(connection, "SEND_BUFFER_BYTES", 4096)
    synthesizer = FakeSynthesizer(ms_per_char=2000.0, chunk_ms=2000)
    async with running(configured(write_timeout_s=0.3), synthesizer) as server:
        loop, sock = asyncio.get_running_loop(), socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", server.server.port))
        await loop.sock_sendall(sock, _post({"text": TEXT * 20, "encoding": "wav", "sample_rate": 48_000}))
        await eventually(lambda: figure(server.server, "tts_slow_client_closed_total") == 1)
        await eventually(lambda: synthesizer.num_open == 0)
        assert figure(server.server, "tts_requests_total", outcome="client_gone") == 1
        assert len(synthesizer.requests) < 10
        sock.close()


async def test_requests_share_the_quota_with_sessions() -> None:
    """The open utterances of a client are counted together, however it asks; a place that is left is free."""
    synthesizer = FakeSynthesizer(speed=1.0)
    async with (
        running(configured(max_utterances_per_key=2), synthesizer) as server,
        server.client() as client,
        server.line() as (reader, writer),
    ):
        await client.say("start", id="a")
        await client.until("started")
        writer.write(_post({"text": TEXT * 10}))
        await reader.readuntil(b"\r\n\r\n")
        status, head, body = await server.http(_post({"text": TEXT}))
        assert (status, json.loads(body)["error"]["code"]) == (503, "overloaded")
        assert b"Retry-After: 1\r\n" in head
        await client.say("cancel", id="a")
        await client.until("done")
        synthesizer.speed = None
        for _ in range(3):
            assert (await server.http(_post({"text": TEXT})))[0] == 200


async def test_starts_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the rate and its line a request is refused with 429."""
    monkeypatch.setattr("asyncio_throttle.throttler.time", SimpleNamespace(monotonic=lambda: 1.0))
    config = configured(max_starts_per_s=1, max_start_wait_s=0.0)
    async with running(config) as server, server.line() as (_, waiting):
        assert (await server.http(_post({"text": TEXT})))[0] == 200
        waiting.write(_post({"text": TEXT}))
        await eventually(lambda: figure(server.server, "tts_requests_running") == 1)
        status, head, _ = await server.http(_post({"text": TEXT}))
        assert status == 429 and b"Retry-After" in head


async def test_a_key_is_asked_for(tmp_path: Path) -> None:
    """If keys are configured, a header has one, by which utterances are counted."""
    keys = tmp_path / "keys"
    keys.write_text("one\n")
    async with running(configured(server={"api_keys_file": keys})) as server:
        for fields, status in (
            ((), 401),
            (("Authorization: Bearer two",), 401),
            (("Authorization: Bearer one",), 200),
            (("X-API-Key: one",), 200),
        ):
            answered, head, _ = await server.http(_post({"text": "Hi."}, *fields))
            assert answered == status and (b"WWW-Authenticate: Bearer" in head) == (status == 401)
        assert (await server.http(_post({"text": "Hi."}).replace(b"speech ", b"speech?key=one ")))[0] == 400


async def test_a_hundred_requests_at_once_are_bounded() -> None:
    """As many as have a place are spoken, the others are told to come back, and probes are answered throughout."""
    config = configured(max_connections=40, max_connections_per_address=40, max_utterances_per_key=40)
    async with running(config, FakeSynthesizer(speed=0.2)) as server:
        lines = []
        for _ in range(40):
            lines.append(await asyncio.open_connection("127.0.0.1", server.server.port))
            lines[-1][1].write(_post({"text": "Hello there."}))
        await eventually(lambda: server.synthesizer.num_open == 40)
        for _ in range(60):
            assert (await server.http(_post({"text": "Hi."})))[0] == 503
        assert (await server.get("/livez"))[0] == 200
        server.synthesizer.speed = None
        for reader, writer in lines:
            assert (await read_answer(reader))[0] == 200
            writer.close()
            await writer.wait_closed()


async def test_an_answer_to_http_1_0_ends_with_its_connection() -> None:
    """Without chunks, for clients that know none."""
    async with running() as server:
        request = _post({"text": "Hello there.", "encoding": "wav"}).replace(b"HTTP/1.1", b"HTTP/1.0")
        status, head, body = await server.http(request)
        assert status == 200 and b"chunked" not in head
        with wave.open(io.BytesIO(body)) as sound:
            assert sound.getframerate() == 24_000
            assert len(sound.readframes(1_000_000)) / 2 / 24_000 == pytest.approx(0.24, abs=0.01)


async def test_speed_and_markup_are_those_of_speak() -> None:
    """The fields have the same names and bounds as over the WebSocket, and a pause is in the body."""
    async with running() as server:
        usual = await _pcm(server, "Hello there.")
        assert len(await _pcm(server, "Hello there.", speed=2)) == pytest.approx(len(usual) / 2, abs=50)
        assert len(await _pcm(server, "Hello there.[pause:2]")) == len(usual) + 2 * 24_000
        assert len(await _pcm(server, "Hello there.[pause:2]", markup=False)) > len(usual)
        status, _, body = await server.http(_post({"text": "Hi.", "speed": 3}))
        assert status == 400 and json.loads(body)["error"]["param"] == "speed"
