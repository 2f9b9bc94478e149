"""Which models get a thread beside the engine's."""

import pytest

from streamer.stages import chain
from streamer.stages.chain import build_stages, stream_beside
from tests.fakes.tiny_bark import tiny_model


@pytest.fixture
def model(monkeypatch):
    """A narrow model whose steps are compiled, on a machine with two cores."""
    monkeypatch.setattr(chain, "num_cores", lambda: 2)
    model = tiny_model()
    for network in (model.semantic, model.coarse):
        network.decode_step.steps_at_once = 8
    return model


def test_the_last_stages_of_a_narrow_model_run_on_a_thread_of_their_own(model):
    stream = stream_beside(model, None)
    stages = build_stages(model, num_slots=1, stream=stream)
    assert [stage.runs_beside for stage in stages] == [False, False, True, True]
    assert stream.close(10)


@pytest.mark.parametrize(
    "reason", ["an operator who allows one thread", "a single core", "a wide model", "a model in floats"]
)
def test_there_is_none_for(model, reason, monkeypatch):
    """Who allows one thread gets one, one core has no use for two, and the steps of the others use all cores."""
    if reason == "a single core":
        monkeypatch.setattr(chain, "num_cores", lambda: 1)
    elif reason == "a wide model":
        monkeypatch.setattr(chain, "PARALLEL_WIDTH", 1)
    elif reason == "a model in floats":
        model.coarse.decode_step.steps_at_once = 1
    stream = stream_beside(model, 1 if reason.startswith("an operator") else None)
    assert stream is None
    stages = build_stages(model, num_slots=1, stream=stream)
    assert not any(stage.runs_beside for stage in stages)
