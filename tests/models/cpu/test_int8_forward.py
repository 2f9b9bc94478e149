"""Whole passes in int8: what the float model computes, each position by itself, on any number of threads."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from streamer.models.config import TransformerConfig
from streamer.models.cpu import forward_kernels, int8_forward
from streamer.models.cpu.int8_forward import Int8Block, fastest_blocks
from streamer.models.cpu.int8_gpt import Int8Gpt
from streamer.models.fine_gpt import FineGpt
from streamer.models.gpt import Block, CausalGpt, set_dtype
from streamer.models.kv_cache import KvCache

CONFIG = TransformerConfig(2, 2, 64, 640, 50, 40)
SLOTS = torch.arange(2)
LENGTH = 600  # more than go through a layer together, and no multiple of that


@pytest.fixture(autouse=True)
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Int8 on any CPU and for any width."""
    monkeypatch.setattr(int8_forward, "MIN_WIDTH", 1)
    monkeypatch.setattr(int8_forward, "has_fast_int8", lambda: True)


@pytest.fixture(params=[False, True])
def block(request: pytest.FixtureRequest) -> Block:
    """Weights large enough that attention and GELU bend, with and without a bias in the norms."""
    torch.manual_seed(0)
    block = Block(CONFIG, norm_bias=request.param, dropout=0.0).eval().requires_grad_(False)
    for parameter in block.parameters():
        parameter += torch.randn_like(parameter) * 0.2
    return block


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(1, LENGTH, CONFIG.width)


@pytest.mark.parametrize("forward_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("is_causal", [False, True])
def test_a_layer_is_near_the_float_layer(
    block: Block, x: Tensor, is_causal: bool, forward_dtype: torch.dtype
) -> None:
    """What the layer adds is off by what rounding to 127 steps costs."""
    expected = block.attend_all(x, is_causal=is_causal) - x
    made = Int8Block(block, forward_dtype, 2).attend_all(x, is_causal=is_causal) - x
    assert (made - expected).std() < 0.03 * expected.std()


def test_the_past_does_not_see_the_future(block: Block, x: Tensor) -> None:
    """In a causal layer a position's result is the same whatever follows it."""
    layer = Int8Block(block, torch.bfloat16, 1)
    changed = x.clone()
    changed[:, 300:] *= -3
    before, after = (layer.attend_all(each, is_causal=True) for each in (x, changed))
    assert torch.equal(before[:, :300], after[:, :300])
    assert not torch.equal(before[:, 300:], after[:, 300:])


@pytest.mark.parametrize("num_rows", [2, 3])
def test_a_row_is_the_same_alone_and_beside_loud_rows(block: Block, x: Tensor, num_rows: int) -> None:
    """To the last bit: a position has a scale of its own, and sums of integers are exact."""
    layer = Int8Block(block, torch.bfloat16, 2)
    rows = torch.cat([torch.randn(num_rows - 1, LENGTH, CONFIG.width) * 1000, x])
    alone = layer.attend_all(x, is_causal=True)
    assert torch.equal(layer.attend_all(rows, is_causal=True)[-1:], alone)


@pytest.mark.parametrize("num_threads", [2, 3, 16])
def test_threads_do_not_change_the_result(block: Block, x: Tensor, num_threads: int) -> None:
    """However a layer is shared out, and torch's own number of threads stays what it was."""
    usual = torch.get_num_threads()
    made, alone = (
        Int8Block(block, torch.bfloat16, number).attend_all(x, is_causal=False) for number in (num_threads, 1)
    )
    assert torch.equal(made, alone)
    assert torch.get_num_threads() == usual


def test_only_what_is_asked_for_is_computed(block: Block, x: Tensor) -> None:
    """From `first` on, the results are those of the whole layer."""
    layer = Int8Block(block, torch.bfloat16, 2)
    whole, part = (layer.attend_all(x, is_causal=False, first=first) for first in (0, 250))
    assert part.shape == (1, LENGTH - 250, CONFIG.width)
    assert (part - whole[:, 250:]).abs().max() < 0.01 * whole.abs().max()


def test_what_is_not_a_number_stays_so_and_stays_in_its_row(block: Block, x: Tensor) -> None:
    """Every position that sees it shows it; no other row does."""
    layer = Int8Block(block, torch.bfloat16, 2)
    rows = torch.cat([x, x])
    rows[0, 3] = torch.nan
    made = layer.attend_all(rows, is_causal=True)
    assert made[0, 3:].isnan().all() and made[1].isfinite().all()


def test_a_prefill_by_rows_equals_each_alone() -> None:
    """Logits and cache, to the last bit."""
    torch.manual_seed(2)
    gpt = Int8Gpt(CausalGpt(CONFIG), forward_dtype=torch.bfloat16).eval()
    assert isinstance(gpt.blocks[0], Int8Block)
    tokens = torch.randint(50, (2, LENGTH))

    def prefilled(rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        cache, slots = KvCache(CONFIG, 2, gpt.cache_dtype), torch.arange(2)[rows]
        logits = gpt.prefill(gpt.embed(tokens[rows]), cache, slots)
        return logits[-1], cache.keys[:, 1], cache.values[:, 1]

    for together, alone in zip(prefilled(slice(0, 2)), prefilled(slice(1, 2)), strict=True):
        assert torch.equal(together, alone)


def test_a_warm_up_compiles_all_that_passes_call() -> None:
    """No later pass, causal or not, waits for a compiler."""
    torch.manual_seed(4)
    gpt = Int8Gpt(CausalGpt(CONFIG), forward_dtype=torch.bfloat16).eval()
    gpt.warm_up()
    kernels = [
        forward_kernels.soften,
        forward_kernels.divide,
        forward_kernels.quantize_norms,
        forward_kernels.add_scaled,
    ]
    kernels += [forward_kernels.quantize_gelu, forward_kernels.quantize_bfloat16, forward_kernels.to_bfloat16]
    compiled = [list(kernel.signatures) for kernel in kernels]
    gpt.prefill(
        gpt.embed(torch.zeros(2, LENGTH, dtype=torch.long)), KvCache(CONFIG, 2, gpt.cache_dtype), SLOTS
    )
    gpt.blocks[0].attend_all(torch.randn(1, 20, CONFIG.width), is_causal=False, first=7)
    assert [list(kernel.signatures) for kernel in kernels] == compiled


def test_a_fine_pass_is_near_the_float_pass() -> None:
    """And from `first_column` on it is the rest of the whole one."""
    torch.manual_seed(3)
    fine = FineGpt(TransformerConfig(2, 2, 64, 128, 100, 100), 4).eval().requires_grad_(False)
    codes = torch.randint(100, (2, 4, 128))
    exact = fine(2, codes)
    rounded = copy.deepcopy(fine)
    rounded.blocks = fastest_blocks(fine.blocks, torch.bfloat16)
    set_dtype(rounded, torch.bfloat16)
    logits, last = rounded(2, codes), rounded(2, codes, first_column=100)
    assert (logits - exact).std() < 0.05 * exact.std()
    assert (last - logits[:, 100:]).abs().max() < 0.02 * exact.abs().max()


@pytest.mark.parametrize(("has_int8", "min_width"), [(False, 1), (True, CONFIG.width + 1)])
def test_elsewhere_layers_stay_as_they_are(
    block: Block, has_int8: bool, min_width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU without integer instructions, and in models too small to gain."""
    monkeypatch.setattr(int8_forward, "has_fast_int8", lambda: has_int8)
    monkeypatch.setattr(int8_forward, "MIN_WIDTH", min_width)
    assert fastest_blocks([block], torch.float32) == [block]
