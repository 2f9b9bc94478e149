"""The operator's routes: on which port they are, which keys open them, and what they do."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from streamer.errors import ConfigError
from streamer.server.app import Server
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.certificates import write_certificate
from tests.server.named_keys import key_of, write_keys
from tests.server.speaking import Running, configured, eventually, read_answer, running

OWNERS = {
    "scraper": ["metrics"],
    "operator": ["admin"],
    "chief": ["metrics", "admin"],
    "speaker": ["speak"],
    "expired": ["speak", "metrics", "admin"],
}
ADMIN: dict[str, Any] = {"admin_port": 0}
VIEWS = ("/metrics", "/v1/status")


def _keys(tmp_path: Path) -> Path:
    return write_keys(tmp_path / "keys.toml", OWNERS, {"expired": "2020-01-01T00:00:00Z"})


async def ask(
    port: int | None, path: str, *fields: str, method: str = "GET", tls: ssl.SSLContext | None = None
) -> tuple[int, bytes, bytes]:
    """Send a request to one of the server's ports; returns status, head and body of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Length: 0", *fields]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
    try:
        return await read_answer(reader, has_body=method != "HEAD")
    finally:
        writer.close()


async def test_with_a_port_of_its_own_the_public_one_has_only_probes() -> None:
    """What is of the operator is there alone, and what is of the clients is not there."""
    async with running(configured(server=ADMIN)) as server:
        admin, public = server.server.admin_port, server.server.port
        assert admin not in (None, public)
        for port, found in ((admin, 200), (public, 404)):
            assert [(await ask(port, path))[0] for path in VIEWS] == [found] * 2
            assert [(await ask(port, path))[0] for path in ("/livez", "/readyz")] == [200] * 2
        assert b"tts_connections" in (await ask(admin, "/metrics"))[2]
        assert (await ask(admin, "/metrics", method="HEAD"))[0] == 200
        assert json.loads((await ask(admin, "/v1/status"))[2])["state"] == "ready"
        for path in ("/", "/v1/voices", "/v1/stream", "/v1/speech"):
            assert (await ask(admin, path))[0] == 404
        for path in ("/v1/reload", "/v1/drain"):
            assert (await ask(public, path, method="POST"))[0] == 404
            assert (await ask(admin, path))[0] == 405


async def test_without_one_the_views_are_public_and_the_actions_nowhere() -> None:
    """As before: nothing that changes the server's state can be reached."""
    async with running() as server:
        assert server.server.admin_port is None
        assert [(await ask(server.server.port, path))[0] for path in VIEWS] == [200] * 2
        for path in ("/v1/reload", "/v1/drain"):
            assert (await ask(server.server.port, path, method="POST"))[0] == 404


@pytest.mark.parametrize("has_admin_port", [True, False])
@pytest.mark.parametrize(
    ("owner", "metrics", "admin"),
    [
        (None, 401, 401),
        ("nobody", 401, 401),
        ("expired", 401, 401),
        ("speaker", 403, 403),
        ("scraper", 200, 403),
        ("operator", 403, 200),
        ("chief", 200, 200),
    ],
)
async def test_named_keys_open_what_their_scopes_say(
    owner: str | None, metrics: int, admin: int, has_admin_port: bool, tmp_path: Path
) -> None:
    """On either port; a refusal says which scope is lacking, and is counted."""
    options = {"api_keys_file": _keys(tmp_path)} | (ADMIN if has_admin_port else {})
    async with running(configured(server=options)) as server:
        port = server.server.admin_port or server.server.port
        field = f"Authorization: Bearer {key_of(owner or '')}" if owner else "X: y"
        for path, expected in (("/metrics", metrics), ("/v1/status", admin)):
            status, head, body = await ask(port, path, field)
            assert status == expected, path
            error = json.loads(body)["error"] if status != 200 else None
            scope = "metrics" if path == "/metrics" else "admin"
            if status == 401:
                assert b"WWW-Authenticate: Bearer\r\n" in head and error["code"] == "unauthorized"
                assert owner != "expired" or "'expired' expired at 2020-01-01T00:00:00Z" in error["message"]
            elif status == 403:
                assert f'Bearer error="insufficient_scope", scope="{scope}"'.encode() in head
                assert error["code"] == "forbidden" and repr(scope) in error["message"]
        if has_admin_port:
            assert (await ask(port, "/v1/reload", field, method="POST"))[0] == admin
            assert (await ask(port, "/v1/drain", field, method="POST"))[0] == (202 if admin == 200 else admin)
        rendered = server.server.metrics.render()
        assert (b'rejected_total{reason="scope"}' in rendered) == (403 in (metrics, admin))
        assert (b'rejected_total{reason="key"}' in rendered) == (metrics == 401)
        assert [(await ask(port, path))[0] for path in ("/livez",)] == [200]


