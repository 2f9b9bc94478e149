"""The addresses of ElevenLabs' API over real connections: voices by any spelling, keys from any place, two shapes."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streamer.config import Config
from streamer.errors import EngineError
from tests.audio.decoding import decode_file
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.elevenlabs.conversing import sound
from tests.server.speaking import Running, configured, eventually, figure, running

VOICES = ("v2/en_speaker_6", "en_speaker_6", "tone", "de/marlene_1")
TEXT = "Hello there. How are you?"


@contextlib.asynccontextmanager
async def connected(server: Running, path: str, **options: Any) -> AsyncIterator[ClientConnection]:
    url = f"ws://127.0.0.1:{server.server.port}/v1/text-to-speech/{path}"
    async with connect(url, proxy=None, compression=None, **options) as websocket:
        yield websocket


async def conversation(websocket: ClientConnection, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Say something and listen until the server closes."""
    for message in messages:
        await websocket.send(json.dumps(message))
    received = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            received.append(json.loads(await websocket.recv()))
    return received


async def posted(server: Running, path: str, body: object, *fields: str) -> tuple[int, dict[str, str], bytes]:
    """POST JSON; returns status, header fields and body."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"POST /v1/text-to-speech/{path} HTTP/1.1", "Host: test", f"Content-Length: {len(data)}", *fields]
    status, answered, got = await server.http("\r\n".join(head).encode() + b"\r\n\r\n" + data)
    lines = answered.decode().strip().split("\r\n")[1:]
    return status, {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}, got


async def listed(server: Running, path: str, *fields: str) -> tuple[int, Any]:
    status, _, body = await server.http(
        "\r\n".join((f"GET {path} HTTP/1.1", "Host: t", *fields, "", "")).encode()
    )
    return status, json.loads(body)


@pytest.mark.parametrize(
    ("asked", "voice"),
    [
        ("v2/en_speaker_6", "v2/en_speaker_6"),
        ("v2%2Fen_speaker_6", "v2/en_speaker_6"),
        ("v2%2fen_speaker_6", "v2/en_speaker_6"),
        ("v2_en_speaker_6", "v2/en_speaker_6"),
        ("en_speaker_6", "en_speaker_6"),
        ("/v2//en_speaker_6", "v2/en_speaker_6"),
        ("tone", "tone"),
        ("marlene_1", "de/marlene_1"),
        ("de_marlene_1", "de/marlene_1"),
    ],
)
async def test_a_voice_may_have_a_slash_in_every_spelling(asked: str, voice: str) -> None:
    """Encoded, raw, as an underscore, or without its folder; over WebSocket and HTTP."""
    async with running(synthesizer=FakeSynthesizer(voices=VOICES)) as server:
        for ending in ("stream-input", "multi-stream-input"):
            async with connected(server, f"{asked}/{ending}?output_format=pcm_8000") as websocket:
                await conversation(websocket, {"text": "Hi."}, {"close_socket": True})
        for ending in ("", "/stream", "/with-timestamps", "/stream/with-timestamps"):
            assert (await posted(server, f"{asked}{ending}?output_format=pcm_8000", {"text": "Hi."}))[
                0
            ] == 200
        assert (await listed(server, f"/v1/voices/{asked}"))[1]["voice_id"] == voice
        assert [request.voice for request in server.synthesizer.requests] == [voice] * 6


FORMATS = {
    "pcm_8000": 8_000,
    "pcm_16000": 16_000,
    "pcm_22050": 22_050,
    "pcm_24000": 24_000,
    "pcm_32000": 32_000,
    "pcm_44100": 44_100,
    "pcm_48000": 48_000,
    "ulaw_8000": 8_000,
    "alaw_8000": 8_000,
    "wav_22050": 22_050,
    "mp3_22050_32": 22_050,
    "mp3_24000_48": 24_000,
    "mp3_44100": 44_100,
    "mp3_44100_32": 44_100,
    "mp3_44100_192": 44_100,
    "opus_48000_32": 48_000,
    "opus_48000_192": 48_000,
}


def duration_s(data: bytes, output_format: str) -> float:
    """How long a sound is, decoded by another decoder unless it is plain samples."""
    rate_hz = FORMATS[output_format]
    kind = output_format.partition("_")[0]
    if kind in ("pcm", "ulaw", "alaw"):
        return len(data) / rate_hz / (2 if kind == "pcm" else 1)
    decoded, decoded_hz = decode_file(data)
    assert decoded_hz == rate_hz
    return len(decoded) / rate_hz


@pytest.mark.parametrize("output_format", FORMATS)
async def test_every_format_holds_the_whole_sound(output_format: str) -> None:
    """All pieces of a context together are one stream, over WebSocket and HTTP; MP3 adds its frames' padding."""
    async with running() as server:
        durations = []
        async with connected(server, f"tone/stream-input?output_format={output_format}") as websocket:
            received = await conversation(websocket, {"text": TEXT}, {"text": ""})
            durations.append(duration_s(sound(received), output_format))
        async with connected(server, f"tone/multi-stream-input?output_format={output_format}") as websocket:
            both = [{"text": TEXT, "context_id": name} for name in ("c1", "c2")]
            received = await conversation(websocket, *both, {"close_socket": True})
            for name in ("c1", "c2"):
                of_one = [message for message in received if message.get("contextId") == name]
                durations.append(duration_s(sound(of_one), output_format))
        status, fields, body = await posted(server, f"tone?output_format={output_format}", {"text": TEXT})
        durations.append(duration_s(body, output_format))
        assert status == 200 and fields["content-type"].startswith("audio/")
        assert durations == pytest.approx([0.74] * 4, abs=0.08 if output_format.startswith("mp3") else 0.01)
        assert len(set(durations)) == 1


