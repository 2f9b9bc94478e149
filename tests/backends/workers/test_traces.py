"""One trace leads from a client over the front end into the engine of a worker."""

from __future__ import annotations

from pathlib import Path

from opentelemetry.trace import format_trace_id

from streamer.backends.local import LocalSynthesizer
from streamer.backends.workers.synthesizer import WorkersSynthesizer
from streamer.config import EngineConfig
from tests.backends.workers.fleet import VERSION, until, worker_server
from tests.fakes.speaking_model import save_speaking_model
from tests.server.speaking import connected, eventually, serving
from tests.telemetry.recorded import Recorded

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
STAGES = {"semantic", "coarse", "fine", "codec"}


async def test_a_workers_stages_are_in_the_front_ends_sentence(tmp_path: Path) -> None:
    """Both processes tell the client's trace, and the worker's spans hang below the front end's `sentence`."""
    of_front, of_worker = Recorded(), Recorded()
    config = EngineConfig(device="cpu", dtype="float32", num_slots=2, num_threads=1)
    model = save_speaking_model(tmp_path)
    worker = worker_server(LocalSynthesizer.load(model, config, tracer=of_worker.tracer))
    await worker.start()
    front = WorkersSynthesizer([worker.address], version=VERSION)
    async with serving(front, tracer=of_front.tracer) as server:
        headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        async with connected(server, additional_headers=headers) as client:
            await client.say("speak", id="a", text="A dead fed. A cab.")
            await client.until("done")
        await eventually(lambda: of_front.named("session"))
    worker.stop()
    await worker.run_until_stopped()
    await until(lambda: {span.name for span in of_worker.spans} >= STAGES)
    assert {span.name for span in of_worker.spans} == STAGES
    spans = (*of_front.spans, *of_worker.spans)
    assert {format_trace_id(span.context.trace_id) for span in spans if span.context} == {TRACE}
    sentences = {span.context.span_id for span in of_front.named("sentence") if span.context}
    assert {span.parent.span_id for span in of_worker.spans if span.parent} == sentences
