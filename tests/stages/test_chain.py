"""Which models get a thread beside the engine's."""

import pytest

from streamer.stages import chain
from streamer.stages.chain import build_stages, stream_beside
from tests.fakes.tiny_bark import tiny_model


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(chain, "num_cores", lambda: 2)


def test_the_last_stages_of_a_narrow_model_run_on_a_thread_of_their_own():
    model = tiny_model()
    stages = build_stages(model, num_slots=1, stream=stream_beside(model, None))
    assert [stage.runs_beside for stage in stages] == [False, False, True, True]


@pytest.mark.parametrize("reason", ["an operator who allows one thread", "a single core", "a wide model"])
def test_there_is_none_for(reason, monkeypatch):
    """Who allows one thread gets one, a single core has no use for two, and a wide model's steps share all cores."""
    if reason == "a single core":
        monkeypatch.setattr(chain, "num_cores", lambda: 1)
    elif reason == "a wide model":
        monkeypatch.setattr(chain, "PARALLEL_WIDTH", 1)
    model = tiny_model()
    assert stream_beside(model, 1 if reason.startswith("an operator") else None) is None
    assert not any(stage.runs_beside for stage in build_stages(model, num_slots=1))
