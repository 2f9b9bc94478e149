"""The trace of an utterance, over a WebSocket and over HTTP: what its client waited for, and nothing that it said."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode, format_span_id

from streamer.errors import EngineError
from streamer.synthesis import Room
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import Running, configured, eventually, running
from tests.telemetry.recorded import Recorded

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
TEXT = "Xyzzy is here. Plugh is there."
UTTERANCE = [
    "utterance",
    "utterance > encode",
    "utterance > queue wait",
    "utterance > rate wait",
    "utterance > send",
    "utterance > send",
    "utterance > sentence",
    "utterance > sentence",
]


async def post(server: Running, text: str = TEXT, fields: str = "") -> tuple[int, bytes, bytes]:
    """Have a text spoken over HTTP."""
    body = json.dumps({"text": text}).encode()
    head = f"POST /v1/speech HTTP/1.1\r\nHost: test\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
    return await server.http(head.encode() + body)


def attributes(span: ReadableSpan) -> dict[str, object]:
    return {name.removeprefix("streamer."): value for name, value in (span.attributes or {}).items()}


async def test_an_utterance_over_a_websocket_is_a_tree() -> None:
    """Its waits, each sentence in the making and on its way, and the encoder are within it, and it in its session."""
    recorded = Recorded()
    async with running(tracer=recorded.tracer) as server:
        headers = {"traceparent": TRACEPARENT}
        async with server.client("?lang=en", additional_headers=headers) as client:
            await client.say("speak", id="a", text=TEXT)
            done = await client.until("done")
        await eventually(lambda: recorded.named("session"))
    assert recorded.tree() == sorted(["session", *(f"session > {path}" for path in UTTERANCE)])
    (session,), (utterance,) = recorded.named("session"), recorded.named("utterance")
    assert session.parent is not None and format_span_id(session.parent.span_id) == PARENT
    assert {span.context.trace_id for span in recorded.spans if span.context} == {int(TRACE, 16)}
    assert attributes(session)["url.path"] == "/v1/stream" and attributes(session)["close_code"] == 1000
    told = attributes(utterance)
    assert (told["outcome"], told["audio_ms"]) == ("ok", done["audio_ms"])
    assert [event.name for event in utterance.events] == ["first audio"]
    assert [attributes(span)["sentence_index"] for span in recorded.named("sentence")] == [0, 1]
    assert [attributes(span)["truncated"] for span in recorded.named("sentence")] == [False, False]
    assert "cancelled" not in recorded.everything()
    num_sent = sum(int(str(attributes(span)["num_packets"])) for span in recorded.named("send"))
    assert num_sent == attributes(recorded.named("encode")[0])["num_packets"] == done["packets"]
    assert not [span for span in recorded.spans if span.status.status_code is StatusCode.ERROR]


async def test_an_utterance_over_http_is_a_tree() -> None:
    """The request stands where the session stands otherwise, and continues its client's trace as well."""
    recorded = Recorded()
    async with running(tracer=recorded.tracer) as server:
        status, _, body = await post(server, fields=f"traceparent: {TRACEPARENT}\r\n")
        assert status == 200 and body.startswith(b"OggS")
        for path in ("/metrics", "/livez", "/v1/voices", "/"):
            await server.get(path)
    assert recorded.tree() == sorted(["request", *(f"request > {path}" for path in UTTERANCE)])
    (request,) = recorded.named("request")
    assert request.parent is not None and format_span_id(request.parent.span_id) == PARENT
    assert (attributes(request)["http.request.method"], attributes(request)["url.path"]) == (
        "POST",
        "/v1/speech",
    )


async def test_nothing_that_a_client_says_is_in_a_trace() -> None:
    """Neither its text, nor its key, nor the query of its address."""
    recorded = Recorded()
    async with running(tracer=recorded.tracer) as server:
        headers = {"Authorization": "Bearer frobozz"}
        async with server.client("?lang=en&voice=tone", additional_headers=headers) as client:
            await client.say("speak", id="a", text=TEXT)
            await client.until("done")
        await post(server, fields="X-API-Key: frobozz\r\n")
        await eventually(lambda: recorded.named("session"))
    for secret in ("Xyzzy", "xyzzy", "Plugh", "frobozz", "lang=en"):
        assert secret not in recorded.everything()