async def test_plain_keys_have_no_scopes_and_close_nothing(tmp_path: Path) -> None:
    """The views stay open to all who reach them, as they were before there were scopes."""
    (tmp_path / "keys").write_text("secret\n")
    for options in ({}, ADMIN):
        async with running(configured(server={"api_keys_file": tmp_path / "keys"} | options)) as server:
            port = server.server.admin_port or server.server.port
            assert [(await ask(port, path))[0] for path in VIEWS] == [200] * 2


@pytest.mark.parametrize(
    ("host", "keys", "is_right"),
    [
        ("127.0.0.1", None, True),
        ("localhost", "plain", True),
        ("0.0.0.0", None, False),
        ("0.0.0.0", "plain", False),
        ("::", "plain", False),
        ("192.0.2.1", None, False),
        ("0.0.0.0", "named", True),
    ],
)
async def test_others_reach_the_operators_port_with_named_keys_only(
    host: str, keys: str | None, is_right: bool, tmp_path: Path
) -> None:
    """Otherwise the start is refused, with the remedy: everyone who reaches the port could stop the server."""
    (tmp_path / "plain").write_text("secret\n")
    files = {None: None, "plain": tmp_path / "plain", "named": _keys(tmp_path)}
    config = configured(server=ADMIN | {"admin_host": host, "api_keys_file": files[keys]})
    if is_right:
        async with running(config) as server:
            assert server.server.admin_port
        return
    with pytest.raises(ConfigError, match="streamer keys new") as caught:
        Server(config, FakeSynthesizer())
    assert caught.value.param == "admin_host" and repr(host) in caught.value.message


async def test_a_port_that_is_taken_is_a_configuration_error() -> None:
    """It names the option, and what was opened before is closed."""
    async with running(configured(server=ADMIN)) as server:
        synthesizer = FakeSynthesizer()
        other = Server(configured(server={"admin_port": server.server.admin_port}), synthesizer)
        with pytest.raises(ConfigError, match="admin_port") as caught:
            await other.start()
        assert caught.value.param == "admin_port" and synthesizer.is_closed


async def test_it_is_open_while_the_model_is_loaded() -> None:
    """An operator sees why a server is not ready."""
    server = Server(configured(server=ADMIN), FakeSynthesizer(warm_up_s=30))
    starting = asyncio.ensure_future(server.start())
    await eventually(lambda: server.is_listening)
    assert json.loads((await ask(server.admin_port, "/v1/status"))[2])["state"] == "warming"
    assert (await ask(server.admin_port, "/metrics"))[0] == 200
    starting.cancel()
    await asyncio.wait([starting])


async def test_it_answers_when_the_server_is_full() -> None:
    """The public port's connections take the operator nothing."""
    async with running(configured(server=ADMIN, max_connections=1)) as server, server.client():
        assert [(await ask(server.server.admin_port, path))[0] for path in VIEWS] == [200] * 2
        assert (await ask(server.server.admin_port, "/v1/reload", method="POST"))[0] == 200


