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

STUCK_S = 6.0
"""How long a write may be stuck: some times as long as what another client hears meanwhile."""
SENTENCE = "deaf bead. "
"""0.4 s of sound."""


async def test_a_client_that_never_reads_delays_no_other_and_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its writes are stuck another hears an utterance at its pace; then it is cut and its slots are free."""
    monkeypatch.setattr(connection, "SEND_BUFFER_BYTES", 4096)
    config = configured(write_timeout_s=STUCK_S)
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
            assert (done["sentences"], figure(server, "tts_slow_client_closed_total")) == (3, 0)

            await eventually(lambda: figure(server, "tts_slow_client_closed_total") == 1)
            await eventually(lambda: figure(server, "tts_requests_total", outcome="client_gone") == 1)
            await eventually(
                lambda: not figure(server, "tts_slots_used") and not figure(server, "tts_listeners")
            )
            unread.connection.transport.abort()  # a client that does not read does not see the end either


async def test_a_client_that_reads_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes that stall for too long cut the connection."""
    monkeypatch.setattr(connection, "SEND_BUFFER_BYTES", 4096)
    config = configured(write_timeout_s=0.2, max_audio_s=3600.0, speech={"lead_ms": None})
    async with running(config, FakeSynthesizer(ms_per_char=2000.0, chunk_ms=2000)) as server:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", server.server.port))
        async with server.client("?encoding=pcm_s16le", sock=sock, max_queue=1) as client:
            await client.say("speak", id="a", text=SENTENCE * 20)
            await eventually(lambda: b"tts_slow_client_closed_total 1.0" in server.server.metrics.render())
            client.connection.transport.abort()
