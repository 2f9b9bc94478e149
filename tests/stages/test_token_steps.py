"""The steps of a causal model draw the same tokens in their compiled form as in torch's operations."""

import pytest
import torch

from streamer.models.config import TransformerConfig
from streamer.models.gpt import CausalGpt
from streamer.models.kv_cache import KvCache
from streamer.sampling import SamplingParams
from streamer.stages.token_steps import Choice, TokenSteps

CONFIG = TransformerConfig(1, 1, 16, 32, 40, 40)
NUM_SLOTS = 4
IDLE_FILTER = 1000
"""A top-k that filters nothing, but has the step draw by torch's operations."""


def steps_of(gpt: CausalGpt, choice: Choice, top_k: int | None) -> TokenSteps:
    steps = TokenSteps(gpt, KvCache(CONFIG, NUM_SLOTS), choice)
    for slot, (temperature, min_end) in enumerate([(0.7, 0.2), (0.0, 0.2), (1.2, 0.001), (3.0, 0.9)]):
        params = SamplingParams(0, temperature, temperature, temperature, top_k, min_eos_p=min_end)
        steps.begin(slot, 1000 + slot, temperature, params)
    return steps


@pytest.mark.parametrize("choice", [Choice(0, 21, end=20), Choice(10, 10, num_turns=3)], ids=["end", "turns"])
def test_the_compiled_draw_of_a_step_is_the_plain_one(choice: Choice) -> None:
    """Tokens, ends and the next step's input agree, for slots in any order, each with parameters of its own."""
    torch.manual_seed(0)
    gpt = CausalGpt(CONFIG).eval()
    gpt.lm_head.weight.data *= 40  # clear favourites, so that ends are likely at times
    compiled, plain = steps_of(gpt, choice, None), steps_of(gpt, choice, IDLE_FILTER)
    ends = set()
    for number in range(20):
        places = [
            (slot, number, 3 * slot + number) for slot in ((2, 0, 3, 1) if number % 2 else (1, 2, 3, 0))
        ]
        drawn = compiled.decode(places, [SamplingParams(0)] * NUM_SLOTS)
        assert torch.equal(drawn, plain.decode(places, [SamplingParams(0, top_k=IDLE_FILTER)] * NUM_SLOTS))
        ends |= set(drawn[:, 1].tolist())
    assert ends == ({0, 1} if choice.end >= 0 else {0})
