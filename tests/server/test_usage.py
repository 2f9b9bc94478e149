"""Whatever the protocol, each utterance is one line of the log with its owner's name, and is counted for that owner."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from streamer.config import Config
from streamer.errors import EngineError
from streamer.synthesis import Room
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.named_keys import key_of, write_keys
from tests.server.speaking import Running, configured, eventually, figure, running

ORIGIN = "https://app.example.com"
TEXT = "Hello there. How are you?"


def config(tmp_path: Path, **server: Any) -> Config:
    path = write_keys(tmp_path / "keys.toml", {"alice": ["speak"], "bob": ["speak"]}, alice=2.0)
    return configured(server={"api_keys_file": path, "allowed_origins": (ORIGIN,)} | server)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    """Returns what the log says of utterances so far."""
    caplog.set_level(logging.INFO)
    return lambda: [vars(record) for record in caplog.records if record.msg == "utterance"]


def used(server: Running, owner: str, **outcome: str) -> float:
    name = "tts_usage_requests_total" if outcome else "tts_usage_characters_total"
    return figure(server.server, name, owner=owner, **outcome) or 0.0


async def post(server: Running, path: str, fields: dict[str, Any], *headers: str) -> tuple[int, bytes]:
    body = json.dumps(fields).encode()
    head = [f"POST {path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}", *headers]
    status, _, answer = await server.http("\r\n".join(head).encode() + b"\r\n\r\n" + body)
    return status, answer


POSTS: dict[str, tuple[str, dict[str, Any]]] = {
    "native": ("/v1/speech", {"text": TEXT}),
    "openai": ("/v1/audio/speech", {"input": TEXT, "response_format": "wav"}),
    "elevenlabs": ("/v1/text-to-speech/tone?output_format=pcm_24000", {"text": TEXT}),
    "deepgram": ("/v1/speak?encoding=linear16", {"text": TEXT}),
    "cartesia": (
        "/tts/bytes",
        {
            "transcript": TEXT,
            "model_id": "sonic-3",
            "voice": {"mode": "id", "id": "tone"},
            "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000},
        },
    ),
}


@pytest.mark.parametrize("protocol", POSTS)
async def test_a_request_is_its_owners(protocol: str, lines: Any, tmp_path: Path) -> None:
    """By the key's name; the key itself and the text are nowhere in the log."""
    async with running(config(tmp_path)) as server:
        path, fields = POSTS[protocol]
        assert (await post(server, path, fields, f"X-API-Key: {key_of('alice')}"))[0] == 200
        (line,) = lines()
        assert (line["owner"], line["protocol"], line["model"], line["voice"]) == (
            "alice",
            protocol,
            "fake",
            "tone",
        )
        assert line["reason"] == "completed" and line["chars"] == len(TEXT)
        assert line["audio_s"] > 0.5 and line["first_audio_ms"] is not None
        assert line["trace_id"] == server.synthesizer.requests[0].request_id.rpartition(".")[0]
        assert key_of("alice") not in str(line) and "Hello" not in str(line)
        assert used(server, "alice") == len(TEXT) and used(server, "alice", outcome="ok") == 1
        assert used(server, "bob") == used(server, "other") == 0


@pytest.mark.parametrize("way", ["header", "auth", "ticket"])
async def test_a_session_is_its_owners(way: str, lines: Any, tmp_path: Path) -> None:
    """However the key came; a ticket's utterances are those of the key that it was issued for."""
    async with running(config(tmp_path)) as server:
        options, query = {}, ""
        if way == "header":
            options = {"additional_headers": {"X-API-Key": key_of("bob")}}
        elif way == "ticket":
            bearer = f"Authorization: Bearer {key_of('bob')}"
            _, answer = await post(server, "/v1/tickets", {"origin": ORIGIN}, bearer)
            query, options = f"?ticket={json.loads(answer)['ticket']}", {"origin": ORIGIN}
        async with server.client(query, **options) as client:
            if way == "auth":
                await client.say("auth", token=key_of("bob"))
            for name in ("a", "b"):
                await client.say("speak", id=name, text=TEXT, lead_ms=None)
                await client.until("done", id=name)
        assert [(line["owner"], line["protocol"], line["utterance_id"]) for line in lines()] == [
            ("bob", "native", "a"),
            ("bob", "native", "b"),
        ]
        assert used(server, "bob", outcome="ok") == 2 and used(server, "other", outcome="ok") == 0


