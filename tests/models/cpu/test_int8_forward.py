"""Forward passes in int8 compute what the float model does, each position by itself, on any number of threads."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from streamer.models.config import TransformerConfig
from streamer.models.cpu import int8_attention, int8_forward, int8_linear, layer_kernels
from streamer.models.cpu.compiled_layers import CompiledLayers, PackedLayers
from streamer.models.cpu.int8_forward import Int8Block, fastest_forward_dtype, use_fastest_forward
from streamer.models.cpu.int8_gpt import use_int8
from streamer.models.fine_gpt import FineGpt
from streamer.models.gpt import Block, CausalGpt, run_layer

CONFIG = TransformerConfig(2, 2, 64, 640, 50, 40)
SLOTS = torch.arange(2)
Kind = Callable[[Block, int], Callable[..., Tensor]]
LENGTH = 600
"""More positions than go through a layer together, and no multiple of that number."""


@pytest.fixture(autouse=True)
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use int8 on any CPU and for any width."""
    monkeypatch.setattr(int8_forward, "MIN_WIDTH", 1)
    monkeypatch.setattr(int8_forward, "has_fast_int8", lambda: True)


@pytest.fixture(params=[False, True])
def block(request: pytest.FixtureRequest) -> Block:
    """A layer with weights so large that attention and GELU bend, with and without a bias in the norms."""
    torch.manual_seed(0)
    block = Block(CONFIG, norm_bias=request.param, dropout=0.0).eval().requires_grad_(False)
    for parameter in block.parameters():
        parameter += torch.randn_like(parameter) * 0.2
    return block


def _compiled(block: Block, num_threads: int) -> Callable[..., Tensor]:
    packed = PackedLayers(1)
    packed.add(0, deepcopy(block))
    return CompiledLayers(packed, CONFIG.num_heads, num_threads).run


def _by_torch(block: Block, num_threads: int) -> Callable[..., Tensor]:
    return partial(run_layer, Int8Block(block, num_threads))


@pytest.fixture(params=[_compiled, _by_torch])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Both kinds of layers, as what runs one; any CPU can take either."""
    chosen: Kind = request.param
    return chosen


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(1, LENGTH, CONFIG.width)


@pytest.mark.parametrize("is_causal", [False, True])
def test_a_layer_is_near_the_float_layer(block: Block, x: Tensor, is_causal: bool, kind: Kind) -> None:
    """What an int8 layer adds to the residual differs from the float layer's by the rounding to 127 steps alone."""
    expected = run_layer(block, x, is_causal=is_causal) - x
    made = kind(block, 2)(x, is_causal=is_causal) - x
    assert (made - expected).std() < 0.03 * expected.std()


