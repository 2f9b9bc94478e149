"""The native protocol over WebRTC: packets arrive untouched and paced, and sessions begin and end as WHEP has it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from streamer.server import webrtc
from streamer.server.native import whep
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.native.webrtc_player import Player, playing, request
from tests.server.speaking import configured, eventually, figure, running

TEXT = "Hello there."
LONG = "One two three four five six seven eight nine ten. " * 20


async def test_the_packets_are_those_of_the_native_protocol() -> None:
    """Each payload is the very bytes that a WebSocket gets, 20 ms apart, and there is one `done`."""
    async with running() as speaking:
        async with speaking.client() as client:
            await client.say("speak", id="a", text=TEXT, params={"seed": 7})
            await client.until("done")
            expected = [frame.payload for frame in client.frames() if frame.payload]
        async with playing(speaking) as player:
            await player.say("speak", id="a", text=TEXT, params={"seed": 7})
            done = await player.until("done")
            await player.until_packets(len(expected))
            await player.say("ping", t=1)
            await player.until("pong")
            assert [packet.payload for packet in player.packets] == expected
            steps = {
                (after.timestamp - before.timestamp) % 2**32
                for before, after in zip(player.packets, player.packets[1:], strict=False)
            }
            numbers = [
                packet.sequence_number - player.packets[0].sequence_number for packet in player.packets
            ]
            assert steps == {960} and numbers == [*range(len(expected))]
            assert done["reason"] == "completed" and done["packets"] == len(expected)
            kinds = [message["type"] for message in player.received]
            assert kinds[:2] == ["session", "started"] and kinds.count("done") == 1


async def test_a_cancel_stops_the_packets_and_a_pause_takes_its_time() -> None:
    """Behind it come no more than were on their way; what is said next continues the clock, not the sound."""
    async with running() as speaking, playing(speaking) as player:
        await player.say("speak", id="a", text=LONG)
        await player.until_packets(10)
        await player.say("cancel", id="a")
        assert (await player.until("done"))["reason"] == "cancelled"
        num_heard = len(player.packets)
        assert num_heard < 50
        await player.say("start", id="b")
        await player.until("started", id="b")
        await asyncio.sleep(0.1)
        assert len(player.packets) <= num_heard + 5
        last = player.packets[-1]
        await player.say("text", id="b", text=TEXT)
        await player.say("end", id="b")
        await player.until("done", id="b")
        following = player.packets[player.packets.index(last) + 1]
        assert (following.timestamp - last.timestamp) % 2**32 > 2 * 960
        assert following.sequence_number == (last.sequence_number + 1) % 2**16


async def test_utterances_follow_each_other_on_the_track() -> None:
    """Sound of two would mix on one track, so the second comes when the first is over."""
    async with running() as speaking, playing(speaking) as player:
        for name in ("a", "b"):
            await player.say("speak", id=name, text="Hi.", lead_ms=5000)
        assert (await player.until("started", id="b"))["lead_ms"] == whep.LEAD_MS
        await player.until("done", id="b")
        order = [(message["type"], message["id"]) for message in player.received if "id" in message]
        assert order.index(("done", "a")) < order.index(("sentence_start", "b"))


async def test_messages_by_http_reach_a_player_without_a_data_channel() -> None:
    """The answers tell what was said since the last one, each message once, wrong ones too."""
    async with running() as speaking, playing(speaking, has_channel=False) as player:
        first = await player.post("speak", id="a", text="Hi.")
        assert [message["type"] for message in first][:2] == ["session", "started"]
        await player.until_packets(3)
        told = await player.post("ping", t=1)
        async with asyncio.timeout(5):
            while not [message for message in told if message["type"] == "done"]:
                told += await player.post("cancel", id="none")
        kinds = [message["type"] for message in first + told]
        assert kinds.count("done") == kinds.count("session") == kinds.count("pong") == 1
        assert first[-1]["type"] == "started" and "pong" in [message["type"] for message in told]
        (error,) = await player.post("speak", id="b", text="Hi.", voice="nobody")
        assert error["code"] == "voice_not_found"


@pytest.mark.parametrize("encoding", ["pcm_s16le", "ogg_opus", "wav", "mulaw", "alaw", "pcm_f32le"])
async def test_sound_is_opus(encoding: str) -> None:
    """Another encoding is refused; the session continues."""
    async with running() as speaking, playing(speaking) as player:
        await player.say("speak", id="a", text="Hi.", encoding=encoding)
        error = await player.until("error")
        assert (error["code"], error["param"], error["scope"]) == (
            "invalid_parameter",
            "encoding",
            "utterance",
        )
        await player.say("speak", id="b", text="Hi.")
        assert (await player.until("done"))["id"] == "b"


async def test_a_session_ends_by_delete() -> None:
    """200, and 404 from then on; its sound stops, and a PATCH was never allowed."""
    async with running(synthesizer=FakeSynthesizer()) as speaking, playing(speaking) as player:
        await player.say("speak", id="a", text=LONG)
        await player.until_packets(3)
        status, head, _ = await request(speaking, "PATCH", player.location)
        assert status == 405 and b"Allow: DELETE, OPTIONS, POST" in head
        assert (await request(speaking, "DELETE", player.location))[0] == 200
        await eventually(lambda: not speaking.server.num_sessions)
        assert speaking.synthesizer.num_open == 0
        for method in ("DELETE", "POST"):
            assert (await request(speaking, method, player.location))[0] == 404
        await eventually(lambda: not speaking.server.num_connections)


async def test_a_player_that_goes_away_leaves_nothing() -> None:
    async with running() as speaking:
        async with playing(speaking) as player:
            await player.say("speak", id="a", text=LONG)
            await player.until_packets(3)
        await eventually(lambda: not speaking.server.num_sessions)
        await eventually(lambda: not speaking.server.num_connections)
        assert figure(speaking.server, "tts_requests_running") == 0


async def test_a_stop_lets_an_utterance_end() -> None:
    """The session is told, and drained like all others."""
    async with running(configured(drain_timeout_s=5)) as speaking, playing(speaking) as player:
        await player.say("speak", id="a", text=TEXT)
        await player.until("started")
        speaking.server.stop()
        await player.until("going_away")
        assert (await player.until("done"))["reason"] == "completed"


async def test_a_player_that_never_connects_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "CONNECT_TIMEOUT_S", 0.05)
    async with running() as speaking:
        player = Player(speaking, has_channel=False)
        assert (await request(speaking, "POST", "/v1/whep", await player.offer()))[0] == 201
        await eventually(lambda: not speaking.server.num_sessions)
        await player.peer.close()


async def test_a_player_that_says_too_much_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A data channel holds nothing back, so what waits to be read is bounded here."""
    monkeypatch.setattr(webrtc, "MAX_WAITING_BYTES", 20_000)
    async with running(configured(max_bytes_per_s=1024)) as speaking, playing(speaking) as player:
        with contextlib.suppress(Exception):
            for _ in range(400):
                await player.say("ping", t="x" * 1000)
        await eventually(lambda: not speaking.server.num_sessions)


