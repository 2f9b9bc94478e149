"""TLS on the server's own port: sessions and requests over it, mistakes told at the start, a reload while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import os
import shutil
import signal
import ssl
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from streamer.config import ServerConfig
from streamer.errors import ConfigError
from streamer.server import connection
from streamer.server.app import Server
from streamer.server.http import Exchange
from streamer.server.tls import Certificate
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.certificates import trusting, write_certificate
from tests.server.speaking import Client, Running, configured, eventually, figure, read_answer, running

GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextlib.asynccontextmanager
async def _serving(folder: Path, **limits: float) -> AsyncIterator[tuple[Running, ssl.SSLContext]]:
    """A server with TLS, and the context of a client that trusts it."""
    chain, key = write_certificate(folder)
    async with running(configured(server={"tls_cert": chain, "tls_key": key}, **limits)) as server:
        yield server, trusting(chain)


@contextlib.asynccontextmanager
async def _line(
    server: Running, context: ssl.SSLContext
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("localhost", server.server.port, ssl=context)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _name_of(server: Running) -> str:
    """The common name in the certificate that a new client is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with _line(server, context) as (_, writer):
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    from cryptography import x509

    return str(x509.load_der_x509_certificate(certificate).subject.rfc4514_string())


async def test_sessions_and_requests_run_over_tls(tmp_path: Path) -> None:
    """An utterance is spoken over `wss`, two requests share a connection, and the printed address says `https`."""
    async with _serving(tmp_path) as (server, context):
        assert server.server.url == f"https://localhost:{server.server.port}/"
        url = f"wss://localhost:{server.server.port}/v1/stream"
        async with connect(url, proxy=None, ssl=context) as opened:
            client = Client(opened)
            await client.say("speak", id="a", text="Hello there. How are you?", lead_ms=None)
            assert (await client.until("done"))["reason"] == "completed"
        assert opened.close_code == 1000
        async with _line(server, context) as (reader, writer):
            for _ in range(2):
                writer.write(GET)
                assert (await read_answer(reader))[0] == 200
            writer.write(GET.replace(b"Host", b"Connection: close\r\nHost"))
            assert (await read_answer(reader))[0] == 200
            assert await reader.read() == b""
        await eventually(lambda: not server.server.num_connections)


async def test_an_oversized_body_is_answered_over_tls(tmp_path: Path) -> None:
    """The answer arrives although the client continues to send."""
    async with _serving(tmp_path) as (server, context), _line(server, context) as (reader, writer):

        async def unused(_exchange: Exchange) -> None: ...

        server.server.routes.add("POST", "/test", unused)
        writer.write(
            b"POST /test HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 10_000
        )
        assert (await read_answer(reader))[0] == 413


