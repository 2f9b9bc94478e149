"""A client that takes nothing harms no other: one that never reads, beside others, over a real engine."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from streamer.backends.local import LocalSynthesizer
from streamer.config import EngineConfig
from streamer.server import connection
from tests.fakes.speaking_model import save_speaking_model
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import configured, connected, eventually, figure, running, serving

SENTENCE = "deaf bead. "
"""0.4 s of sound."""


async def test_a_client_that_never_reads_delays_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its writes are stuck another hears a whole utterance; when it is gone, its slots are free."""
    monkeypatch.setattr(connection, "SEND_BUFFER_BYTES", 4096)
    config = configured(
        write_timeout_s=300.0
    )  # longer than any test: nothing but another's end frees the slots
    engine = EngineConfig(device="cpu", dtype="float32", num_slots=3, max_load=None)
    synthesizer = LocalSynthesizer.load(save_speaking_model(tmp_path), engine)
    async with serving(synthesizer, config) as server:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", server.port))
        async with connected(server, "?encoding=pcm_s16le", sock=sock, max_queue=1) as unread:
            await unread.say("speak", id="unread", text=SENTENCE * 50, lead_ms=None)
            await eventually(lambda: (figure(server, "tts_egress_buffer_bytes") or 0) > 0)

            async with connected(server) as client:
                await client.say("speak", id="read", text=SENTENCE * 3, lead_ms=0)
                done = await client.until("done")
            assert done["sentences"] == 3
            assert not figure(server, "tts_requests_total", outcome="client_gone")

            unread.connection.transport.abort()
            await eventually(lambda: figure(server, "tts_requests_total", outcome="client_gone") == 1)
            await eventually(
                lambda: not figure(server, "tts_slots_used") and not figure(server, "tts_listeners")
            )


async def test_a_client_that_reads_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes that stall for too long cut the connection, and what was being made for it is given up."""
    monkeypatch.setattr(connection, "SEND_BUFFER_BYTES", 4096)
    config = configured(write_timeout_s=0.2, max_audio_s=3600.0, speech={"lead_ms": None})
    synthesizer = FakeSynthesizer(ms_per_char=2000.0, chunk_ms=2000)
    async with running(config, synthesizer) as server:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", server.server.port))
        async with server.client("?encoding=pcm_s16le", sock=sock, max_queue=1) as client:
            await client.say("speak", id="a", text=SENTENCE * 20)
            await eventually(lambda: figure(server.server, "tts_slow_client_closed_total") == 1)
            await eventually(lambda: synthesizer.num_open == 0)
            client.connection.transport.abort()
