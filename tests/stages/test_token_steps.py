"""The steps of a causal model draw the same tokens in their compiled form as in torch's operations."""

from collections.abc import Callable
from dataclasses import replace
from itertools import groupby, pairwise

import numpy as np
import pytest
import torch

from streamer.engine.device import numba_sampler
from streamer.engine.device.automaton import Automata, Automaton
from streamer.models.config import TransformerConfig
from streamer.models.cpu.int8_forward import MIN_WIDTH
from streamer.models.cpu.int8_gpt import use_int8
from streamer.models.gpt import CausalGpt
from streamer.sampling import SamplingParams
from streamer.stages.chain import build_stages
from streamer.stages.token_steps import Choice, TokenSteps
from tests.fakes.tiny_bark import GREEDY, run, tiny_model, tiny_voice, tiny_work

CONFIG = TransformerConfig(1, 1, 16, 32, 40, 40)
NUM_SLOTS = 4
IDLE_FILTER = 1000
"""A top-k that filters nothing, but has the step draw by torch's operations."""


def steps_of(
    gpt: CausalGpt, choice: Choice, top_k: int | None, automata: Automata | None = None
) -> TokenSteps:
    steps = TokenSteps(gpt, gpt.new_cache(NUM_SLOTS), choice, automata=automata)
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
        drawn = compiled.decode(places, [SamplingParams(0)] * NUM_SLOTS)[0]
        assert torch.equal(drawn, plain.decode(places, [SamplingParams(0, top_k=IDLE_FILTER)] * NUM_SLOTS)[0])
        ends |= set(drawn[:, 1].tolist())
    assert ends == ({0, 1} if choice.end >= 0 else {0})


@pytest.mark.parametrize(
    ("choice", "outputs", "is_kept"),
    [
        (Choice(0, 21, end=20), range(21), False),
        (Choice(0, 21, end=20), range(21), True),
        (Choice(10, 10, num_turns=3), range(10, 40), False),
        (Choice(10, 10, num_turns=3), range(3, 40), False),
    ],
    ids=["end", "automaton", "turns", "turns among more"],
)
def test_steps_that_are_compiled_with_their_draws_are_the_steps_one_by_one(
    choice: Choice, outputs: range, is_kept: bool
) -> None:
    """Tokens, ends and the cache agree to the last bit, for slots in any order, whose turns are not the same, and a
    model without some logits."""
    torch.manual_seed(0)
    gpt = CausalGpt(CONFIG).eval()
    gpt.lm_head.weight.data *= 40
    use_int8(gpt, torch.float32, outputs=outputs)
    together, single = (
        steps_of(gpt, choice, top_k, automata_of(21) if is_kept else None) for top_k in (None, IDLE_FILTER)
    )
    ends = set()
    for round_number in range(6):
        slots = (2, 0, 3, 1) if round_number % 2 else (1, 2, 3)
        begin = 5 * round_number
        places = [(slot, begin - 3 * (slot == 3) * (begin > 0), begin + slot) for slot in slots]
        made = torch.cat(together.decode(places, [SamplingParams(0)] * len(slots), 5)).unflatten(0, (5, -1))
        for number in range(5):
            at = [(slot, position + number, step + number) for slot, position, step in places]
            (one,) = single.decode(at, [SamplingParams(0, top_k=IDLE_FILTER)] * len(slots))
            assert torch.equal(made[number], one)
            ends |= set(one[:, 1].tolist())
    assert ends == ({0, 1} if choice.end >= 0 else {0})
    for mine, other in zip(together._cache.packed, single._cache.packed, strict=True):
        assert np.array_equal(mine, other)


@pytest.fixture(scope="module")
def narrow() -> CausalGpt:
    """A network whose prefills are compiled with their draws, unless the processor has AMX."""
    torch.manual_seed(3)
    gpt = CausalGpt(TransformerConfig(2, 4, MIN_WIDTH, 64, 40, 40)).eval()
    gpt.lm_head.weight.data *= 4
    use_int8(gpt, torch.float32)
    return gpt


@pytest.mark.parametrize("choice", [Choice(0, 21, end=20), Choice(10, 10, num_turns=3)], ids=["end", "turns"])
def test_a_prefill_that_is_compiled_with_its_draw_is_the_plain_one(narrow: CausalGpt, choice: Choice) -> None:
    """Tokens, ends and the cache agree, whole and in parts, and the next step feeds what was drawn."""
    compiled, plain = steps_of(narrow, choice, None), steps_of(narrow, choice, IDLE_FILTER)
    ends = set()
    for number in range(20):
        embeddings = narrow.embed(torch.randint(40, (1, 50)))
        place, start = [(number % NUM_SLOTS, number)], 32 * (number % 3 == 0) * narrow.prefills_in_parts
        if start:
            for steps in (compiled, plain):
                steps.prefill(embeddings[:, :start], place, [SamplingParams(0)])
        drawn = compiled.prefill(embeddings[:, start:], place, [SamplingParams(0)], start=start)
        with_filter = [SamplingParams(0, top_k=IDLE_FILTER)]
        assert torch.equal(drawn, plain.prefill(embeddings[:, start:], place, with_filter, start=start))
        assert torch.equal(compiled._last_tokens, plain._last_tokens)
        ends.add(int(drawn[0, 1]))
    assert ends == ({0, 1} if choice.end >= 0 else {0})
    for mine, other in zip(compiled._cache.packed, plain._cache.packed, strict=True):
        assert np.array_equal(mine, other)