@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_of_every_length_is_computed_in_few_shapes(
    is_causal: bool, block: Block, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Products have lengths of multiples of 64 alone, and what pads them reaches no position."""
    shapes = set[torch.Size]()
    bmm = torch.bmm

    def note(first: Tensor, second: Tensor) -> Tensor:
        shapes.update((first.shape, second.shape))
        return bmm(first, second)

    monkeypatch.setattr(torch, "bmm", note)
    layer = Int8Block(block, 1)
    for length in (1, 2, 63, 64, 65, 127, 129, 500, 513, 577):
        query, key, value = torch.randn(3, 1, CONFIG.num_heads, length, 32).bfloat16()
        made = layer.attend(query, key, value, is_causal=is_causal)
        expected = functional.scaled_dot_product_attention(
            query.float(), key.float(), value.float(), is_causal=is_causal
        )
        torch.testing.assert_close(made.float(), expected, atol=0.03, rtol=0.03)
    assert {size % 64 for shape in shapes for size in shape[1:] if size != 32} == {0}
    assert len(shapes) < 30


def test_the_past_does_not_see_the_future(block: Block, x: Tensor, kind: Kind) -> None:
    """In a causal layer a position's result does not depend on what follows it."""
    run = kind(block, 1)
    changed = x.clone()
    changed[:, 300:] *= -3
    before, after = (run(each, is_causal=True) for each in (x, changed))
    assert torch.equal(before[:, :300], after[:, :300])
    assert not torch.equal(before[:, 300:], after[:, 300:])


@pytest.mark.parametrize("num_rows", [2, 3])
def test_a_row_is_the_same_alone_and_beside_loud_rows(
    block: Block, x: Tensor, num_rows: int, kind: Kind
) -> None:
    """A row's result is equal to the last bit: positions have scales of their own, and sums of integers are exact."""
    run = kind(block, 2)
    rows = torch.cat([torch.randn(num_rows - 1, LENGTH, CONFIG.width) * 1000, x])
    alone = run(x, is_causal=True)
    assert torch.equal(run(rows, is_causal=True)[-1:], alone)


@pytest.mark.parametrize("num_threads", [2, 3, 16])
def test_threads_do_not_change_the_result(block: Block, x: Tensor, num_threads: int, kind: Kind) -> None:
    """A layer's result does not depend on the number of threads, and torch's own number of threads stays the same."""
    usual = torch.get_num_threads()
    made, alone = (kind(block, number)(x, is_causal=False) for number in (num_threads, 1))
    assert torch.equal(made, alone)
    assert torch.get_num_threads() == usual


@pytest.mark.parametrize(("first", "end"), [(250, None), (0, 100), (20, 21)])
def test_only_what_is_asked_for_is_computed(
    block: Block, x: Tensor, kind: Kind, first: int, end: int | None
) -> None:
    """The results from `first` to `end` are those of the whole layer, from as many queries as results."""
    run = kind(block, 2)
    whole = run(x, is_causal=False)
    part = run(x, is_causal=False, first=first, end=end)
    wanted = whole[:, first:end]
    assert part.shape == wanted.shape
    assert (part - wanted).abs().max() < 0.01 * whole.abs().max()


def test_what_is_not_a_number_stays_so_and_stays_in_its_row(block: Block, x: Tensor, kind: Kind) -> None:
    """NaN in a position reaches every position that attends to it, and no other row."""
    run = kind(block, 2)
    rows = torch.cat([x, x])
    rows[0, 3] = torch.nan
    made = run(rows, is_causal=True)
    assert made[0, 3:].isnan().all() and made[1].isfinite().all()


def test_a_prefill_by_rows_equals_each_alone() -> None:
    """The logits and the cache of a row prefilled beside another are its own to the last bit."""
    torch.manual_seed(2)
    gpt = CausalGpt(CONFIG).eval()
    use_int8(gpt, torch.bfloat16)
    tokens = torch.randint(50, (2, LENGTH))

    def prefilled(rows: slice) -> tuple[Tensor, ...]:
        cache, slots = gpt.new_cache(2), torch.arange(2)[rows]
        logits = gpt.prefill(gpt.embed(tokens[rows]), cache, slots)
        return logits[-1], *(torch.from_numpy(array[:, 1]) for array in cache.packed)

    for together, alone in zip(prefilled(slice(0, 2)), prefilled(slice(1, 2)), strict=True):
        assert torch.equal(together, alone)


@pytest.mark.parametrize("start", [4, 96, 300, 596])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_prefill_in_parts_equals_the_whole(
    start: int, num_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The logits, and a step behind them, are the same to the last bit, whatever the slot held before."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    torch.manual_seed(6)
    gpt = CausalGpt(CONFIG).eval()
    use_int8(gpt, torch.bfloat16)
    assert gpt.prefills_in_parts and isinstance(gpt.transformer.h, CompiledLayers)
    gpt.transformer.h.num_threads = num_threads
    embeddings, cache = gpt.embed(torch.randint(50, (1, LENGTH))), gpt.new_cache(2)
    first, second = SLOTS[:1], SLOTS[1:]
    whole = gpt.prefill(embeddings, cache, first)
    for array in cache.packed:
        array[:, 1] = np.nan if array.dtype == np.float32 else 77
    gpt.prefill(embeddings[:, :start], cache, second)
    parts = gpt.prefill(embeddings[:, start:], cache, second, start=start)
    assert torch.equal(parts, whole)
    token, position = torch.tensor([7]), torch.tensor([LENGTH])
    after_whole, after_parts = (gpt.decode(token, position, cache, slot) for slot in (first, second))
    assert torch.equal(after_parts, after_whole)


def test_conversion_compiles_all_that_passes_call() -> None:
    """No later pass of a converted network, causal or not, waits for a compiler."""
    torch.manual_seed(4)
    gpt = CausalGpt(CONFIG).eval()
    use_int8(gpt, torch.bfloat16)
    modules = [vars(module) for module in (layer_kernels, int8_attention, int8_linear)]
    kernels = [each for module in modules for each in module.values() if hasattr(each, "signatures")]
    compiled = [list(kernel.signatures) for kernel in kernels]
    gpt.prefill(gpt.embed(torch.zeros(2, LENGTH, dtype=torch.long)), gpt.new_cache(2), SLOTS)
    if isinstance(gpt.transformer.h, CompiledLayers):
        gpt.transformer.h.run(torch.randn(1, 20, CONFIG.width), is_causal=False, first=7)
    assert [list(kernel.signatures) for kernel in kernels] == compiled


@pytest.mark.parametrize("has_tiles", [True, False])
def test_only_processors_with_tiles_use_torchs_products(
    has_tiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AMX, which only torch's products use, outruns compiled layers; both make nearly the same."""
    torch.manual_seed(5)
    gpt = CausalGpt(CONFIG).eval()
    embeddings = gpt.embed(torch.randint(50, (1, 20)))
    exact = gpt.prefill(embeddings, gpt.new_cache(1), SLOTS[:1])
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_tiles)
    use_int8(gpt, torch.bfloat16)
    assert isinstance(gpt.transformer.h, CompiledLayers) is not has_tiles
    assert [isinstance(layer, Int8Block) for layer in gpt.blocks] == [True] * 2 * has_tiles
    made = gpt.prefill(embeddings, gpt.new_cache(1), SLOTS[:1])
    assert (made - exact).std() < 0.03 * exact.std()


def test_a_fine_pass_is_near_the_float_pass() -> None:
    """A fine pass in int8 is near the float one, and one of some columns is a part of the whole one."""
    torch.manual_seed(3)
    fine = FineGpt(TransformerConfig(2, 2, 64, 128, 100, 100), 4).eval().requires_grad_(False)
    codes = torch.randint(100, (2, 4, 128))
    exact = fine(2, codes)
    use_fastest_forward(fine, torch.bfloat16)
    logits, some = fine(2, codes), fine(2, codes, first_column=100, end_column=110)
    assert (logits - exact).std() < 0.05 * exact.std()
    assert (some - logits[:, 100:110]).abs().max() < 0.02 * exact.abs().max()


@pytest.mark.parametrize("network_type", [CausalGpt, FineGpt])
def test_int8_layers_replace_the_float_ones(network_type: type[CausalGpt | FineGpt]) -> None:
    """A converted network keeps one byte per weight of its layers, and refuses to be saved without their floats."""
    network = network_type(CONFIG)
    num_weights = sum(weight.numel() for weight in network.transformer.h.parameters() if weight.dim() == 2)
    use_fastest_forward(network, torch.bfloat16)
    assert sum(weight.nbytes for weight in network.transformer.h.parameters()) == num_weights
    with pytest.raises(RuntimeError, match="int8 cannot be saved"):
        network.state_dict()


@pytest.mark.parametrize(("has_int8", "min_width"), [(False, 1), (True, CONFIG.width + 1)])
def test_elsewhere_layers_stay_as_they_are(
    has_int8: bool, min_width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU without fast integers, and in models too small to gain, layers stay float and can be saved."""
    monkeypatch.setattr(int8_forward, "has_fast_int8", lambda: has_int8)
    monkeypatch.setattr(int8_forward, "MIN_WIDTH", min_width)
    gpt = CausalGpt(CONFIG)
    before = list(gpt.blocks)
    use_fastest_forward(gpt, torch.bfloat16)
    assert gpt.blocks == before
    assert gpt.state_dict()["transformer.h.0.attn.c_attn.weight"].dtype == torch.bfloat16


@pytest.mark.parametrize(("is_native", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_the_forward_dtype_is_one_that_this_cpu_has(
    is_native: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forward passes use bfloat16 only if the CPU multiplies it natively."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: is_native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert fastest_forward_dtype() == expected