async def test_mp3_is_what_a_client_gets_that_names_no_format() -> None:
    """As ElevenLabs has it: 44.1 kHz, 128 kbit/s."""
    async with running() as server:
        async with connected(server, "tone/stream-input") as websocket:
            received = await conversation(websocket, {"text": TEXT}, {"text": ""})
        _, fields, body = await posted(server, "tone", {"text": TEXT})
    assert decode_file(sound(received))[1] == decode_file(body)[1] == 44_100
    assert fields["content-type"] == "audio/mpeg" and fields["character-cost"] == str(len(TEXT))
    assert len(body) * 8 / 0.74 == pytest.approx(128_000, rel=0.15)


async def test_timestamps_come_with_the_sound() -> None:
    """A line for each piece, or one JSON for all: the characters of the text in order, in seconds of the sound."""
    async with running() as server:
        path = "tone{}?output_format=pcm_24000"
        _, fields, body = await posted(server, path.format("/stream/with-timestamps"), {"text": TEXT})
        lines = [json.loads(line) for line in body.splitlines()]
        assert len(lines) > 5 and all(len(line) < 65_536 for line in body.splitlines())
        _, whole_fields, whole = await posted(server, path.format("/with-timestamps"), {"text": TEXT})
        _, _, plain = await posted(server, path.format(""), {"text": TEXT})
    assert whole_fields["content-type"].startswith("application/json")
    assert fields["content-type"] == "application/x-ndjson"
    together = json.loads(whole)
    assert b"".join(base64.b64decode(line["audio_base64"]) for line in lines) == plain
    assert base64.b64decode(together["audio_base64"]) == plain
    for pieces in (lines, [together]):
        alignments = [piece["alignment"] for piece in pieces if piece["alignment"]]
        assert alignments == [piece["normalized_alignment"] for piece in pieces if piece["alignment"]]
        chars = [char for alignment in alignments for char in alignment["characters"]]
        starts = [at for alignment in alignments for at in alignment["character_start_times_seconds"]]
        ends = [at for alignment in alignments for at in alignment["character_end_times_seconds"]]
        assert "".join(chars) == TEXT + " " and len(starts) == len(ends) == len(chars)
        assert starts == sorted(starts) and all(a <= b for a, b in zip(starts, ends, strict=True))
        assert 0 <= starts[0] < 0.1 and 0.4 < starts[TEXT.index("How")] < 0.6 and ends[-1] < 1.0


