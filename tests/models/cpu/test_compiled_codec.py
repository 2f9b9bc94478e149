"""The compiled codec makes the samples that the codec in torch's modules makes, whole or in chunks."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.models.codec import CodecDecoder
from streamer.models.config import CodecConfig
from streamer.models.cpu.compiled_codec import compile_codec

TINY = CodecConfig(
    num_codebooks=3, codebook_size=16, dimension=8, num_filters=4, ratios=(4, 2), num_residual_layers=2
)
CONFIGS = {
    "channels that share vectors, and dilation": TINY,
    "channels that fill vectors": replace(
        TINY, dimension=21, num_filters=16, ratios=(5, 2), num_residual_layers=1, num_lstm_layers=1
    ),
    "odd sizes": replace(
        TINY,
        num_filters=3,
        ratios=(3, 5),
        kernel_size=5,
        residual_kernel_size=4,
        last_kernel_size=3,
        compress=1,
    ),
    "neither LSTM nor blocks": replace(TINY, num_lstm_layers=0, num_residual_layers=0),
}


def _codecs(config: CodecConfig) -> tuple[CodecDecoder, CodecDecoder]:
    """The same weights in torch's modules and compiled."""
    torch.manual_seed(8)
    plain = CodecDecoder(config).eval()
    made = copy.deepcopy(plain)
    compile_codec(made)
    return plain, made


@pytest.fixture(scope="module")
def codec() -> CodecDecoder:
    return _codecs(TINY)[1]


@pytest.mark.parametrize("name", CONFIGS)
def test_samples_are_those_of_torchs_modules(name: str) -> None:
    """Whole sentences of any length and number have the same samples but for the order of sums, in any config."""
    plain, made = _codecs(CONFIGS[name])
    for num_frames, num_rows in ((1, 1), (2, 3), (6, 1), (7, 2), (8, 1), (31, 3), (33, 1)):
        codes = torch.randint(16, (num_rows, 3, num_frames))
        expected = plain.decode(codes)
        torch.testing.assert_close(
            made.decode(codes), expected, rtol=0, atol=1e-6 * max(1, expected.abs().max().item())
        )


@settings(max_examples=15, deadline=None)
@given(first=st.integers(7, 40), sizes=st.lists(st.integers(1, 20), max_size=4))
def test_chunks_equal_the_whole_to_the_last_bit(codec: CodecDecoder, first: int, sizes: list[int]) -> None:
    """A sentence's samples are summed in one order, wherever it is cut."""
    sizes = [first, *sizes]
    codes = torch.randint(16, (2, 3, sum(sizes)))
    state, slots = codec.initial_state(3), torch.tensor([2, 0])
    chunks = [
        codec.decode_chunk(chunk, state, slots, first=number == 0)
        for number, chunk in enumerate(torch.split(codes, sizes, dim=2))
    ]
    assert torch.equal(torch.cat(chunks, dim=1), codec.decode(codes))


def test_a_row_is_the_same_alone_and_beside_others(codec: CodecDecoder) -> None:
    """A sentence's samples do not depend on its neighbours, to the last bit."""
    codes = torch.randint(16, (3, 3, 20))
    assert torch.equal(codec.decode(codes)[1:2], codec.decode(codes[1:2]))


def test_reset_clears_a_slot_and_no_other(codec: CodecDecoder) -> None:
    """A slot that is reset goes on as a fresh one would, and its neighbour as if nothing had been."""
    codes = torch.randint(16, (2, 3, 20))
    state, fresh = codec.initial_state(2), codec.initial_state(2)
    both, first, second = torch.tensor([0, 1]), torch.tensor([0]), torch.tensor([1])
    codec.decode_chunk(codes[:, :, :8], state, both, first=True)
    state.reset(second)
    after_reset, from_zero = (
        codec.decode_chunk(codes[1:], each, second, first=False) for each in (state, fresh)
    )
    assert torch.equal(after_reset, from_zero)
    rest = codec.decode_chunk(codes[:1, :, 8:], state, first, first=False)
    assert torch.equal(rest, codec.decode(codes)[:1, -rest.shape[1] :])


def test_a_slots_last_sentence_is_not_heard_in_the_next(codec: CodecDecoder) -> None:
    """A first chunk ignores what its slot holds."""
    codes = torch.randint(16, (1, 3, 20))
    state, slots = codec.initial_state(1), torch.tensor([0])
    whole = [codec.decode_chunk(codes, state, slots, first=True) for _ in range(2)]
    assert torch.equal(*whole)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_a_number_stays_so_and_stays_in_its_row(codec: CodecDecoder, value: float) -> None:
    """What is not finite in a row's vectors is not finite in its samples, and reaches no other row."""
    vectors = torch.randn(3, 8, 20)
    without = codec(vectors)
    vectors[1, :, 3] = value
    made = codec(vectors)
    assert made[1].isnan().any()
    assert torch.equal(made[::2], without[::2])
