"""The source of pulses and noise beside a small decoder: the pitch it is told, and the same in pieces."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from streamer.models.codec import CodecDecoder
from streamer.models.pulse_source import CYCLE, NUM_PAST, PulseSource
from streamer.models.vocabulary import CodecConfig

CONFIG = CodecConfig(
    num_codebooks=3, codebook_size=16, dimension=2, num_filters=4, ratios=(8, 5, 4), num_source_layers=2
)


def make_source() -> PulseSource:
    """One whose vectors are the log of the pitch in hertz, and the voicing, themselves."""
    source = PulseSource(CONFIG)
    with torch.no_grad():
        source.control.weight.copy_(torch.eye(2)[:, :, None])
        source.control.bias.zero_()  # type: ignore[union-attr]
    return source.requires_grad_(False)


def vectors(hz: list[float], voiced: list[float]) -> Tensor:
    """[1, 2, frames]"""
    return torch.tensor([[[math.log(value) for value in hz], voiced]])


@pytest.mark.parametrize("hz", [90.0, 160.0, 240.0])
def test_as_many_pulses_a_second_as_the_pitch_says(hz: float) -> None:
    """A second of an even pitch has that many pulses, one a cycle."""
    frames = CONFIG.sample_rate_hz // CONFIG.hop_samples
    pulses = make_source()(vectors([hz] * frames, [1.0] * frames))[0, 0]
    peaks = (pulses[1:-1] > pulses[:-2]) & (pulses[1:-1] >= pulses[2:]) & (pulses[1:-1] > 0.5 * pulses.max())
    assert abs(int(peaks.sum()) - hz) <= 1


def test_without_voice_there_is_noise_and_no_pulse() -> None:
    """Where the codes say no voice, pulses are silent; the noise is white, within 1, and the same each time."""
    quiet, noise = make_source()(vectors([150.0] * 40, [0.0] * 40))[0]
    assert not quiet.any()
    assert noise.abs().max() <= 1 and abs(float(noise.std()) - 3**-0.5) < 0.02
    neighbours = torch.corrcoef(torch.stack([noise[1:], noise[:-1]]))[0, 1]
    assert abs(float(neighbours)) < 0.03
    assert torch.equal(noise, make_source()(vectors([90.0] * 40, [1.0] * 40))[0, 1])


def test_pitch_stays_where_voice_begins_and_ends() -> None:
    """A frame without voice lends its pitch to none: no slide into or out of a voice."""
    source = make_source()
    hz, _ = source.pitch(vectors([500.0, 100.0, 120.0, 500.0], [0.0, 1.0, 1.0, 0.0]), None)
    frames = hz.view(4, -1)
    assert torch.allclose(frames[1], torch.tensor(100.0)) and torch.allclose(frames[3], torch.tensor(120.0))
    assert 100 < float(frames[2, 0]) < float(frames[2, -1]) and math.isclose(frames[2, -1], 120, rel_tol=1e-4)


def test_a_bend_moves_the_pulses_by_so_many_cycles() -> None:
    """What a training adds to a frame's phase is there at the frame's end, and stays."""
    source, x = make_source(), vectors([150.0] * 3, [1.0] * 3)
    hz, _ = source.pitch(source.control(x), None)
    start = torch.zeros(1, dtype=torch.int64)
    plain = source._phases(hz, start, None)
    bent = source._phases(hz, start, torch.tensor([[0.0, 0.25, 0.0]]))
    moved = ((bent - plain) % CYCLE).view(3, -1)[:, -1] / CYCLE
    assert torch.allclose(moved, torch.tensor([0.0, 0.25, 0.25]), atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_pieces_are_exactly_the_whole(sizes: list[int], seed: int) -> None:
    """However the frames are cut, the source makes the same numbers, to the last bit, in any slot."""
    torch.manual_seed(seed)
    source = make_source()
    x = torch.stack([torch.empty(2, sum(sizes)).uniform_(4, 6), torch.rand(2, sum(sizes))], dim=1)
    whole = source(x)
    state, slots = source.initial_state(3), torch.tensor([2, 0])
    source.step(x[:, :, :1], state, slots, first=True)  # an earlier sentence of the slots'
    pieces, start = [], 0
    for size in sizes:
        made = source.step(x[:, :, start : start + size], state, slots, first=start == 0)
        before = torch.cat([torch.zeros(2, 2, NUM_PAST), whole], dim=2)[:, :, start * source.hop_samples :]
        assert torch.equal(made[:, :, :NUM_PAST], before[:, :, :NUM_PAST])
        pieces.append(made[:, :, NUM_PAST:])
        start += size
    assert torch.equal(torch.cat(pieces, dim=2), whole)


def test_a_codec_mixes_the_source_into_its_last_layers_alone() -> None:
    """As many upsamplings hear the source as the config says, the last ones; without it the codec is EnCodec's."""
    torch.manual_seed(3)
    codec = CodecDecoder(CONFIG).eval()
    assert [mix.conv.stride[0] for mix in codec.mixes.values()] == [4, 1]  # type: ignore[union-attr,index]
    x = torch.randn(1, 2, 8)
    silent = codec(x, torch.zeros(1, 2, 8 * CONFIG.hop_samples))
    assert not torch.allclose(codec(x), silent)
    plain = {name for name in codec.state_dict() if not name.startswith(("source.", "mixes."))}
    bare = CodecDecoder(
        CodecConfig(num_codebooks=3, codebook_size=16, dimension=2, num_filters=4, ratios=(8, 5, 4))
    )
    assert bare.state_dict().keys() == plain