async def test_the_body_says_how_a_text_is_spoken() -> None:
    """Speed and seed are followed; what Bark cannot do, and what is null or unknown, is ignored."""
    async with running() as server:
        path = "tone?output_format=pcm_24000&optimize_streaming_latency=3&enable_logging=false"
        plain = {
            "text": TEXT,
            "model_id": "eleven_turbo_v2_5",
            "language_code": "xx",
            "voice_settings": {"stability": 0.5, "similarity_boost": 0.8, "style": 0.0, "speed": None},
            "seed": None,
            "apply_text_normalization": "auto",
            "previous_text": "Before.",
            "pronunciation_dictionary_locators": [{"pronunciation_dictionary_id": "a", "version_id": "b"}],
        }
        _, _, normal = await posted(server, path, plain)
        _, _, fast = await posted(server, path, plain | {"voice_settings": {"speed": 1.2}, "seed": 5})
        assert len(normal) == pytest.approx(1.2 * len(fast), rel=0.05)
        assert server.synthesizer.requests[-1].params.seed == 5


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "told"),
    [
        ("nobody", {"text": "Hi."}, 404, "voice_not_found", "/v1/voices"),
        ("nobody/nope", {"text": "Hi."}, 404, "voice_not_found", "'nobody/nope'"),
        ("tone/nope", {"text": "Hi."}, 404, "not_found", "nothing at this address"),
        ("tone/stream/nope", b"", 404, "not_found", "nothing at this address"),
        ("21m00Tcm4TlvDq8ikWAM/nope", {"text": "Hi."}, 404, "not_found", "nothing at this address"),
        ("tone?output_format=ogg", {"text": "Hi."}, 400, "invalid_parameter", "mp3_44100_128"),
        (
            "tone?" + "&".join(f"x{n}=1" for n in range(100)),
            {"text": "Hi."},
            400,
            "invalid_parameter",
            "query",
        ),
        ("tone/stream", {"text": ""}, 400, "invalid_parameter", "nothing to say"),
        ("tone/stream", {"text": "\n "}, 400, "invalid_parameter", "nothing to say"),
        ("tone", {"input": "Hi."}, 400, "invalid_parameter", "text"),
        ("tone", {"text": 5}, 400, "invalid_parameter", "text"),
        ("tone", {"text": "Hi.", "seed": -1}, 400, "invalid_parameter", "seed"),
        ("tone", {"text": "Hi.", "seed": 2**32}, 400, "invalid_parameter", "seed"),
        (
            "tone",
            {"text": "Hi.", "voice_settings": {"speed": 9}},
            400,
            "invalid_parameter",
            "voice_settings.speed 9 is not from 0.25 to 4",
        ),
        ("tone", {"text": "Hi.", "apply_text_normalization": "x"}, 400, "invalid_parameter", "auto, on, off"),
        ("tone/with-timestamps", {"text": "x" * 8001}, 400, "text_too_long", "8000"),
        ("tone/stream/with-timestamps", b"text=Hi", 400, "invalid_message", "JSON"),
        ("tone", b"", 400, "invalid_message", "JSON"),
        ("tone", b'{"text": "\xff"}', 400, "invalid_message", "JSON"),
        ("tone", b'{"text": "a", "x": ' + b"[" * 50_000 + b"}", 400, "invalid_message", "JSON"),
        ("tone", b'{"text": "' + b"x" * 70_000 + b'"}', 413, "body_too_large", "65536"),
    ],
)
async def test_a_mistake_is_told_as_elevenlabs_does(
    path: str, body: object, status: int, code: str, told: str
) -> None:
    """As `detail`, with the status that its clients know, and nothing was spoken."""
    async with running() as server:
        answered, fields, got = await posted(server, path, body)
        detail = json.loads(got)["detail"]
        assert (answered, detail["status"]) == (status, code) and told in detail["message"]
        assert "json" in fields["content-type"] and not server.synthesizer.requests


