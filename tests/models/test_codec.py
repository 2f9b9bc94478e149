"""The codec decodes to EnCodec's own samples, whole or in chunks."""

from __future__ import annotations

import types

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.models.codec import CodecDecoder
from streamer.models.config import CodecConfig
from streamer.models.files.codec_weights import codec_weights

TINY = CodecConfig(
    num_codebooks=3, codebook_size=16, dimension=8, num_filters=4, ratios=(4, 2), num_residual_layers=2
)


def make_codec(config: CodecConfig = TINY) -> CodecDecoder:
    torch.manual_seed(8)
    return CodecDecoder(config).eval()


@pytest.mark.parametrize("num_frames", [1, 3, 6, 7, 8, 40])
def test_samples_equal_the_encodec_package(encodec: types.SimpleNamespace, num_frames: int) -> None:
    """Whole decoding equals encodec's decoder and quantizer, for sentences shorter than a kernel, too."""
    torch.manual_seed(9)
    decoder = encodec.decoder(dimension=8, n_filters=4, ratios=[4, 2], n_residual_layers=2)
    quantizer = encodec.quantizer(dimension=8, n_q=3, bins=16).eval()
    for layer in quantizer.vq.layers:
        layer._codebook.embed.normal_()
    state = {f"decoder.{key}": value for key, value in decoder.state_dict().items()}
    state |= {f"quantizer.{key}": value for key, value in quantizer.state_dict().items()}
    codec = make_codec()
    codec.load_state_dict(codec_weights(state, 3, "encodec"))
    codes = torch.randint(16, (2, 3, num_frames))
    with torch.no_grad():
        expected = decoder(quantizer.decode(codes.transpose(0, 1)))[:, 0]
    samples = codec.decode(codes)
    assert samples.shape == (2, num_frames * TINY.hop_samples)
    torch.testing.assert_close(samples, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


@settings(max_examples=15, deadline=None)
@given(
    first=st.integers(7, 12),
    sizes=st.lists(st.integers(1, 9), max_size=5),
    slots=st.permutations(range(4)),
)
def test_chunks_equal_the_whole(first: int, sizes: list[int], slots: list[int]) -> None:
    """A sentence's chunks are its whole for any cut, in any slots, and beside a neighbour's chunks."""
    codec = make_codec()
    sizes = [first, *sizes]
    codes = torch.randint(16, (3, 3, sum(sizes)))
    whole = codec.decode(codes)
    state = codec.initial_state(4)
    pair, neighbour = torch.tensor(slots[:2]), torch.tensor(slots[2:3])
    codec.decode_chunk(codes[2:, :, :9], state, neighbour, first=True)  # an earlier sentence in the same slot
    pieces, neighbours, start = [], [], 0
    for size in sizes:
        chunk = codes[:, :, start : start + size]
        pieces.append(codec.decode_chunk(chunk[:2], state, pair, first=start == 0))
        neighbours.append(codec.decode_chunk(chunk[2:], state, neighbour, first=start == 0))
        start += size
    decoded = torch.cat([torch.cat(pieces, dim=1), torch.cat(neighbours, dim=1)])
    torch.testing.assert_close(decoded, whole, rtol=0, atol=1e-5)


def test_a_sentence_shorter_than_the_kernel_is_one_first_chunk() -> None:
    """Fewer frames than `min_first_frames` decode as a whole sentence in one chunk."""
    codec = make_codec()
    codes = torch.randint(16, (1, 3, codec.min_first_frames - 3))
    samples = codec.decode_chunk(codes, codec.initial_state(1), torch.tensor([0]), first=True)
    torch.testing.assert_close(samples, codec.decode(codes))


def test_reset_clears_a_slot_and_no_other() -> None:
    """`reset` zeroes all that the given slot holds and leaves its neighbour's state."""
    codec = make_codec()
    state = codec.initial_state(2)
    codes = torch.randint(16, (2, 3, 20))
    whole = codec.decode(codes)
    codec.decode_chunk(codes[:, :, :8], state, torch.tensor([0, 1]), first=True)
    state.reset(torch.tensor([1]))
    rest = codec.decode_chunk(codes[:1, :, 8:], state, torch.tensor([0]), first=False)
    torch.testing.assert_close(rest, whole[:1, 8 * TINY.hop_samples :], rtol=0, atol=1e-5)
    fresh = codec.initial_state(2)
    hop = TINY.hop_samples
    after_reset = codec.decode_chunk(codes[1:], state, torch.tensor([1]), first=False)
    from_zero = codec.decode_chunk(codes[1:], fresh, torch.tensor([1]), first=False)
    torch.testing.assert_close(after_reset[:, : 4 * hop], from_zero[:, : 4 * hop])


def test_fewer_codebooks_are_the_first_ones() -> None:
    """Codes of the first codebooks alone decode to their partial sum."""
    codec = make_codec()
    codes = torch.randint(16, (1, 3, 9))
    partial = codec.dequantize(codes[:, :2])
    expected = codec.codebooks[0][codes[:, 0]] + codec.codebooks[1][codes[:, 1]]
    torch.testing.assert_close(partial, expected.transpose(1, 2))