async def test_an_end_of_each_kind_is_one_line(lines: Any, tmp_path: Path) -> None:
    """Completed, truncated, cancelled, failed, and of a client that has gone."""
    synthesizer = FakeSynthesizer(speed=20.0)
    synthesizer.truncate_on = "endless"
    synthesizer.fail_on["Boom"] = EngineError("broke")
    synthesizer.stall_on = "stall"
    async with running(config(tmp_path), synthesizer) as server:
        header = {"additional_headers": {"X-API-Key": key_of("alice")}}
        async with server.client(**header) as client:
            for name, text in (("a", "Fine."), ("b", "This is endless."), ("c", "Boom now.")):
                await client.say("speak", id=name, text=text, lead_ms=None)
                await client.until("done", id=name)
            await client.say("speak", id="d", text="Please stall here.")
            await client.until("started", id="d")
            await client.say("cancel", id="d")
            await client.until("done", id="d")
            await client.say("speak", id="e", text="Please stall here, too.")
            await client.until("started", id="e")
        await eventually(lambda: len(lines()) == 5)
        assert [(line["utterance_id"], line["reason"]) for line in lines()] == [
            ("a", "completed"),
            ("b", "truncated"),
            ("c", "failed"),
            ("d", "cancelled"),
            ("e", "client_gone"),
        ]
        assert [line.get("code") for line in lines()] == [None, None, "engine_failed", None, None]
        for outcome in ("ok", "truncated", "error", "cancelled", "client_gone"):
            assert used(server, "alice", outcome=outcome) == 1
            assert figure(server.server, "tts_requests_total", outcome=outcome) == 1


@pytest.mark.parametrize("way", ["refused", "cancelled", "over HTTP"])
async def test_the_line_counts_what_was_received(way: str, lines: Any, tmp_path: Path) -> None:
    """All of the text, and apart from it what was begun, though nothing of it was: only that counts as used."""
    synthesizer = FakeSynthesizer()
    synthesizer.room = Room(
        num_listeners=4, max_listeners=4, num_unheard=0, num_short=0, max_short=4, mean_stay_s=4.0
    )
    header = {"X-API-Key": key_of("alice")}
    keys = config(tmp_path)
    limits = replace(keys.limits, max_start_wait_s=30.0 if way == "cancelled" else 0.1)
    async with running(replace(keys, limits=limits), synthesizer) as server:
        if way == "over HTTP":
            assert (await post(server, "/v1/speech", {"text": TEXT}, f"X-API-Key: {key_of('alice')}"))[
                0
            ] == 503
        else:
            async with server.client(additional_headers=header) as client:
                await client.say("speak", id="a", text=TEXT)
                await client.until("started", id="a")
                if way == "cancelled":
                    await client.say("cancel", id="a")
                await client.until("done", id="a")
        (line,) = lines()
        assert (line["chars"], line["begun_chars"]) == (len(TEXT), 0)
        assert used(server, "alice") == 0


@pytest.mark.parametrize("begins", [False, True])
async def test_a_request_whose_client_leaves_is_one_line(begins: bool, lines: Any, tmp_path: Path) -> None:
    """Before its first sound or after."""
    synthesizer = FakeSynthesizer(speed=2.0)
    synthesizer.stall_on = None if begins else "stall"
    async with running(config(tmp_path), synthesizer) as server:
        async with server.line() as (reader, writer):
            body = json.dumps({"text": "Please stall here for a long time. " * 20}).encode()
            head = f"POST /v1/speech HTTP/1.1\r\nHost: test\r\nX-API-Key: {key_of('bob')}\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            if begins:
                await reader.readuntil(b"\r\n\r\n")
            else:
                await eventually(lambda: server.synthesizer.num_open)
        await eventually(lambda: lines())
        (line,) = lines()
        assert (line["owner"], line["reason"]) == ("bob", "client_gone")
        assert used(server, "bob", outcome="client_gone") == 1