async def test_a_failure_before_the_first_sound_is_a_status() -> None:
    """In all four answers; with timestamps for the whole, at any time."""
    async with running() as server:
        server.synthesizer.fail_on["broken"] = EngineError("it broke")
        for ending in ("", "/stream", "/with-timestamps", "/stream/with-timestamps"):
            status, _, body = await posted(server, f"tone{ending}", {"text": "It is broken."})
            assert status == 500 and json.loads(body)["detail"]["status"] == "engine_failed"
        status, _, _ = await posted(server, "tone/with-timestamps", {"text": "It is well. It is broken."})
        assert status == 500
        status, _, body = await posted(server, "tone/stream", {"text": "It is well. It is broken."})
        assert status == 200 and decode_file(body)[1] == 44_100


async def test_two_protocols_share_an_address() -> None:
    """Who asks with `xi-api-key` is given ElevenLabs' lists, everyone else ours."""
    async with running() as server:
        for path in ("/v1/voices", "/v1/models"):
            theirs = (await listed(server, path, "xi-api-key: any"))[1]
            ours = (await listed(server, path, "Authorization: Bearer any"))[1]
            assert ours == (await listed(server, path))[1] != theirs and "default" in ours
        voices = (await listed(server, "/v1/voices", "XI-API-KEY: any"))[1]["voices"]
        assert [(voice["voice_id"], voice["name"], voice["category"]) for voice in voices] == [
            ("tone", "tone", "premade"),
            ("other", "other", "premade"),
        ]
        (model,) = (await listed(server, "/v1/models", "xi-api-key: any"))[1]
        assert model["model_id"] == "fake" and model["can_do_text_to_speech"] is True
        assert model["languages"] == [{"language_id": "en", "name": "English"}]


async def test_lists_that_only_elevenlabs_has() -> None:
    """A search among the voices, one voice, and a user who may say as much as they like."""
    async with running() as server:
        found = (await listed(server, "/v2/voices?search=THE&page_size=10"))[1]
        assert [voice["name"] for voice in found["voices"]] == ["other"]
        assert (found["has_more"], found["total_count"], found["next_page_token"]) == (False, 1, None)
        status, answer = await listed(server, "/v1/voices/nobody")
        assert status == 404 and answer["detail"]["status"] == "voice_not_found"
        subscription = (await listed(server, "/v1/user/subscription"))[1]
        assert subscription["status"] == "active" and subscription["character_count"] == 0
        assert (subscription["open_invoices"], subscription["has_open_invoices"]) == ([], False)
        assert (await listed(server, "/v1/user", "xi-api-key: any"))[1]["subscription"] == subscription


async def test_voices_have_settings() -> None:
    """The speed is all that is followed, and it is the same for each voice; a voice that is not there has none."""
    async with running(synthesizer=FakeSynthesizer(voices=("tone", "v2/en_speaker_6"))) as server:
        for name in (
            "settings/default",
            "tone/settings",
            "v2/en_speaker_6/settings",
            "en_speaker_6/settings",
        ):
            status, settings = await listed(server, f"/v1/voices/{name}")
            assert (status, settings["speed"], settings["stability"]) == (200, 1.0, None)
        for name in ("nobody/settings", "settings/settings", "settings", "tone/settings/default"):
            status, answer = await listed(server, f"/v1/voices/{name}")
            assert status == 404 and answer["detail"]["status"] == "voice_not_found"


async def test_one_of_elevenlabs_own_voices_has_a_stand_in() -> None:
    """A client that is told no voice asks for one of theirs: the default voice speaks, and the answer says so."""
    async with running() as server:
        status, fields, sound = await posted(
            server, "21m00Tcm4TlvDq8ikWAM?output_format=pcm_24000", {"text": "Hi."}
        )
        assert status == 200 and len(sound) > 1000
        assert fields["streamer-warning"].startswith(
            "the voice 21m00Tcm4TlvDq8ikWAM is one of ElevenLabs'; tone "
        )
        assert server.synthesizer.requests[-1].voice == "tone"


