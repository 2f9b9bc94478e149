"""The compiled decode step computes what the float model with the same int8 weights does, row by row."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from streamer.models.config import TransformerConfig
from streamer.models.cpu import int8_gpt
from streamer.models.cpu.int8_gpt import use_int8
from streamer.models.cpu.quantization import LARGEST
from streamer.models.gpt import CausalGpt, PlainDecodeStep, prefill
from streamer.models.kv_cache import KvCache, SlotCache

CONFIG = TransformerConfig(2, 2, 32, 24, 50, 40)
NUM_SLOTS = 5
plain_step = torch.no_grad()(PlainDecodeStep())


@pytest.fixture
def model() -> CausalGpt:
    """A network with weights so large that attention and GELU bend."""
    torch.manual_seed(0)
    gpt = CausalGpt(CONFIG).eval()
    for name, parameter in gpt.named_parameters():
        parameter.data += torch.randn_like(parameter) * (0.3 if "ln_" in name else 0.1)
    return gpt


def filled(gpt: CausalGpt, slots: Tensor, prompt: Tensor) -> SlotCache:
    cache = gpt.new_cache(NUM_SLOTS)
    gpt.prefill(gpt.embed(prompt), cache, slots)
    return cache


def int8(gpt: CausalGpt, forward_dtype: torch.dtype = torch.float32) -> CausalGpt:
    converted = copy.deepcopy(gpt)
    use_int8(converted, forward_dtype)
    return converted


def test_each_weight_is_within_half_a_step_of_the_original(model: CausalGpt) -> None:
    """Weights are rounded to the nearest of 255 steps, for forward passes, too, so that they agree with decoding."""
    quantized = int8(model)
    for before, after in zip(model.modules(), quantized.modules(), strict=True):
        if isinstance(before, nn.Linear) and isinstance(after, nn.Linear):
            step = before.weight.abs().amax(dim=1, keepdim=True) / LARGEST
            assert ((before.weight - after.weight).abs() <= 0.501 * step).all()
            assert not torch.equal(before.weight, after.weight)


def test_decoding_equals_the_float_model_with_the_same_weights(model: CausalGpt) -> None:
    """Logits agree over several steps of rows at different positions, with slots in any order."""
    quantized = int8(model)
    slots, prompt = torch.tensor([3, 0, 4]), torch.randint(50, (3, 6))
    cache, expected_cache = filled(quantized, slots, prompt), KvCache(CONFIG, NUM_SLOTS, torch.bfloat16)
    prefill(quantized, quantized.embed(prompt), expected_cache, slots)
    for step in range(4):
        tokens, positions = torch.randint(50, (3,)), torch.tensor([6, 4, 2]) + step
        logits = quantized.decode(tokens, positions, cache, slots)
        expected = plain_step(quantized, (tokens, positions, slots), expected_cache, None)
        # The float model's softmax weights are bfloat16 here, as its cache is.
        assert (logits - expected).abs().max() < 0.02 * expected.abs().max()


def test_decoding_continues_what_a_whole_pass_computes(model: CausalGpt) -> None:
    """The next token's logits are those of a pass over all tokens, except for the cache's bfloat16."""
    quantized = int8(model)
    tokens = torch.randint(50, (1, 9))
    cache = filled(quantized, torch.tensor([1]), tokens[:, :5])
    for position in range(5, 9):
        row = quantized.decode(tokens[:, position], torch.tensor([position]), cache, torch.tensor([1]))
    expected = quantized(tokens)[:, -1]
    assert (row - expected).abs().max() < 0.01 * expected.abs().max()


@pytest.mark.parametrize("forward_dtype", [torch.float32, torch.bfloat16])
def test_a_row_is_the_same_alone_and_beside_loud_rows(model: CausalGpt, forward_dtype: torch.dtype) -> None:
    """A row's prefill and its step are equal to the last bit for any number of rows."""
    quantized = int8(model, forward_dtype)
    prompt, tokens = torch.randint(50, (NUM_SLOTS, 6)), torch.randint(50, (NUM_SLOTS,))

    def last_row(rows: int) -> tuple[Tensor, Tensor]:
        slots, chosen = torch.arange(rows), slice(NUM_SLOTS - rows, None)
        embeddings = quantized.embed(prompt[chosen])
        embeddings[:-1] *= 100
        cache = quantized.new_cache(NUM_SLOTS)
        prefilled = quantized.prefill(embeddings, cache, slots)
        return prefilled[-1], quantized.decode(tokens[chosen], torch.full((rows,), 6), cache, slots)[-1]

    alone = last_row(1)
    for rows in range(2, NUM_SLOTS + 1):
        for made, expected in zip(last_row(rows), alone, strict=True):
            assert torch.equal(made, expected)


@pytest.mark.parametrize("outputs", [range(40), range(1, 37), range(33, 40)])
def test_only_outputs_that_are_read_are_computed(model: CausalGpt, outputs: range) -> None:
    """Logits, of passes and of steps, equal those of a network with all outputs; others are impossible."""
    whole, part = copy.deepcopy(model), copy.deepcopy(model)
    use_int8(whole, torch.float32)
    use_int8(part, torch.float32, outputs=outputs)
    slots, prompt = torch.tensor([3, 1]), torch.randint(50, (2, 6))
    step = (torch.tensor([5, 7]), torch.tensor([6, 6]))

    def logits(gpt: CausalGpt) -> tuple[Tensor, ...]:
        cache = gpt.new_cache(NUM_SLOTS)
        prefilled = gpt.prefill(gpt.embed(prompt), cache, slots)
        return gpt(prompt), prefilled, gpt.decode(*step, cache, slots)

    for made, expected in zip(logits(part), logits(whole), strict=True):
        wanted = torch.full_like(expected, -torch.inf)
        wanted[..., outputs.start : outputs.stop] = expected[..., outputs.start : outputs.stop]
        assert torch.equal(made, wanted)
    num_dropped = whole.decode_step.nbytes - part.decode_step.nbytes
    assert (num_dropped > 0) == (outputs == range(33, 40))  # outputs are packed by 32