def changed(offer: str, pattern: str, replacement: str) -> str:
    """Return an offer in which something is different."""
    result = re.sub(pattern, replacement, offer)
    assert result != offer
    return result


@pytest.mark.parametrize(
    ("pattern", "replacement", "code"),
    [
        (r"(?s).*", "", "invalid_message"),
        (r"(?s).*", "hello", "invalid_message"),
        (r"(?s).*", json.dumps({"type": "offer"}), "invalid_message"),
        (r"(?s)m=audio.*(?=m=application)", "", "invalid_message"),
        (r"(?s)m=audio.*", "", "invalid_message"),
        (r"m=audio", "m=video", "invalid_message"),
        (r"a=recvonly", "a=sendonly", "invalid_parameter"),
        (r"a=recvonly", "a=inactive", "invalid_parameter"),
        (r"opus/48000/2", "speex/8000", "invalid_message"),
        (r"a=ice-ufrag:.*", "", "invalid_message"),
        (r"(?s)(m=audio.*)", r"\1\1\1\1\1", "invalid_message"),
        (r"(a=candidate:.*\r\n)", r"\1" * 65, "invalid_message"),
    ],
)
async def test_a_wrong_offer_is_one_error(pattern: str, replacement: str, code: str) -> None:
    """What no sound can be sent by is refused with 400, and nothing of it stays open."""
    async with running() as speaking:
        player = Player(speaking, has_channel=True)
        offer = changed(await player.offer(), pattern, replacement)
        offer = re.sub(r"a=rtpmap:\d+ (PCM|G722).*", "", offer) if "speex" in replacement else offer
        status, _, body = await request(speaking, "POST", "/v1/whep", offer)
        assert (status, json.loads(body)["error"]["code"]) == (400, code), body
        assert not speaking.server.num_sessions
        await player.peer.close()


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "", "application/sdpx"])
async def test_an_offer_is_sdp(content_type: str) -> None:
    async with running() as speaking:
        status, _, body = await request(speaking, "POST", "/v1/whep", "v=0", content_type)
        assert status == 415 and b"application/sdp" in body