async def test_a_slow_reader_is_cut_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What TLS holds back counts as unsent, too."""
    monkeypatch.setattr(connection, "SEND_BUFFER_BYTES", 4096)
    num_written = 0

    async def handle(exchange: Exchange) -> None:
        nonlocal num_written
        await exchange.start(HTTPStatus.OK)
        while True:
            await exchange.write(b"x" * 10_000)
            num_written += 10_000

    async with _serving(tmp_path, write_timeout_s=0.3) as (server, context):
        server.server.routes.add("GET", "/test", handle)
        async with _line(server, context) as (_, writer):
            writer.write(GET.replace(b"/livez", b"/test"))
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await eventually(lambda: figure(server.server, "tts_slow_client_closed_total") == 1)
            assert num_written < 10_000_000


async def test_connections_are_counted_before_their_handshake(tmp_path: Path) -> None:
    """A client that never begins TLS takes no place from others, and stays until its time is up."""
    async with _serving(tmp_path, auth_timeout_s=0.5, max_connections=1) as (server, context):
        async with server.line() as (reader, _):
            await eventually(lambda: server.server.num_connections == 1)
            async with _line(server, context) as (busy, writer):
                writer.write(GET.replace(b"/livez", b"/v1/voices"))
                assert (await read_answer(busy))[0] == 200
                assert server.server.num_connections == 2
            assert await reader.read() == b""
        await eventually(lambda: not server.server.num_connections)
        assert figure(server.server, "tts_connections_rejected_total", reason="tls") == 1


@pytest.mark.parametrize(
    "what", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01" + b"\0" * 600, b"\x00"]
)
async def test_what_is_no_handshake_is_dropped(tmp_path: Path, what: bytes) -> None:
    """Plain HTTP on a port with TLS, and noise: the next client is served all the same."""
    async with _serving(tmp_path, auth_timeout_s=0.5) as (server, context):
        async with server.line() as (reader, writer):
            writer.write(what)
            with contextlib.suppress(ConnectionError):
                await reader.read()
        async with _line(server, context) as (reader, writer):
            writer.write(GET)
            assert (await read_answer(reader))[0] == 200


async def test_old_versions_are_refused(tmp_path: Path) -> None:
    """TLS 1.2 is the least."""
    async with _serving(tmp_path) as (server, context):
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with pytest.warns(DeprecationWarning):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            async with _line(server, context):
                pass


def _spoil(chain: Path, key: Path, how: str) -> None:
    match how:
        case "no certificate's file":
            chain.unlink()
        case "no key's file":
            key.unlink()
        case "a folder":
            chain.unlink()
            chain.mkdir()
        case "bytes":
            chain.write_bytes(b"\0\1\2")
        case "an empty file":
            chain.write_text("")
        case "the key twice":
            chain.write_bytes(key.read_bytes())
        case "the certificate twice":
            key.write_bytes(chain.read_bytes())
        case "text":
            key.write_text("nothing")
        case "a passphrase":
            write_certificate(key.parent, "server", "secret")
        case "a key of another":
            shutil.copy(write_certificate(key.parent, "other")[1], key)


@pytest.mark.parametrize(
    ("how", "option", "remedy"),
    [
        ("no certificate's file", "tls_cert", "may read"),
        ("no key's file", "tls_key", "may read"),
        ("a folder", "tls_cert", "may read"),
        ("bytes", "tls_cert", "holds no certificate"),
        ("an empty file", "tls_cert", "holds no certificate"),
        ("the key twice", "tls_cert", "holds no certificate"),
        ("the certificate twice", "tls_key", "holds no private key"),
        ("text", "tls_key", "holds no private key"),
        ("a passphrase", "tls_key", "without a passphrase"),
        ("a key of another", "tls_key", "belong together"),
    ],
)
def test_a_mistake_names_the_file_and_the_remedy(how: str, option: str, remedy: str, tmp_path: Path) -> None:
    """One line, whatever is wrong with either file, and never a prompt."""
    chain, key = write_certificate(tmp_path)
    _spoil(chain, key, how)
    with pytest.raises(ConfigError, match=remedy) as error:
        Server(configured(server={"tls_cert": chain, "tls_key": key}), FakeSynthesizer())
    assert error.value.param == option
    assert str(chain if option == "tls_cert" else key) in error.value.message
    assert "\n" not in error.value.message


@pytest.mark.parametrize("option", ["tls_cert", "tls_key"])
def test_one_without_the_other_is_a_mistake(option: str, tmp_path: Path) -> None:
    """A server that was meant to have TLS does not start without."""
    with pytest.raises(ConfigError, match="TLS needs both"):
        Certificate.of(ServerConfig(**{option: tmp_path / "server.pem"}))
    assert Certificate.of(ServerConfig()) is None


async def test_a_new_certificate_is_read_on_sighup(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """New connections see it, open ones stay; a bad file is logged and the old certificate stays."""
    async with _serving(tmp_path) as (server, context), _line(server, context) as (reader, writer):
        assert await _name_of(server) == "CN=server"
        for source in write_certificate(tmp_path, "renewed"):
            shutil.copy(source, tmp_path / f"server{source.suffix}")
        with caplog.at_level(logging.INFO, "streamer.server.reloading"):
            os.kill(os.getpid(), signal.SIGHUP)
            await eventually(lambda: "certificate: reloaded" in caplog.messages)
            assert await _name_of(server) == "CN=renewed"
            (tmp_path / "server.key").write_text("nothing")
            os.kill(os.getpid(), signal.SIGHUP)
            await eventually(lambda: "certificate: not reloaded, the old one stays" in caplog.messages)
        assert await _name_of(server) == "CN=renewed"
        writer.write(GET)
        assert (await read_answer(reader))[0] == 200


@pytest.mark.parametrize(
    "expires",
    [
        "1975-03-01T12:00:00",
        "2049-12-31T23:59:59",
        "2050-01-01T00:00:00",
        "2120-06-07T08:09:10",
        "2026-11-30",
    ],
)
@pytest.mark.parametrize("before", [b"", b"Bag Attributes: none\r\n\n"], ids=["bare", "behind text"])
def test_an_expiry_is_read_from_the_first_certificate(expires: str, before: bytes, tmp_path: Path) -> None:
    """Whatever stands around it in the file, and on both sides of 2050, from which RFC 5280 writes it otherwise."""
    date = datetime.datetime.fromisoformat(expires).replace(tzinfo=datetime.UTC)
    chain, key = write_certificate(tmp_path, expires=date)
    root, _ = write_certificate(tmp_path, "root")
    chain.write_bytes(before + chain.read_bytes() + root.read_bytes())
    assert Certificate(chain, key).expires_s == date.timestamp()


@pytest.mark.parametrize(
    ("days", "words"),
    [(-1, "has expired"), (3, "expires soon"), (13.9, "expires soon"), (14.1, None), (400, None)],
)
def test_an_expiry_is_told_once_a_day(
    days: float,
    words: str | None,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From two weeks before, and again when the file was read again and is no better."""
    now = datetime.datetime.now(datetime.UTC)
    certificate = Certificate(*write_certificate(tmp_path, expires=now + datetime.timedelta(days=days)))
    for hours, num_warnings in ((0, 1), (23, 1), (25, 2), (26, 2)):
        monkeypatch.setattr(time, "time", lambda hours=hours: now.timestamp() + 3600 * hours)
        for _ in range(3):
            if words is not None or hours == 0:
                certificate.warn_of_expiry()
        assert len(caplog.messages) == (num_warnings if words else 0)
    assert all(
        words is not None and message.startswith(f"the certificate {words}") for message in caplog.messages
    )
    if words is not None:
        certificate.reload()
        certificate.warn_of_expiry()
        assert len(caplog.messages) == 3


async def test_the_metric_is_of_the_certificate_that_is_shown(tmp_path: Path) -> None:
    """A new one counts once it was read; without TLS it is 0."""
    name = "tts_tls_certificate_expiry_timestamp_seconds"
    first, second = (datetime.datetime(year, 1, 2, tzinfo=datetime.UTC) for year in (2090, 2091))
    chain, key = write_certificate(tmp_path, expires=first)
    async with running(configured(server={"tls_cert": chain, "tls_key": key})) as server:
        await eventually(lambda: figure(server.server, name) == first.timestamp())
        write_certificate(tmp_path, expires=second)
        await server.server.reload_files()
        await eventually(lambda: figure(server.server, name) == second.timestamp())
    async with running() as server:
        assert figure(server.server, name) == 0