def test_threads_do_not_change_the_result(model: CausalGpt) -> None:
    """A product that threads share has the same sums, with more threads than the machine has, too."""
    quantized = int8(model)
    step = (torch.tensor([5, 7]), torch.tensor([6, 6]))
    slots, prompt = torch.tensor([0, 1]), torch.randint(50, (2, 6))
    alone = quantized.decode(*step, filled(quantized, slots, prompt), slots)
    for num_threads in (2, 1000):
        quantized.decode_step.num_threads = num_threads
        assert torch.equal(quantized.decode(*step, filled(quantized, slots, prompt), slots), alone)


def test_two_models_may_decode_at_the_same_time(model: CausalGpt) -> None:
    """Two engines in one process, each on a thread of its own, take turns at the compiler's threads."""
    quantized = int8(model)
    quantized.decode_step.num_threads = 2
    slots = torch.tensor([0])

    def speak() -> list[float]:
        cache = filled(quantized, slots, torch.ones(1, 1, dtype=torch.long))
        return [
            float(quantized.decode(slots, torch.tensor([1 + step % 20]), cache, slots)[0, 0])
            for step in range(300)
        ]

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: speak(), range(2))
    assert first == second


def test_what_is_not_a_number_stays_so_and_stays_in_its_row(model: CausalGpt) -> None:
    """NaN reaches the logits of its row and of no other, so that the sampler can tell which sentence went wrong."""
    quantized = int8(model)
    quantized.transformer.wte.weight.data[7] = torch.nan
    slots, prompt = torch.tensor([0, 1]), torch.randint(7, (2, 6))
    logits = quantized.decode(
        torch.tensor([7, 6]), torch.tensor([6, 6]), filled(quantized, slots, prompt), slots
    )
    assert logits[0].isnan().any() and logits[1].isfinite().all()


@pytest.mark.parametrize(("width", "num_heads"), [(128, 2), (96, 3), (72, 3), (130, 1)])
def test_any_shape_is_computed_whole(width: int, num_heads: int) -> None:
    """Logits agree for widths and heads that fill vectors or do not, positions in several blocks, and 1 to 9 rows."""
    torch.manual_seed(1)
    gpt = CausalGpt(TransformerConfig(2, num_heads, width, 60, 50, 37)).eval()
    for parameter in gpt.parameters():
        parameter.data += torch.randn_like(parameter) * 0.1
    quantized = int8(gpt)
    for num_rows in (1, 2, 3, 9):
        slots, prompt = torch.randperm(9)[:num_rows], torch.randint(50, (num_rows, 59))
        positions = torch.randint(40, 59, (num_rows,))
        caches = [quantized.new_cache(9), KvCache(gpt.config, 9)]
        for cache in caches:
            quantized.prefill(quantized.embed(prompt), cache, slots)
        made = quantized.decode(prompt[:, 0], positions, caches[0], slots)
        expected = plain_step(quantized, (prompt[:, 0], positions, slots), caches[1], None)
        assert made.shape == (num_rows, 37)
        torch.testing.assert_close(made, expected, rtol=0, atol=0.04 * float(expected.std()))


def test_only_narrow_models_take_steps_in_a_row(model: CausalGpt) -> None:
    """A step of a wide one takes milliseconds, for which other sentences would wait."""
    assert int8(model).decode_step.steps_at_once == 16
    wide = CausalGpt(TransformerConfig(1, 8, 512, 8, 8, 8)).eval()
    use_int8(wide)
    assert wide.decode_step.steps_at_once == 1


@pytest.mark.parametrize("num_rows", [1, 2, 3, 4, 8, 9])
def test_layers_of_four_bits_decode_to_the_same_as_bytes_do(
    model: CausalGpt, num_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit, and a step holds half as much of them."""
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2 and ".h." in name:
            levels = (parameter.data / 0.05).round().clamp(-7, 7)
            levels[:, 0] = 7
            parameter.data = levels * 0.05
    narrow = int8(model)
    monkeypatch.setattr(int8_gpt, "NIBBLE", 127)  # which no layer's weights are multiples of
    usual = int8(model)
    slots, prompt = torch.randperm(9)[:num_rows], torch.randint(50, (num_rows, 6))
    logits = []
    for gpt in (narrow, usual):
        cache = gpt.new_cache(9)
        gpt.prefill(gpt.embed(prompt), cache, slots)
        logits.append(gpt.decode(prompt[:, 0], torch.full((num_rows,), 6), cache, slots))
    assert torch.equal(*logits)
    assert narrow.decode_step.in_nibbles == {"project", "merge", "widen", "narrow"}
    assert [gpt.decode_step.steps_at_once for gpt in (narrow, usual)] == [32, 16]
    steps = [gpt.decode_step for gpt in (narrow, usual)]
    held = [[getattr(step.weights, name).nbytes for name in narrow.decode_step.in_nibbles] for step in steps]
    assert 2 * sum(held[0]) == sum(held[1])
    assert steps[1].nbytes - steps[0].nbytes == sum(held[0])
