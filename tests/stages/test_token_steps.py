"""The steps of a causal model draw the same tokens compiled and in torch's operations."""

import pytest
import torch

from streamer.models.config import TransformerConfig
from streamer.models.gpt import CausalGpt
from streamer.models.kv_cache import KvCache
from streamer.sampling import SamplingParams
from streamer.stages.token_steps import Choice, TokenSteps

CONFIG = TransformerConfig(1, 1, 16, 32, 40, 40)
NUM_SLOTS = 4


def steps_of(gpt: CausalGpt, choice: Choice) -> TokenSteps:
    steps = TokenSteps(gpt, KvCache(CONFIG, NUM_SLOTS), choice)
    for slot, (temperature, min_end) in enumerate([(0.7, 0.2), (0.0, 0.2), (1.2, 0.001), (3.0, 0.9)]):
        params = SamplingParams(0, temperature, temperature, temperature, min_eos_p=min_end)
        steps.begin(slot, 1000 + slot, temperature, params)
    return steps


@pytest.mark.parametrize("choice", [Choice(0, 21, end=20), Choice(10, 10, num_turns=3)], ids=["end", "turns"])
def test_the_compiled_draw_of_a_step_is_the_plain_one(choice: Choice) -> None:
    """Tokens, ends and the next step's input agree, for slots in any order, each with parameters of its own."""
    torch.manual_seed(0)
    gpt = CausalGpt(CONFIG).eval()
    gpt.lm_head.weight.data *= 40  # clear favourites, so that ends are likely at times
    compiled, plain = steps_of(gpt, choice), steps_of(gpt, choice)
    plain._draw_on_host = None
    ends = set()
    for number in range(20):
        places = [
            (slot, number, 3 * slot + number) for slot in ((2, 0, 3, 1) if number % 2 else (1, 2, 3, 0))
        ]
        params = [SamplingParams(0, 0.7, 0.7, 0.5)] * NUM_SLOTS
        drawn = compiled.decode(places, params)
        assert torch.equal(drawn, plain.decode(places, params))
        assert torch.equal(compiled._last_tokens, plain._last_tokens)
        ends |= set(drawn[:, 1].tolist())
    assert ends == ({0, 1} if choice.end >= 0 else {0})
