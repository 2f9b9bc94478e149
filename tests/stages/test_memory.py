"""Memory is planned before it is allocated, and what does not fit is refused with a remedy."""

import re
from dataclasses import replace

import pytest
import torch

from streamer.errors import ConfigError
from streamer.process_memory import max_resident_bytes
from streamer.stages.chain import build_stages
from streamer.stages.memory import (
    CPU_SLOTS,
    MAX_SLOTS,
    MemoryPlan,
    free_memory,
    plan_memory,
)
from tests.fakes.tiny_bark import TINY, TINY_WITH_PATH, tiny_model


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.mark.parametrize("config", [TINY, TINY_WITH_PATH], ids=["free", "path"])
def test_the_plan_counts_what_the_stages_hold(config):
    """A slot's bytes are those of the caches, the automaton, the codec's state and the codes that it needs."""
    model = tiny_model(config)
    semantic, coarse, _, codec = build_stages(model, num_slots=1)
    held = sum(cache.nbytes for cache in (semantic._steps._cache, coarse._steps._cache))
    if (automata := semantic._automata) is not None:
        held += automata.successors.nbytes + automata.limits.nbytes
    plan = plan_memory(model, 1, free_bytes=None)
    codes_bytes = 4 * 105 * 8  # codebooks, 70 semantic tokens in frames, integers
    assert plan.slot_bytes == held + codec._state.nbytes + codes_bytes
    assert plan.weights_bytes >= sum(weight.nbytes for weight in model.semantic.parameters())
    assert f"{plan.num_slots} slots" in str(plan)


def test_as_many_slots_as_fit_are_planned(model):
    """On a GPU a part stays free, one slot is for padding, and there is a maximum; a CPU has a fixed number."""
    slot_bytes = plan_memory(model, 1, free_bytes=None).slot_bytes
    total = 100 * slot_bytes
    assert plan_memory(model, None, free_bytes=50 * slot_bytes, total_bytes=total).num_slots == 34
    assert plan_memory(model, None, free_bytes=10**12, total_bytes=total).num_slots == MAX_SLOTS
    assert plan_memory(model, 20, free_bytes=50 * slot_bytes, total_bytes=total).num_slots == 20
    assert plan_memory(model, None, free_bytes=None).num_slots == CPU_SLOTS


def test_slots_that_do_not_fit_are_refused_with_the_number_that_does(model):
    """The message names the number asked for and what to set."""
    slot_bytes = plan_memory(model, 1, free_bytes=None).slot_bytes
    with pytest.raises(ConfigError, match=r"35 slots.*lower num_slots to 34 or less"):
        plan_memory(model, 35, free_bytes=50 * slot_bytes, total_bytes=100 * slot_bytes)
    with pytest.raises(ConfigError, match="use a smaller model or dtype"):
        plan_memory(model, None, free_bytes=slot_bytes, total_bytes=100 * slot_bytes)


def test_a_cpu_is_not_planned():
    """The operating system manages its memory."""
    assert free_memory(torch.device("cpu")) == (None, 0)


def test_the_process_needs_more_than_the_plan():
    """The interpreter and the libraries count, and all slots on a CPU; a GPU has memory of its own for them."""
    plan = MemoryPlan(weights_bytes=1, slot_bytes=10**9, num_slots=8)
    now, most = in_bytes(plan.process_needs())
    assert now > 50e6 and 8e9 <= most < 8e9 + 1.1 * max_resident_bytes()
    now, most = in_bytes(replace(plan, is_on_gpu=True).process_needs())
    assert now <= 1.01 * most and most < 1.1 * max_resident_bytes()


def test_what_the_process_is_said_to_hold_grows_with_what_it_holds():
    """Four hundred megabytes more are told as about as many, and the most that can be needed is no less."""
    plan = MemoryPlan(weights_bytes=1, slot_bytes=1, num_slots=1)
    before, _ = in_bytes(plan.process_needs())
    held = torch.ones(400_000_000, dtype=torch.uint8)
    after, most = in_bytes(plan.process_needs())
    assert after - before == pytest.approx(400e6, abs=160e6)  # above a gigabyte it is told in tenths of one
    assert most >= after
    assert len(held)


def in_bytes(needs):
    """The two amounts of memory in a text such as `1.5 GB of main memory now, 700.0 MB at most`."""
    amounts = re.findall(r"([\d.]+) ([GM])B", needs)
    return [float(number) * {"G": 1e9, "M": 1e6}[unit] for number, unit in amounts]