def test_a_prefill_is_drawn_alike_beside_one_with_a_filter(
    narrow: CausalGpt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which of two ways a row takes does not depend on others."""
    steps = steps_of(narrow, Choice(0, 40), None)
    ways = []
    for name in ("_prefill", "_prefill_and_draw"):
        way = getattr(steps, name)
        if way is not None:
            monkeypatch.setattr(steps, name, _telling(ways, name, way))
    embeddings = narrow.embed(torch.randint(40, (2, 9)))
    params = [SamplingParams(0, top_k=3), SamplingParams(0)]
    both = steps.prefill(embeddings, [(0, 0), (1, 0)], params)
    together, ways[:] = ways[:], []
    alone = [steps.prefill(embeddings[row, None], [(row, 0)], params[row : row + 1]) for row in range(2)]
    assert torch.equal(both, torch.cat(alone))
    if steps.prefills_at_once:
        assert together == ways == ["_prefill", "_prefill_and_draw"]


def _telling(told: list[str], name: str, call: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def tell(*arguments: object, **options: object) -> torch.Tensor:
        told.append(name)
        return call(*arguments, **options)

    return tell


def automata_of(num_outputs: int) -> Automata:
    """Automata of three classes of outputs: no other than the next may follow, or the same up to twice in a row."""
    automata = Automata(NUM_SLOTS, 3, torch.arange(num_outputs) % 3)
    stays = np.full((3, 3), -1, np.int16)
    moves = stays.copy()
    for state in range(3):
        stays[state, state] = state
        stays[state, (state + 1) % 3] = moves[state, (state + 1) % 3] = (state + 1) % 3
    for slot in range(NUM_SLOTS):
        automata.begin(slot, Automaton(np.stack([stays, moves]), np.full(3, 2, np.int16)))
    return automata


@pytest.mark.parametrize("top_k", [None, IDLE_FILTER], ids=["compiled", "plain"])
def test_draws_are_kept_to_the_automaton_of_their_slot(top_k: int | None) -> None:
    """What is drawn is what the automaton allows, in both forms of a step, which agree, and none is held too long."""
    torch.manual_seed(0)
    gpt = CausalGpt(CONFIG).eval()
    gpt.lm_head.weight.data *= 40
    choice = Choice(0, 21, end=20)
    compiled = steps_of(gpt, choice, None, automata_of(21))
    steps = compiled if top_k is None else steps_of(gpt, choice, top_k, automata_of(21))
    classes: list[list[int]] = [[] for _ in range(NUM_SLOTS)]
    for number in range(20):
        slots = (2, 0, 3, 1) if number % 2 else (1, 2, 3, 0)
        places = [(slot, number, number) for slot in slots]
        drawn = steps.decode(places, [SamplingParams(0, top_k=top_k)] * NUM_SLOTS)[0]
        if steps is not compiled:
            assert torch.equal(drawn, compiled.decode(places, [SamplingParams(0)] * NUM_SLOTS)[0])
        assert drawn[:, 2].all()
        for slot, token in zip(slots, drawn[:, 0].tolist(), strict=True):
            classes[slot].append(token % 3)
    for drawn_classes in classes:
        runs = [(drawn_class, len(list(run))) for drawn_class, run in groupby([0, *drawn_classes])]
        assert all(length <= 2 + (place == 0) for place, (_, length) in enumerate(runs))
        assert all((before + 1) % 3 == after for (before, _), (after, _) in pairwise(runs))


@pytest.mark.parametrize("top_k", [None, 5])
def test_a_slot_without_an_automaton_draws_as_if_there_were_none(top_k: int | None) -> None:
    """Not one token changes for a sentence that is kept to nothing."""
    torch.manual_seed(0)
    gpt = CausalGpt(CONFIG).eval()
    gpt.lm_head.weight.data *= 40
    choice = Choice(0, 21, end=20)
    free = steps_of(gpt, choice, top_k)
    kept = steps_of(gpt, choice, top_k, Automata(NUM_SLOTS, 3, torch.arange(21) % 3))
    for number in range(20):
        places = [(slot, number, number) for slot in range(NUM_SLOTS)]
        params = [SamplingParams(0, top_k=top_k)] * NUM_SLOTS
        assert torch.equal(free.decode(places, params)[0], kept.decode(places, params)[0])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("output", [0, 1, 2, 20])
def test_an_output_that_is_not_finite_is_noticed_though_it_is_forbidden(value: float, output: int) -> None:
    """The row says that its model failed, in both forms of a step, and the automaton stays in one of its states."""
    choice, logits = Choice(0, 21, end=20), torch.zeros(1, 40)
    logits[0, output] = value
    for top_k in (None, IDLE_FILTER):
        automata = automata_of(21)
        steps = steps_of(CausalGpt(CONFIG).eval(), choice, top_k, automata)
        places = torch.tensor([0]), torch.tensor([0])
        drawn = steps._draw(logits, *places, is_filtered=top_k is not None)
        assert drawn[0, 2] == 0
        assert automata.states[0] in (0, 1, 2)


def test_draws_by_a_filter_are_compiled_before_anybody_waits_for_one():
    """For one layout of numbers, whichever step they come from."""
    model = tiny_model()
    stages = build_stages(model, num_slots=2)
    compiled = [*numba_sampler._draw.signatures]
    params = replace(GREEDY, text_temp=0.9, waveform_temp=0.8, fine_temp=0.7, top_k=5, top_p=0.9)
    run(model, tiny_work(tiny_voice(9), params), tiny_work(tiny_voice(0), params), stages=stages)
    assert len(compiled) == 1 and numba_sampler._draw.signatures == compiled