@pytest.mark.parametrize("is_http", [True, False])
async def test_a_failure_is_recorded_where_it_happened(is_http: bool) -> None:
    """The sentence, its utterance and the request that failed with it tell the code, as the client is told."""
    recorded, fake = Recorded(), FakeSynthesizer()
    fake.fail_on["Plugh"] = EngineError("the engine stumbled")
    async with running(synthesizer=fake, tracer=recorded.tracer) as server:
        if is_http:
            await server.http(
                b"POST /v1/speech HTTP/1.1\r\nHost: test\r\nContent-Length: 17\r\n\r\n" + b'{"text": "Plugh"}'
            )
        else:
            async with server.client() as client:
                await client.say("speak", id="a", text="Plugh")
                assert (await client.until("done"))["reason"] == "failed"
        await eventually(lambda: recorded.named("request" if is_http else "session"))
    failed = [span for span in recorded.spans if span.status.status_code is StatusCode.ERROR]
    assert [span.name for span in failed] == ["sentence", "utterance", *(["request"] if is_http else [])]
    assert {(span.status.description, attributes(span)["error.type"]) for span in failed} == {
        ("the engine stumbled", "engine_failed")
    }
    assert attributes(recorded.named("utterance")[0])["outcome"] == "error"


async def test_what_a_client_gives_up_is_no_failure() -> None:
    """A cancelled utterance, and one whose connection is gone, end all of their spans without an error."""
    recorded, fake = Recorded(), FakeSynthesizer(speed=0.5)
    async with running(synthesizer=fake, tracer=recorded.tracer) as server:
        async with server.client() as client:
            await client.say("speak", id="a", text=TEXT)
            await client.until("sentence_start")
            await client.say("cancel", id="a")
            await client.until("done")
            await client.say("speak", id="b", text=TEXT)
            await client.until("sentence_start")
        await eventually(lambda: recorded.named("session"))
        async with server.line() as (reader, writer):
            body = json.dumps({"text": TEXT}).encode()
            writer.write(
                b"POST /v1/speech HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            await reader.readuntil(b"\r\n\r\n")
        await eventually(lambda: recorded.named("request"))
    outcomes = [attributes(span)["outcome"] for span in recorded.named("utterance")]
    assert outcomes == ["cancelled", "client_gone", "client_gone"]
    assert not [span for span in recorded.spans if span.status.status_code is StatusCode.ERROR]
    assert {attributes(span).get("cancelled") for span in recorded.named("sentence")} == {True}
    assert len(recorded.named("send")) == 3 and len(recorded.named("encode")) == 3


async def test_the_wait_for_room_is_a_span() -> None:
    """How long an utterance stood in the queue can be read off its trace, also if it was refused in the end."""
    recorded, fake = Recorded(), FakeSynthesizer()
    room = Room(num_listeners=1, max_listeners=4, num_unheard=0, num_short=0, max_short=1, mean_stay_s=2.0)
    fake.room = replace(room, num_listeners=4)
    config = configured(max_start_wait_s=0.05)
    async with running(config, fake, tracer=recorded.tracer) as server, server.client() as client:
        await client.say("speak", id="a", text="Hello.")
        assert (await client.until("done"))["error"]["code"] == "overloaded"
    (wait,) = recorded.named("queue wait")
    assert attributes(wait)["error.type"] == "overloaded" and not recorded.named("sentence")


async def test_an_underrun_is_an_event_of_its_utterance() -> None:
    """Where playback stopped, the trace says so, and for how long."""
    recorded = Recorded()
    fake = FakeSynthesizer(speed=0.5)
    async with running(synthesizer=fake, tracer=recorded.tracer) as server, server.client() as client:
        await client.say("speak", id="a", text="I am going to the shop.")
        await client.until("done")
        underruns = server.server.metrics.registry.get_sample_value("tts_underruns_total")
    events = [event for event in recorded.named("utterance")[0].events if event.name == "underrun"]
    assert len(events) == underruns and underruns
    assert all(float(str((event.attributes or {})["streamer.seconds"])) > 0 for event in events)


async def test_the_synthesizer_is_handed_the_sentence_s_span() -> None:
    """With it a back end, also in another process, continues the trace; without traces it is handed nothing."""
    recorded, fake = Recorded(), FakeSynthesizer()
    async with running(synthesizer=fake, tracer=recorded.tracer) as server:
        await post(server)
        handed = [request.traceparent for request in fake.requests]
        contexts = [span.context for span in recorded.named("sentence")]
        assert handed == [
            f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
            for context in contexts
            if context
        ]
    fake = FakeSynthesizer()
    async with running(synthesizer=fake) as server:
        await post(server)
        assert {request.traceparent for request in fake.requests} == {""}


async def test_a_stopped_server_sends_the_spans_of_what_it_cut() -> None:
    """A session that outlives the drain ends its spans with the server."""
    recorded = Recorded()
    async with running(tracer=recorded.tracer) as server, server.client() as client:
        await client.say("start", id="a")
        await client.until("started")
        server.server.stop()
        await client.until("done")
        await asyncio.sleep(0)
    assert [span.name for span in recorded.spans][-1] == "session"
