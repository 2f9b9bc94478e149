"""The causal transformer has the logits of Hugging Face's Bark, with its cache as without."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from streamer.models.config import TransformerConfig
from streamer.models.files.hugging_face import stage_weights
from streamer.models.gpt import CausalGpt, set_dtype
from streamer.models.kv_cache import KvCache

CONFIG = TransformerConfig(
    num_layers=3, num_heads=4, width=32, block_size=48, input_vocab_size=60, output_vocab_size=50
)


@pytest.fixture
def gpt() -> CausalGpt:
    torch.manual_seed(3)
    return CausalGpt(CONFIG).eval()


def relative_error(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("kind", ["semantic", "coarse"])
def test_logits_equal_hugging_face(bark: Any, kind: str) -> None:
    """Semantic and coarse logits equal those of transformers' Bark with the same weights."""
    torch.manual_seed(4)
    prefix = {"semantic": "semantic.", "coarse": "coarse_acoustics."}[kind]
    reference = getattr(bark, prefix.removesuffix("."))
    sizes = reference.config
    gpt = CausalGpt(
        TransformerConfig(
            sizes.num_layers, sizes.num_heads, sizes.hidden_size, 1024, sizes.input_vocab_size,
            sizes.output_vocab_size,
        )
    )  # fmt: skip
    gpt.load_state_dict(stage_weights(bark.state_dict(), prefix))
    tokens = torch.randint(sizes.input_vocab_size, (2, 40))
    with torch.no_grad():
        expected = reference(tokens).logits
        assert relative_error(gpt(tokens), expected) < 1e-4


@pytest.mark.parametrize("slots", [[0, 1, 2], [2, 3, 4], [4, 0, 2], [2, 1, 0]])
@pytest.mark.parametrize("length", [None, 40])
def test_cached_steps_equal_the_whole(gpt: CausalGpt, slots: list[int], length: int | None) -> None:
    """Prefill and decode have the logits of a forward pass, in any slots, for any length of cache that is read."""
    tokens = torch.randint(60, (3, 20))
    whole = gpt(tokens)
    cache, places = KvCache(CONFIG, num_slots=5), torch.tensor(slots)
    assert relative_error(gpt.prefill(gpt.embed(tokens[:, :12]), cache, places), whole[:, 11]) < 1e-5
    for position in range(12, 20):
        positions = torch.full((3,), position)
        logits = gpt.decode(tokens[:, position], positions, cache, places, length=length)
        assert relative_error(logits, whole[:, position]) < 1e-5


def test_rows_at_different_positions_do_not_mix(gpt: CausalGpt) -> None:
    """Rows that began at different times step together, and each has the logits that it has alone."""
    tokens = torch.randint(60, (3, 30))
    whole = gpt(tokens)
    cache = KvCache(CONFIG, num_slots=4)
    cache.keys.fill_(9.0)  # An earlier sentence left this.
    cache.values.fill_(9.0)
    starts, slots = torch.tensor([5, 20, 1]), torch.tensor([3, 0, 2])
    for row in range(3):
        gpt.prefill(gpt.embed(tokens[row : row + 1, : starts[row]]), cache, slots[row : row + 1])
    for step in range(9):
        positions = starts + step
        logits = gpt.decode(tokens[torch.arange(3), positions], positions, cache, slots)
        assert relative_error(logits, whole[torch.arange(3), positions]) < 1e-5


def test_rows_may_be_prefilled_together(gpt: CausalGpt) -> None:
    """A prefill of several rows equals that of each alone, and so does the step after it."""
    tokens = torch.randint(60, (2, 11))
    whole = gpt(tokens)
    cache, slots = KvCache(CONFIG, num_slots=3), torch.tensor([2, 0])
    gpt.prefill(gpt.embed(tokens[:, :10]), cache, slots)
    alone = gpt.decode(tokens[1:, 10], torch.tensor([10]), cache, slots[1:])
    assert relative_error(alone, whole[1:, 10]) < 1e-5


def test_a_cleared_slot_forgets_what_was_no_number(gpt: CausalGpt) -> None:
    """After `clear`, NaN left in a slot does not reach the next sentence in it."""
    cache = KvCache(CONFIG, num_slots=2)
    cache.keys[:, 1] = torch.nan
    cache.values[:, 1] = torch.nan
    cache.clear(torch.tensor([1]))
    gpt.prefill(gpt.embed(torch.randint(60, (2, 4))), cache, torch.tensor([0, 1]))
    logits = gpt.decode(torch.tensor([1, 2]), torch.tensor([4, 4]), cache, torch.tensor([1, 0]), length=30)
    assert logits.isfinite().all()


def test_bfloat16_stays_near_float32(gpt: CausalGpt) -> None:
    """With bfloat16 weights and cache the logits are float32, near the exact ones."""
    tokens = torch.randint(60, (2, 13))
    whole = gpt(tokens)[:, 12]
    set_dtype(gpt, torch.bfloat16)
    cache, slots = KvCache(CONFIG, num_slots=2, dtype=torch.bfloat16), torch.tensor([1, 0])
    gpt.prefill(gpt.embed(tokens[:, :12]), cache, slots)
    logits = gpt.decode(tokens[:, 12], torch.tensor([12, 12]), cache, slots)
    assert logits.dtype == torch.float32
    assert relative_error(logits, whole) < 0.05


def test_dropout_acts_in_training_only() -> None:
    """`dropout` changes logits in training mode and nothing in evaluation; gradients reach every weight."""
    torch.manual_seed(5)
    gpt = CausalGpt(CONFIG, dropout=0.5)
    tokens = torch.randint(60, (1, 8))
    assert not torch.equal(gpt(tokens), gpt(tokens))
    gpt(tokens).sum().backward()
    assert all(parameter.grad is not None for parameter in gpt.parameters())
    gpt.eval()
    assert torch.equal(gpt(tokens), gpt(tokens))
