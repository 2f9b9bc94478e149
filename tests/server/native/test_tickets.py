"""`POST /v1/tickets`: a page connects with a ticket and never sees the key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from streamer.config import Config
from tests.server.speaking import Running, configured, running

ORIGIN = "https://app.example.com"


def config(tmp_path: Path, **limits: Any) -> Config:
    """Two keys, and the origin of a page that may connect."""
    path = tmp_path / "keys"
    path.write_text("secret\nother\n")
    return configured(server={"api_keys_file": path, "allowed_origins": (ORIGIN,)}, **limits)


async def post(server: Running, path: str, body: object, *headers: str) -> tuple[int, bytes]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: test", f"Content-Length: {len(data)}", *headers]
    status, _, answer = await server.http("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
    return status, answer


async def ticket_of(server: Running, key: str = "secret") -> str:
    status, answer = await post(server, "/v1/tickets", {"origin": ORIGIN}, f"Authorization: Bearer {key}")
    assert status == 200
    fields = json.loads(answer)
    assert fields.keys() == {"ticket", "expires_in_s"} and fields["expires_in_s"] == 60
    ticket = fields["ticket"]
    assert isinstance(ticket, str)
    return ticket


@pytest.mark.parametrize("way", ["query", "subprotocol", "header", "auth"])
async def test_a_page_connects_once_with_a_ticket(tmp_path: Path, way: str) -> None:
    """Wherever a browser or its server can put it, it stands for the key, once."""
    async with running(config(tmp_path)) as server:
        ticket = await ticket_of(server)
        query, options, message = "", {}, None
        if way == "query":
            query = f"?ticket={ticket}&encoding=pcm_s16le"
        elif way == "subprotocol":
            options = {"subprotocols": ["streamer.v1", f"streamer.{ticket}"]}
        elif way == "header":
            options = {"additional_headers": {"Authorization": f"Bearer {ticket}"}}
        else:
            message = {"token": ticket}
        async with server.client(query, origin=ORIGIN, **options) as client:
            if message:
                await client.say("auth", **message)
            await client.say("speak", id="a", text="Hello there.")
            await client.until("done", reason="completed")
            assert client.connection.subprotocol == ("streamer.v1" if way == "subprotocol" else None)
            assert not client.messages("warning")
        if way == "auth":
            async with server.client(origin=ORIGIN) as client:
                await client.say("auth", token=ticket)
                assert (await client.until("error"))["code"] == "unauthorized"
        else:
            with pytest.raises(InvalidStatus, match="401"):
                async with server.client(query, origin=ORIGIN, **options):
                    pass


@pytest.mark.parametrize(
    ("origin", "status"), [(None, 401), ("https://evil.example", 403), ("https://test", 401)]
)
async def test_a_stolen_ticket_is_of_no_use_elsewhere(
    tmp_path: Path, origin: str | None, status: int
) -> None:
    """A program, a foreign page, and another page that may connect are refused."""
    async with running(config(tmp_path)) as server:
        fields = (f"Origin: {origin}",) if origin else ()
        ticket = await ticket_of(server)
        found, _ = await post(server, f"/v1/speech?ticket={ticket}", {"text": "Hi."}, *fields)
        assert found == status
        assert (await post(server, f"/v1/speech?ticket={ticket}", {"text": "Hi."}, f"Origin: {ORIGIN}"))[
            0
        ] == 200


async def test_a_ticket_shares_the_limits_of_its_key(tmp_path: Path) -> None:
    """What a page has open counts for the key, and leaves other keys their own."""
    async with running(config(tmp_path, max_utterances_per_key=1)) as server:
        query = f"?ticket={await ticket_of(server)}"
        async with server.client(query, origin=ORIGIN) as client:
            await client.say("start", id="a")
            await client.until("started")
            key = {"additional_headers": {"Authorization": "Bearer secret"}}
            async with server.client(**key) as same:
                await same.say("start", id="b")
                assert (await same.until("error"))["code"] == "overloaded"
            key = {"additional_headers": {"Authorization": "Bearer other"}}
            async with server.client(**key) as other:
                await other.say("start", id="c")
                await other.until("started")


@pytest.mark.parametrize("place", ["header", "query", "none", "wrong"])
async def test_only_a_key_brings_a_ticket(tmp_path: Path, place: str) -> None:
    """A page cannot prolong what it was given."""
    async with running(config(tmp_path)) as server:
        ticket = await ticket_of(server)
        path, fields = "/v1/tickets", [f"Origin: {ORIGIN}"]
        if place == "query":
            path += f"?ticket={ticket}"
        elif place != "none":
            fields.append(f"Authorization: Bearer {ticket if place == 'header' else 'wrong'}")
        assert (await post(server, path, {"origin": ORIGIN}, *fields))[0] == 401


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "origin"),
        ({"origin": None}, "origin"),
        ({"origin": 5}, "origin"),
        ({"origin": "app.example.com"}, "origin"),
        ({"origin": "*"}, "origin"),
        ({"origin": ORIGIN, "ttl": 9}, "ttl"),
        (b"{", None),
        (b"[]", None),
        (b"\xff", None),
    ],
)
async def test_a_wrong_request_is_one_error(tmp_path: Path, body: object, param: str | None) -> None:
    """Its answer is 400 and names the field."""
    async with running(config(tmp_path)) as server:
        status, answer = await post(server, "/v1/tickets", body, "X-API-Key: secret")
        assert status == 400
        assert json.loads(answer)["error"].get("param") == param


async def test_without_keys_a_ticket_means_nothing() -> None:
    """A server that lets everybody speak issues tickets and needs none, so that a page works unchanged."""
    async with running() as server:
        status, answer = await post(server, "/v1/tickets", {"origin": "http://test"})
        ticket = json.loads(answer)["ticket"]
        assert status == 200
        for _ in range(2):
            assert (await post(server, f"/v1/speech?ticket={ticket}", {"text": "Hi."}))[0] == 200


async def test_a_ticket_is_accepted_by_every_protocol(tmp_path: Path) -> None:
    """OpenAI's clients in a page send it as their key."""
    async with running(config(tmp_path)) as server:
        ticket = await ticket_of(server)
        fields = (f"Authorization: Bearer {ticket}", f"Origin: {ORIGIN}")
        assert (await post(server, "/v1/audio/speech", {"input": "Hi."}, *fields))[0] == 200
        assert (await post(server, "/v1/audio/speech", {"input": "Hi."}, *fields))[0] == 401
