"""The figures of a worker, as Prometheus reads them from its port."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamer.backends.workers.worker import Worker
from streamer.errors import ConfigError, ModelNumericError
from streamer.synthesis import Room
from tests.backends.workers.fleet import front_end, request, speak, until, worker, worker_server
from tests.fakes.synthesizer import FakeSynthesizer

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


async def get(port: int, path: str = "/metrics", accept: str = "*/*") -> tuple[int, dict[str, str], str]:
    """Return the status, the header fields and the body of an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    status, *fields = head.split("\r\n")
    return int(status.split()[1]), dict(field.split(": ", 1) for field in fields), body


async def figures(port: int) -> dict[str, float]:
    """Return the value of each series; those with labels have the labels' values in their names."""
    return {
        " ".join((sample.name, *(sample.labels[name] for name in sorted(sample.labels)))): sample.value
        for family in text_string_to_metric_families((await get(port))[2])
        for sample in family.samples
    }


async def test_each_sentence_is_counted_once_by_how_it_ended() -> None:
    """Completed, cancelled by its front end, refused for lack of room, or failed; and the sound that was sent."""
    fake = FakeSynthesizer(ms_per_char=10)
    fake.fail_on["Bad"] = ModelNumericError("not a number")
    async with worker(fake, has_metrics=True) as one, front_end(one) as front:
        port = one.metrics_port
        await speak(front, request("A hundred ms"))
        with pytest.raises(ModelNumericError):
            await speak(front, request("Bad"))
        fake.stall_on = "Hello"
        speaking = asyncio.create_task(speak(front, request("Hello")))
        await until(lambda: fake.num_open)
        while_open = await figures(port)
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)
        await until(lambda: not fake.num_open)
        fake.room = Room(1, 1, 0, 0, 1, mean_stay_s=1)
        speaking = asyncio.create_task(speak(front, request("No room")))
        await until(lambda: one.server.worker.sentences.num_ended["refused"])
        told = await figures(port)
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)
    ended = {name.split()[1]: value for name, value in told.items() if "sentences_total" in name}
    assert ended == {"completed": 1, "cancelled": 1, "refused": 1, "failed": 1}
    assert told["tts_worker_audio_seconds_total"] == pytest.approx(0.12)
    assert (while_open["tts_worker_sentences_open"], told["tts_worker_sentences_open"]) == (1, 0)
    assert told["tts_worker_connections"] >= 1  # the one over which it is watched


async def test_it_answers_while_the_model_is_loaded_and_says_what_it_is() -> None:
    """A worker that starts is not a worker that is down."""
    fake = FakeSynthesizer(warm_up_s=30)
    server = worker_server(fake, has_metrics=True)
    starting = asyncio.create_task(server.start())
    await until(lambda: server.metrics_port and server.metrics_port._servers)
    assert server.metrics_port is not None
    loading = await figures(server.metrics_port.number)
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting
    async with worker(has_metrics=True) as one:
        ready = await figures(one.metrics_port)
        one.server.worker.drain()
        draining = await figures(one.metrics_port)
        one.fake.die()
        dead = await figures(one.metrics_port)
    assert [told["tts_ready"] for told in (loading, ready, draining, dead)] == [0, 1, 0, 0]
    assert [told["tts_engine_up"] for told in (loading, ready, draining, dead)] == [1, 1, 1, 0]
    assert ready["tts_build_info fake 1.2.3"] == 1 and loading["tts_build_info  1.2.3"] == 1
    assert ready["process_resident_memory_bytes"] > 1e6


async def test_it_speaks_openmetrics_to_those_who_accept_it() -> None:
    """Prometheus does; all others get the older text."""
    async with worker(has_metrics=True) as one:
        for accept, kind, end in (
            (OPENMETRICS, "application/openmetrics-text; version=1.0.0", "# EOF\n"),
            ("*/*", "text/plain; version=0.0.4", "\n"),
        ):
            status, fields, body = await get(one.metrics_port, accept=accept)
            assert (status, fields["Vary"]) == (200, "Accept")
            assert fields["Content-Type"].startswith(kind) and body.endswith(end)
            assert int(fields["Content-Length"]) == len(body.encode())


@pytest.mark.parametrize("path", ["/", "/livez", "/v1/drain", "/metrics/", "//metrics", "/METRICS"])
async def test_it_answers_nothing_else(path: str) -> None:
    """Above all it takes no sentences: whoever may read figures may not speak."""
    async with worker(has_metrics=True) as one:
        assert (await get(one.metrics_port, path))[0] == 404
        assert (await get(one.metrics_port, "/metrics?format=x"))[0] == 200


async def test_a_port_that_is_taken_is_named() -> None:
    """The message names the option, and the worker's own port is free again."""
    async with worker(has_metrics=True) as one:
        server = worker_server(FakeSynthesizer(), has_metrics=True, metrics_port=one.metrics_port)
        with pytest.raises(ConfigError, match=f"worker_metrics_port {one.metrics_port}: another program"):
            await server.start()


def test_a_worker_tells_figures_only_if_asked_to() -> None:
    """Without the option there is no port."""
    server = worker_server(FakeSynthesizer())
    assert server.metrics_port is None and isinstance(server.worker, Worker)