@pytest.mark.parametrize(
    ("field", "status"),
    [
        ("X: y", 200),
        ("Origin: https://evil.example", 403),
        ("Origin: null", 403),
        ("Origin: http://localhost:8765", 403),
        ("Origin: http://localhost", 200),
    ],
)
async def test_pages_of_other_origins_change_nothing(field: str, status: int) -> None:
    """A browser sends a POST without asking first; the port is open to programs of this machine."""
    async with running(configured(server=ADMIN)) as server:
        assert (await ask(server.server.admin_port, "/v1/reload", field, method="POST"))[0] == status
        assert (await ask(server.server.admin_port, "/metrics", field))[0] == status


@pytest.mark.parametrize(("keys", "status"), [(None, 421), ("plain", 421), ("named", 401)])
async def test_rebound_names_do_not_reach_it(keys: str | None, status: int, tmp_path: Path) -> None:
    """A page whose name is made to resolve to this machine is no program of this machine."""
    (tmp_path / "plain").write_text("secret\n")
    files = {None: None, "plain": tmp_path / "plain", "named": _keys(tmp_path)}
    async with running(configured(server=ADMIN | {"api_keys_file": files[keys]})) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.admin_port)
        writer.write(b"POST /v1/drain HTTP/1.1\r\nHost: evil.test\r\nContent-Length: 0\r\n\r\n")
        assert (await read_answer(reader))[0] == status
        writer.close()
        assert server.server.is_ready


async def test_a_reload_says_what_became_of_each_file(tmp_path: Path) -> None:
    """200 if all were read, 500 if one was not, and sessions whose keys are gone end, as on SIGHUP."""
    path = _keys(tmp_path)
    bearer = f"Authorization: Bearer {key_of('operator')}"
    async with (
        running(configured(server=ADMIN | {"api_keys_file": path})) as server,
        server.client(additional_headers={"X-API-Key": key_of("speaker")}) as client,
    ):
        admin = server.server.admin_port
        server.server.reloadables.add("voices", lambda: None)
        status, _, body = await ask(admin, "/v1/reload", bearer, method="POST")
        assert (status, json.loads(body)) == (200, {"reloaded": ["API keys", "voices"], "failed": {}})
        assert await client.pong() == []
        path.write_text("[operator]\n")
        status, _, body = await ask(admin, "/v1/reload", bearer, method="POST")
        told = json.loads(body)
        assert status == 500 and told["reloaded"] == ["voices"]
        assert "[operator] hash" in told["failed"]["API keys"]
        assert await client.pong() == []
        write_keys(path, {"operator": ["admin"]})
        assert (await ask(admin, "/v1/reload", bearer, method="POST"))[0] == 200
        assert (await client.until("error"))["code"] == "unauthorized"


async def test_a_drain_lets_what_is_open_finish_however_often_it_is_asked_for() -> None:
    """Like the first SIGTERM: the status says so meanwhile, and a second request cuts nothing."""
    synthesizer = FakeSynthesizer(speed=1.0)
    config = configured(server=ADMIN, drain_timeout_s=10)
    server = Server(config, synthesizer)
    await server.start()
    serving = asyncio.ensure_future(server.run_until_stopped())
    await asyncio.sleep(0)
    asked = Running(server, synthesizer, [])
    async with asked.client() as client:
        await client.say("speak", id="a", text="Hello there. How are you?", lead_ms=None)
        await client.until("started")
        admin = server.admin_port
        for _ in range(3):
            status, _, body = await ask(admin, "/v1/drain", method="POST")
            assert (status, json.loads(body)) == (202, {"state": "draining", "drain_timeout_s": 10})
        assert json.loads((await ask(admin, "/v1/status"))[2])["state"] == "draining"
        assert (await ask(server.port, "/readyz"))[0] == 503
        assert (await client.until("done"))["reason"] == "completed"
    async with asyncio.timeout(30):
        await serving


async def test_it_speaks_tls_where_the_public_port_does(tmp_path: Path) -> None:
    """Keys are not sent in the open."""
    certificate, key = write_certificate(tmp_path)
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    options = ADMIN | {"tls_cert": certificate, "tls_key": key}
    async with running(configured(server=options)) as server:
        assert (await ask(server.server.admin_port, "/metrics", tls=context))[0] == 200
