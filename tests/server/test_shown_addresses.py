"""Who is told where a front end's workers are: the operator, and programs of this machine if it alone is served."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.datastructures import Headers

from streamer.backends.workers.synthesizer import WorkersSynthesizer
from streamer.server.access import is_of_this_machine
from streamer.server.app import Server
from streamer.server.http import Request
from streamer.synthesis import Health, WorkerHealth, WorkersHealth
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.named_keys import key_of, write_keys
from tests.server.speaking import configured, line, read_answer, running

HOST = "10.11.12.13"
WORKERS = WorkersHealth(
    (
        WorkerHealth(f"ws://{HOST}:8766", True, "", 1, 2, 4, 9, 0, 0, 0),
        WorkerHealth(f"ws://{HOST}:8767", False, f"it cannot be reached ({HOST})", 0, None, None, 0, 0, 0, 1),
    )
)
PATHS = ("/v1/status", "/readyz", "/livez", "/metrics")


class FrontEnd(FakeSynthesizer):
    """A synthesizer that seems to have workers."""

    def health(self) -> Health:
        return replace(super().health(), workers=WORKERS)


async def _told(port: int | None, path: str, fields: str) -> bytes:
    assert port is not None
    async with line(port) as (reader, writer):
        writer.write(f"GET {path} HTTP/1.1\r\n{fields}\r\n\r\n".encode())
        status, _, body = await read_answer(reader)
    assert status == 200
    return body


@pytest.mark.parametrize(
    ("fields", "is_told"),
    [
        ("Host: localhost", True),
        ("Host: 127.0.0.1:8765", True),
        ("Host: test", False),
        ("Host: localhost\r\nX-Forwarded-For: 203.0.113.9", False),
        ("Host: localhost\r\nForwarded: for=203.0.113.9", False),
        ("Host: localhost\r\nX-Real-IP: 203.0.113.9", False),
        ("Host: localhost\r\nVia: 1.1 proxy", False),
        ("Host: localhost\r\nX-Forwarded-For: ", False),
    ],
)
@pytest.mark.parametrize(
    ("host", "keys"),
    [
        ("127.0.0.1", None),
        ("localhost", None),
        ("127.0.0.1", "plain"),
        ("0.0.0.0", None),
        ("0.0.0.0", "plain"),
    ],
)
async def test_strangers_are_told_states_and_counts_alone(
    host: str, keys: str | None, fields: str, is_told: bool, tmp_path: Path
) -> None:
    """A peer on this machine may be a forwarder that adds no header: it is believed only where the server has neither
    keys nor an address that others reach."""
    (tmp_path / "plain").write_text("secret\n")
    is_told = is_told and host != "0.0.0.0" and keys is None
    options = {
        "host": host,
        "api_keys_file": None if keys is None else tmp_path / keys,
        "allowed_origins": ("http://test",),
    }
    async with running(configured(server=options), FrontEnd()) as server:
        told = {path: await _told(server.server.port, path, fields) for path in PATHS}
    shown = {path for path, body in told.items() if HOST.encode() in body}
    assert shown == ({"/v1/status", "/metrics"} if is_told else set())
    status: dict[str, Any] = json.loads(told["/v1/status"])
    assert status["state"] == "degraded" and status["why"][0] == "of 2 workers 1 can be used"
    counts = {"num_all": 2, "num_answering": 1, "num_ready": 1}
    assert counts.items() <= status["workers"].items()
    assert ("each" in status["workers"], len(status["why"])) == (is_told, 1 + is_told)
    assert b'tts_workers{state="silent"} 1.0' in told["/metrics"] and told["/metrics"].endswith(b"\n")


async def test_a_key_with_the_scope_is_told(tmp_path: Path) -> None:
    """Wherever its holder is."""
    keys = write_keys(tmp_path / "keys.toml", {"operator": ["admin", "metrics"]})
    async with running(configured(server={"api_keys_file": keys}), FrontEnd()) as server:
        fields = f"Host: test\r\nX-Forwarded-For: 203.0.113.9\r\nAuthorization: Bearer {key_of('operator')}"
        for path in PATHS:
            assert (HOST.encode() in await _told(server.server.port, path, fields)) == (
                path in ("/v1/status", "/metrics")
            )


@pytest.mark.parametrize("keys", [None, "plain"])
@pytest.mark.parametrize("fields", ["Host: localhost", "Host: localhost\r\nVia: 1.1 proxy"])
async def test_all_who_reach_the_operators_port_are_told(
    fields: str, keys: str | None, tmp_path: Path
) -> None:
    """Without a key with the scope only this machine reaches it; the probes name nobody there either."""
    (tmp_path / "plain").write_text("secret\n")
    options = {"host": "0.0.0.0", "admin_port": 0, "api_keys_file": None if keys is None else tmp_path / keys}
    async with running(configured(server=options), FrontEnd()) as server:
        for path in PATHS:
            is_told = HOST.encode() in await _told(server.server.admin_port, path, fields)
            assert is_told == (path in ("/v1/status", "/metrics"))


@pytest.mark.parametrize(
    ("address", "is_of_this"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("2001:db8::/64", False),
        ("fe80::/64", False),
        ("local", False),
    ],
)
def test_the_address_counts(address: str, is_of_this: bool) -> None:
    """One that is not known to be this machine's is somebody else's."""
    assert is_of_this_machine(Request("GET", "/", "", Headers(Host="localhost"), address)) == is_of_this


async def test_probes_of_a_front_end_without_workers_name_none() -> None:
    """Neither while it waits for them nor by what went wrong."""
    server = Server(configured(), WorkersSynthesizer([f"ws://{HOST}:1"], version="1"))
    server.status.is_listening = True
    (worker,) = server._synthesizer.workers  # type: ignore[attr-defined]
    worker.problem = f"it cannot be reached ({HOST})"
    state, reasons = server.status.state(shows_addresses=False)
    assert (state, reasons) == ("loading", ["of 1 workers none can be used"])
    assert HOST in server.status.state()[1][1]
    assert HOST not in (server._synthesizer.health().reason or "")