async def test_a_refused_request_is_no_utterance(lines: Any, tmp_path: Path) -> None:
    """Nothing was begun: it is among the errors, and not in anyone's usage."""
    async with running(config(tmp_path)) as server:
        bearer = f"Authorization: Bearer {key_of('alice')}"
        for fields in ({}, {"text": "Hi.", "voice": "nobody"}, {"text": "Hi.", "encoding": "opus"}):
            assert (await post(server, "/v1/speech", fields, bearer))[0] == 400
        assert (await post(server, "/v1/speech", {"text": "Hi."}))[0] == 401
        assert lines() == [] and b'owner="' not in server.server.metrics.render()


@pytest.mark.parametrize("keys", ["none", "plain"])
async def test_who_has_no_named_key_is_one_of_the_others(keys: str, lines: Any, tmp_path: Path) -> None:
    """Neither an address nor a part of a plain key's digest becomes a label."""
    (tmp_path / "keys").write_text("secret\n")
    options = {"api_keys_file": tmp_path / "keys"} if keys == "plain" else {}
    async with running(configured(server=options)) as server:
        assert (await post(server, "/v1/speech", {"text": "Hi."}, "X-API-Key: secret"))[0] == 200
        assert [line["owner"] for line in lines()] == ["other"]
        assert used(server, "other", outcome="ok") == 1
        assert server.server.metrics.render().count(b"tts_usage_characters_total{") == 1


async def test_other_protocols_are_told_by_their_names(lines: Any, tmp_path: Path) -> None:
    """Telephones, the realtime API, and the port of Home Assistant, which has no keys."""
    options = config(tmp_path, wyoming_port=0)
    async with running(options) as server:
        url = f"ws://127.0.0.1:{server.server.port}"
        header = {"X-API-Key": key_of("alice")}
        start = {
            "streamSid": "MZ1",
            "callSid": "CA1",
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"text": "Hi."},
        }
        async with connect(url + "/v1/telephony", proxy=None, additional_headers=header) as phone:
            await phone.send(json.dumps({"event": "start", "streamSid": "MZ1", "start": start}))
            await eventually(lambda: len(lines()) == 1)
        async with connect(url + "/v1/realtime", proxy=None, additional_headers=header) as realtime:
            for event in (
                {"type": "conversation.item.create", "item": {"type": "message", "role": "user",
                 "content": [{"type": "input_text", "text": "Hi."}]}},
                {"type": "response.create"},
            ):  # fmt: skip
                await realtime.send(json.dumps(event))
            await eventually(lambda: len(lines()) == 2)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.tcp_ports[0])
        writer.write(b'{"type": "synthesize", "data": {"text": "Hi."}}\n')
        await eventually(lambda: len(lines()) == 3)
        writer.close()
        del reader
        assert [(line["protocol"], line["owner"]) for line in lines()] == [
            ("telephony", "alice"),
            ("realtime", "alice"),
            ("wyoming", "other"),
        ]


async def test_a_share_is_the_weight_of_its_owner_in_the_queue(tmp_path: Path) -> None:
    """As the file says at that moment, over HTTP and in sessions alike."""
    async with running(config(tmp_path)) as server:
        for owner, share in (("alice", 2.0), ("bob", 1.0)):
            headers = f"X-API-Key: {key_of(owner)}"
            assert (await post(server, "/v1/speech", {"text": "Hi."}, headers))[0] == 200
            assert server.server._service.admission._quota(owner).share.weight == share
        write_keys(tmp_path / "keys.toml", {"alice": ["speak"]}, alice=5.0)
        await server.server.reload_files()
        async with server.client(additional_headers={"X-API-Key": key_of("alice")}) as client:
            await client.say("start", id="a")
            await client.until("started")
            assert server.server._service.admission._quota("alice").share.weight == 5.0