async def test_a_body_that_is_no_text_is_refused() -> None:
    async with running() as speaking, playing(speaking) as player:
        for path in ("/v1/whep", player.location):
            assert (await request(speaking, "POST", path, b"\xff\xfe"))[0] == 400


async def test_keys_and_tickets_open_a_session(tmp_path: Path) -> None:
    """As for every other protocol. The address of a session is a secret of its own, and needs no key."""
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    origin = "https://app.example.com"
    config = configured(server={"api_keys_file": keys, "allowed_origins": (origin,)})
    async with running(config) as speaking:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            assert (await request(speaking, "POST", "/v1/whep", "v=0", **headers))[0] == 401
        async with playing(speaking, Authorization="Bearer secret") as player:
            assert len(player.location.rpartition("/")[2]) == 32
            await player.post("speak", id="a", text="Hi.")
            await player.until("done")
        status, _, body = await request(
            speaking,
            "POST",
            "/v1/tickets",
            json.dumps({"origin": origin}),
            "application/json",
            Authorization="Bearer secret",
        )
        assert status == 200
        ticket = json.loads(body)["ticket"]
        async with playing(speaking, Origin=origin, Authorization=f"Bearer {ticket}") as player:
            await player.say("speak", id="a", text="Hi.")
            await player.until("done")


@pytest.mark.parametrize(
    ("limits", "patched", "statuses"), [({"max_connections": 4}, 99, (503, 429)), ({}, 1, (503,))]
)
async def test_the_number_of_sessions_is_bounded(
    limits: dict[str, int], patched: int, statuses: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the caps on connections, and by one of their own; when one has ended there is room again."""
    monkeypatch.setattr(whep, "MAX_SESSIONS", patched)
    async with running(configured(**limits)) as speaking, contextlib.AsyncExitStack() as stack:
        player = await stack.enter_async_context(playing(speaking))
        other = Player(speaking, has_channel=False)
        offer = await other.offer()
        if limits:
            await stack.enter_async_context(speaking.client())
            await stack.enter_async_context(speaking.client())
        status, head, _ = await request(speaking, "POST", "/v1/whep", offer)
        assert status in statuses and b"Retry-After" in head
        num_others = 2 if limits else 0
        assert speaking.server.num_sessions == (3 if limits else 1)
        await eventually(lambda: speaking.server.num_connections == num_others + 1)
        assert (await request(speaking, "DELETE", player.location))[0] == 200
        await eventually(lambda: speaking.server.num_connections == num_others)
        status, head, _ = await request(speaking, "POST", "/v1/whep", offer)
        assert status == 201
        (location,) = re.findall(r"Location: (\S+)", head.decode())
        assert (await request(speaking, "DELETE", location))[0] == 200
        await other.peer.close()


async def test_one_client_takes_not_all_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of one key, or of one address without keys, have a bound of their own."""
    monkeypatch.setattr(whep, "MAX_SESSIONS_PER_CLIENT", 1)
    async with running() as speaking, playing(speaking) as player:
        other = Player(speaking, has_channel=False)
        offer = await other.offer()
        status, head, _ = await request(speaking, "POST", "/v1/whep", offer)
        assert status == 503 and b"Retry-After" in head
        assert (await request(speaking, "DELETE", player.location))[0] == 200
        await eventually(lambda: not speaking.server.num_sessions)
        status, head, _ = await request(speaking, "POST", "/v1/whep", offer)
        assert status == 201
        (location,) = re.findall(r"Location: (\S+)", head.decode())
        assert (await request(speaking, "DELETE", location))[0] == 200
        await other.peer.close()


async def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "aiortc" else found(name))
    async with running() as speaking:
        status, _, body = await request(speaking, "POST", "/v1/whep", "v=0")
        assert status == 501 and b"pip install 'bark-streamer[webrtc]'" in body


def test_unused_it_costs_no_import() -> None:
    code = (
        "import sys\n"
        "from tests.server.speaking import configured\n"
        "from tests.fakes.synthesizer import FakeSynthesizer\n"
        "from streamer.server.adapters import add_adapters\n"
        "from streamer.server.app import Server\n"
        "server = Server(configured(), FakeSynthesizer())\n"
        "add_adapters(server.routes, server._service)\n"
        "assert not {'aiortc', 'aioice', 'av', 'streamer.server.webrtc'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
