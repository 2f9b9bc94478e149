"""An engine over the toy stages, whose integrity is checked after every test."""

import pytest

from tests.engine.toy_stages import MakeStage, PlanStage, toy_engine


@pytest.fixture
def make_stage():
    return MakeStage()


@pytest.fixture
def engine(make_stage):
    engine = toy_engine(PlanStage(), make_stage, max_waiting=2)
    yield engine
    if engine.failure is None:
        engine.check_integrity()