def _with_keys(folder: Path, **server: Any) -> Config:
    keys = folder / "keys"
    keys.write_text("secret\n")
    return configured(server={"api_keys_file": keys} | server)


async def test_a_key_opens_everything(tmp_path: Path) -> None:
    """From the header, the query or `Authorization`; without one or with another, nothing is spoken."""
    async with running(_with_keys(tmp_path, list_access="key")) as server:
        body = {"text": "Hi."}
        for query, field, status in (
            ("", "xi-api-key: secret", 200),
            ("?authorization=secret", "X: y", 200),
            ("?authorization=Bearer%20secret", "X: y", 200),
            ("", "Authorization: Bearer secret", 200),
            ("", "xi-api-key: guess", 401),
            ("?authorization=guess", "X: y", 401),
            ("", "X: y", 401),
        ):
            answered, _, got = await posted(server, f"tone{query}", body, field)
            assert answered == status
            assert status == 200 or json.loads(got)["detail"]["status"] == "invalid_api_key"
            for path in ("/v1/voices/tone", "/v2/voices", "/v1/user"):
                assert (await listed(server, path + query, field))[0] == status
        assert (await listed(server, "/v1/models", "xi-api-key: secret"))[0] == 200
        assert (await listed(server, "/v1/models", "xi-api-key: guess"))[0] == 401
        headers = {"xi-api-key": "secret"}
        async with connected(server, "tone/stream-input", additional_headers=headers) as websocket:
            assert (await conversation(websocket, {"text": "Hi."}, {"text": ""}))[-1]["isFinal"]
        async with connected(server, "tone/stream-input?authorization=secret") as websocket:
            assert (await conversation(websocket, {"text": "Hi."}, {"text": ""}))[-1]["isFinal"]
        async with connected(server, "tone/stream-input") as websocket:
            received = await conversation(websocket, {"text": " ", "xi-api-key": "secret"}, {"text": ""})
            assert received[-1]["isFinal"]
        async with connected(server, "tone/stream-input") as websocket:
            (error,) = await conversation(websocket, {"text": " "}, {"text": ""})
            assert error["error"] == "invalid_api_key" and websocket.close_code == 1008
        with pytest.raises(InvalidStatus):
            async with connected(server, "tone/stream-input", additional_headers={"xi-api-key": "guess"}):
                pass


async def test_lists_are_open_where_keys_are_not_asked_for(tmp_path: Path) -> None:
    """The user is not: by it clients find out whether their key is right."""
    async with running(_with_keys(tmp_path)) as server:
        for path in ("/v1/voices", "/v1/models", "/v2/voices", "/v1/voices/tone"):
            assert (await listed(server, path, "xi-api-key: guess"))[0] == 200
        assert (await listed(server, "/v1/user", "xi-api-key: guess"))[0] == 401


async def test_a_client_that_vanishes_leaves_nothing() -> None:
    """With contexts in every state."""
    async with running(synthesizer=FakeSynthesizer(speed=1.0)) as server:
        url = f"ws://127.0.0.1:{server.server.port}/v1/text-to-speech/tone/multi-stream-input"
        websocket = await connect(url, proxy=None)
        for name in ("c1", "c2", "c3"):
            await websocket.send(json.dumps({"text": TEXT * 5, "context_id": name, "flush": True}))
        await websocket.send(json.dumps({"context_id": "c2", "close_context": True}))
        await eventually(lambda: server.synthesizer.num_open >= 3)
        websocket.transport.abort()
        await eventually(lambda: not server.synthesizer.num_open)
        await eventually(lambda: not figure(server.server, "tts_requests_running"))
        await eventually(lambda: not server.server.num_sessions)


async def test_the_page_may_not_be_asked_by_a_browser_of_another_origin() -> None:
    """As everywhere: the adapter's addresses are no way around it."""
    async with running() as server:
        with pytest.raises(InvalidStatus):
            async with connected(server, "tone/stream-input", origin="https://evil.example"):
                pass
