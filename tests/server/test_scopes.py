"""A key that may not speak, or has expired, has nothing spoken, and each protocol says so in its way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.server.named_keys import key_of, write_keys
from tests.server.speaking import Running, configured, eventually, running

OWNERS = {"speaker": ["speak"], "scraper": ["metrics", "admin"], "expired": ["speak"]}
STATUSES = {"speaker": 200, "scraper": 403, "expired": 401}


def _keys(tmp_path: Path) -> Path:
    return write_keys(tmp_path / "keys.toml", OWNERS, {"expired": "2020-01-01T00:00:00Z"})


def _plain(body: bytes) -> str:
    return str(json.loads(body)["error"]["code"])


POSTS: dict[str, tuple[str, dict[str, Any], str, Any, dict[str, str]]] = {
    "native": ("/v1/speech", {"text": "Hi."}, "Authorization: Bearer", _plain,
               {"scraper": "forbidden", "expired": "unauthorized"}),
    "ticket": ("/v1/tickets", {"origin": "http://test"}, "X-API-Key:", _plain,
               {"scraper": "forbidden", "expired": "unauthorized"}),
    "openai": ("/v1/audio/speech", {"input": "Hi.", "response_format": "pcm"}, "Authorization: Bearer",
               lambda body: json.loads(body)["error"]["type"],
               {"scraper": "invalid_request_error", "expired": "invalid_request_error"}),
    "elevenlabs": ("/v1/text-to-speech/tone", {"text": "Hi."}, "xi-api-key:",
                   lambda body: json.loads(body)["detail"]["status"],
                   {"scraper": "forbidden", "expired": "invalid_api_key"}),
    "deepgram": ("/v1/speak?encoding=linear16", {"text": "Hi."}, "Authorization: Token",
                 lambda body: json.loads(body)["err_code"],
                 {"scraper": "FORBIDDEN", "expired": "INVALID_AUTH"}),
    "cartesia": ("/tts/bytes", {"transcript": "Hi.", "model_id": "sonic-3", "voice": {"mode": "id", "id": "tone"},
                                "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000}},
                 "X-API-Key:", lambda body: json.loads(body)["error_code"],
                 {"scraper": "forbidden", "expired": "unauthorized"}),
}  # fmt: skip


@pytest.mark.parametrize("name", POSTS)
async def test_a_request_is_refused_in_the_shape_of_its_protocol(name: str, tmp_path: Path) -> None:
    """401 for an expired key, 403 for one with other scopes; its owner is named, and the key is not."""
    path, fields, scheme, read_code, codes = POSTS[name]
    async with running(configured(server={"api_keys_file": _keys(tmp_path)})) as server:
        for owner, expected in STATUSES.items():
            body = json.dumps(fields).encode()
            lines = [f"POST {path} HTTP/1.1", "Host: test", f"{scheme} {key_of(owner)}", f"Content-Length: {len(body)}",
                     "Content-Type: application/json", "Cartesia-Version: 2026-03-01"]  # fmt: skip
            status, head, answer = await server.http("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            assert status == expected, (owner, answer)
            if expected != 200:
                assert read_code(answer) == codes[owner]
                assert b"WWW-Authenticate: Bearer" in head
                assert repr(owner).encode() in answer and key_of(owner).encode() not in head + answer


HANDSHAKES = {
    "native": ("/v1/stream", "X-API-Key"),
    "openai": ("/v1/realtime", "X-API-Key"),
    "text buffer": ("/v1/audio/speech/websocket", "X-API-Key"),
    "elevenlabs": ("/v1/text-to-speech/tone/stream-input", "xi-api-key"),
    "deepgram": ("/v1/speak?encoding=linear16", "X-API-Key"),
    "cartesia": ("/tts/websocket", "X-API-Key"),
    "telephony": ("/v1/telephony", "X-API-Key"),
    "call": ("/v1/telephony/calls/c1", "X-API-Key"),
}


@pytest.mark.parametrize("name", HANDSHAKES)
async def test_a_handshake_is_refused(name: str, tmp_path: Path) -> None:
    """Before the protocol begins, with the same statuses."""
    path, field = HANDSHAKES[name]
    async with running(configured(server={"api_keys_file": _keys(tmp_path)})) as server:
        url = f"ws://127.0.0.1:{server.server.port}{path}"
        for owner, expected in STATUSES.items():
            connecting = connect(url, proxy=None, additional_headers={field: key_of(owner)})
            if expected == 200:
                async with connecting:
                    continue
            with pytest.raises(InvalidStatus) as refused:
                await connecting
            response = refused.value.response
            assert response.status_code == expected and response.headers["WWW-Authenticate"].startswith(
                "Bearer"
            )
            assert repr(owner).encode() in bytes(response.body or b"")


@pytest.mark.parametrize("owner", ["scraper", "expired", "nobody", "speaker"])
async def test_a_key_that_follows_is_checked_alike(owner: str, tmp_path: Path) -> None:
    """The native protocol says why and closes with 4401, ElevenLabs' with 1008, telephony's with 4401."""
    first = {
        "/v1/stream": {"type": "auth", "token": key_of(owner)},
        "/v1/text-to-speech/tone/stream-input": {"text": " ", "xi_api_key": key_of(owner)},
        "/v1/telephony": {
            "event": "start",
            "streamSid": "MZ1",
            "start": {
                "streamSid": "MZ1",
                "callSid": "CA1",
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": {"token": key_of(owner)},
            },
        },
    }
    async with running(configured(server={"api_keys_file": _keys(tmp_path)})) as server:
        for path, message in first.items():
            url = f"ws://127.0.0.1:{server.server.port}{path}"
            async with connect(url, proxy=None) as websocket:
                await websocket.send(json.dumps(message))
                if owner == "speaker":
                    continue
                told = ""
                with pytest.raises(ConnectionClosed):
                    while True:
                        told += str(await websocket.recv())
                assert websocket.close_code == (1008 if "text-to-speech" in path else 4401)
                assert {"scraper": "'speak'", "expired": "expired at 2020"}.get(owner, "not valid") in (
                    told + (websocket.close_reason or "")
                )
                assert key_of(owner) not in told


async def _loses_its_key(server: Running, now_s: float) -> None:
    server.server._service.keys._now_s = lambda: now_s
    await eventually(lambda: server.server.num_sessions == 1)


async def test_a_session_ends_when_its_key_expires(tmp_path: Path) -> None:
    """With 4401 and a `done` for what is open; another owner's session continues."""
    path = write_keys(
        tmp_path / "keys.toml", {"short": ["speak"], "long": ["speak"]}, {"short": "2999-01-01T00:00:00Z"}
    )
    async with (
        running(configured(server={"api_keys_file": path})) as server,
        server.client(additional_headers={"X-API-Key": key_of("short")}) as short,
        server.client(additional_headers={"X-API-Key": key_of("long")}) as long,
    ):
        await short.say("start", id="a")
        await short.until("started")
        await _loses_its_key(server, 40_000_000_000.0)
        assert (await short.until("done"))["reason"] == "failed"
        assert (await short.until("error"))["code"] == "unauthorized"
        with pytest.raises(ConnectionClosed):
            await short.next()
        assert short.connection.close_code == 4401
        assert await long.pong() == []


async def test_a_list_for_keys_is_for_those_that_speak(tmp_path: Path) -> None:
    """If lists need a key at all."""
    for access, expected in (("key", STATUSES), ("public", dict.fromkeys(STATUSES, 200))):
        options = {"api_keys_file": _keys(tmp_path), "list_access": access}
        async with running(configured(server=options)) as server:
            for owner, status in expected.items():
                for path in ("/v1/voices", "/v1/models", "/v1/audio/voices", "/voices", "/v2/voices"):
                    request = f"GET {path} HTTP/1.1\r\nHost: test\r\nX-API-Key: {key_of(owner)}\r\n\r\n"
                    assert (await server.http(request.encode()))[0] == status, (path, owner)
