"""The compiled codec makes the samples that the codec in torch's modules makes, whole or in chunks."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from streamer.models.codec import CodecDecoder
from streamer.models.config import CodecConfig
from streamer.models.cpu.compiled_codec import CompiledConv, CompiledTransposedConv, compile_codec

TINY = CodecConfig(
    num_codebooks=3, codebook_size=16, dimension=8, num_filters=4, ratios=(4, 2), num_residual_layers=2
)


@pytest.fixture(scope="module")
def codecs() -> tuple[CodecDecoder, CodecDecoder]:
    """The same weights in torch's modules and compiled."""
    torch.manual_seed(8)
    plain = CodecDecoder(TINY).eval()
    made = copy.deepcopy(plain)
    compile_codec(made)
    return plain, made


@pytest.mark.parametrize("num_frames", [1, 2, 6, 7, 8, 31, 33])
@pytest.mark.parametrize("num_rows", [1, 3])
def test_samples_are_those_of_torchs_modules(
    codecs: tuple[CodecDecoder, CodecDecoder], num_frames: int, num_rows: int
) -> None:
    """Whole sentences of any length and number have the same samples but for the order of sums."""
    torch.manual_seed(9)
    codes = torch.randint(16, (num_rows, 3, num_frames))
    expected, made = (codec.decode(codes) for codec in codecs)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("sizes", [(7, 1, 1, 1), (8, 30), (9, 5, 17, 2), (33, 7)])
def test_chunks_equal_the_whole(codecs: tuple[CodecDecoder, CodecDecoder], sizes: tuple[int, ...]) -> None:
    """A sentence's chunks are its whole wherever it is cut."""
    _, codec = codecs
    codes = torch.randint(16, (2, 3, sum(sizes)))
    whole, state, slots = codec.decode(codes), codec.initial_state(3), torch.tensor([2, 0])
    chunks = [
        codec.decode_chunk(chunk, state, slots, first=number == 0)
        for number, chunk in enumerate(codes.split(sizes, dim=2))
    ]
    made = torch.cat(chunks, dim=1)
    torch.testing.assert_close(made, whole, rtol=0, atol=1e-5 * whole.abs().max().item())


def test_a_row_is_the_same_alone_and_beside_others(codecs: tuple[CodecDecoder, CodecDecoder]) -> None:
    """A sentence's samples hardly depend on its neighbours: only the LSTM, which is torch's, sums otherwise."""
    _, codec = codecs
    codes = torch.randint(16, (3, 3, 20))
    torch.testing.assert_close(codec.decode(codes)[1:2], codec.decode(codes[1:2]), rtol=0, atol=1e-6)


def test_a_convolution_sums_in_one_order_wherever_a_position_stands() -> None:
    """A position's outputs are equal to the last bit in a whole and in any part of it that has all of its inputs."""
    torch.manual_seed(0)
    conv = CompiledConv(nn.Conv1d(5, 11, 3, dilation=2))
    x = torch.randn(2, 5, 150)
    whole = conv(x)
    for first, end in ((0, 5), (0, 40), (17, 60), (99, 150), (31, 139)):
        assert torch.equal(conv(x[:, :, first:end]), whole[:, :, first : end - 4])


@pytest.mark.parametrize("length", [1, 15, 16, 31, 32, 33, 100])
@pytest.mark.parametrize(("channels", "out_channels", "stride"), [(1, 1, 2), (3, 5, 3), (16, 8, 8)])
def test_transposed_convolutions_are_torchs(
    length: int, channels: int, out_channels: int, stride: int
) -> None:
    """They agree for channels that fill groups or do not, and lengths that fill vectors or do not."""
    torch.manual_seed(0)
    conv = nn.ConvTranspose1d(channels, out_channels, 2 * stride, stride)
    x = torch.randn(2, channels, length)
    with torch.no_grad():
        torch.testing.assert_close(CompiledTransposedConv(conv)(x), conv(x), rtol=1e-5, atol=1e-5)


def test_what_is_not_a_number_stays_so_and_stays_in_its_row(
    codecs: tuple[CodecDecoder, CodecDecoder],
) -> None:
    """NaN in a row's vectors reaches its samples, and no other row."""
    _, codec = codecs
    vectors = torch.randn(2, 8, 20)
    vectors[0, :, 3] = torch.nan
    with torch.no_grad():
        made = codec(vectors)
    assert made[0].isnan().any() and made[1].isfinite().all()
