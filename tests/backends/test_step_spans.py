"""What the engine's steps for a sentence look like in its trace."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing
from pathlib import Path

from websockets.datastructures import Headers

from streamer.backends.step_spans import StepSpans
from streamer.sampling import SamplingParams
from streamer.synthesis import SentenceRequest
from tests.backends.tiny_speaker import tiny_synthesizer
from tests.telemetry.recorded import Recorded

STAGES = ["codec", "coarse", "fine", "semantic"]


def test_steps_become_one_span_for_each_stage() -> None:
    """It lasts from the first to the last of them, and tells how many they were and what they took."""
    recorded = Recorded()
    with recorded.tracer.begin("sentence", Headers()) as sentence:
        spans = StepSpans(sentence, 0.0)
        for began_s, num_rows in ((10.0, 1), (10.5, 2), (12.0, 2)):
            spans.add("semantic", began_s, began_s + 0.25, num_rows)
        spans.add("coarse", 12.5, 13.0, 4)
        spans.record()
    assert recorded.tree() == ["sentence", "sentence > coarse", "sentence > semantic"]
    (semantic,) = recorded.named("semantic")
    assert semantic.start_time and semantic.end_time
    assert round((semantic.end_time - semantic.start_time) / 1e9, 3) == 2.25
    assert dict(semantic.attributes or {}) == {
        "streamer.num_steps": 3,
        "streamer.busy_us": 750_000,
        "streamer.mean_rows": 1.67,
    }


def test_each_step_has_a_span_if_that_is_asked_for() -> None:
    """These are within their stage's, with the rows that shared the step."""
    recorded = Recorded()
    with recorded.tracer.begin("sentence", Headers()) as sentence:
        spans = StepSpans(sentence, 1.0)
        spans.add("fine", 10.0, 10.5, 3)
        spans.add("fine", 11.0, 11.5, 1)
        spans.record()
    assert recorded.tree() == ["sentence", "sentence > fine", *["sentence > fine > step"] * 2]
    assert [dict(step.attributes or {}) for step in recorded.named("step")] == [
        {"streamer.num_rows": 3},
        {"streamer.num_rows": 1},
    ]


async def test_a_sentence_of_the_engine_has_the_spans_of_its_stages(tmp_path: Path) -> None:
    """They continue the trace that the request hands on, whether the sentence ends or is given up."""
    recorded = Recorded(step_ratio=1.0)
    synthesizer = tiny_synthesizer(tmp_path, tracer=recorded.tracer)
    await synthesizer.start()
    assert recorded.spans == ()  # the warm-up belongs to no request
    with recorded.tracer.begin("sentence", Headers()) as sentence:
        request = SentenceRequest(
            "a", "abc def", "one", SamplingParams(seed=3), traceparent=sentence.traceparent
        )
        async with aclosing(synthesizer.synthesize(request)) as chunks:
            num_chunks = [chunk async for chunk in chunks]
    assert num_chunks
    found = Counter(recorded.tree())
    assert {f"sentence > {stage}" for stage in STAGES} <= found.keys()
    num_steps = {
        stage: int(str((recorded.named(stage)[0].attributes or {})["streamer.num_steps"])) for stage in STAGES
    }
    assert all(num_steps.values())
    for stage in STAGES:
        assert found[f"sentence > {stage} > step"] == num_steps[stage]
    with recorded.tracer.begin("cut", Headers()) as cut:
        request = SentenceRequest("b", "abc def", "one", SamplingParams(seed=3), traceparent=cut.traceparent)
        async with aclosing(synthesizer.synthesize(request)) as chunks:
            await anext(chunks)
    assert "cut > semantic" in recorded.tree()
    await synthesizer.close()
