"""What the decoder is trained with: pulses where the teacher's are, and codebooks that can be gone on with."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from training import quantizer
from training.features import FRAME_HZ, NUM_FEATURES, NUM_MELS, Pulses
from training.quantizer import CODEBOOK_SIZE, encode, recovered
from training.recipe import CONFIG, NUM_CODEBOOKS
from training.spectra import PhaseLoss
from training.train_decoder import bend, new_decoder, weights_to_keep


def random_books() -> np.ndarray:
    """[codebooks, codebook_size, features]"""
    chance = np.random.default_rng(0)
    return chance.normal(size=(NUM_CODEBOOKS, CODEBOOK_SIZE, NUM_FEATURES)).astype(np.float32)


def test_a_phase_is_the_way_from_pulse_to_pulse() -> None:
    """Even pulses give even phases; before the first, behind the last and in a gap there is none."""
    period = 2.5 / FRAME_HZ
    times = np.concatenate([np.arange(1, 9), [20, 21, 22]]) * period
    phases = Pulses(np.zeros(0, np.float32), times.astype(np.float32)).phases(60, 1.5 * period)
    assert (phases[:2] == -1).all() and (phases[21:50] == -1).all() and (phases[56:] == -1).all()
    steps = np.diff(phases[3:20]) % 1
    assert np.allclose(steps, 1 / 2.5, atol=1e-3)


def test_without_pulses_no_frame_has_a_phase() -> None:
    """A sentence of whispers is a sentence of -1."""
    empty = np.zeros(0, np.float32)
    assert (Pulses(empty, empty).phases(7, 0.02) == -1).all()


def test_bent_pulses_lie_where_the_teachers_do() -> None:
    """The source's phase at every frame's end is the teacher's wherever he has one."""
    torch.manual_seed(0)
    decoder = new_decoder(random_books())
    source = decoder.source
    assert source is not None
    with torch.no_grad():  # an even voice, whatever the codes
        source.control.weight.zero_()
        source.control.bias.copy_(torch.tensor([math.log(150.0), 1.0]))  # type: ignore[union-attr]
    phases = torch.zeros(1, 13)  # a pulse at every frame's begin
    phases[0, 4:7] = -1
    hop = CONFIG.codec.hop_samples
    pulses = bend(source, torch.zeros(1, CONFIG.codec.dimension, 12), phases)[0, 0]
    loud = pulses > 0.9 * pulses.max()
    for number in range(1, 12):
        near = loud[number * hop - 4 : number * hop + 4]
        assert near.any() or phases[0, number] < 0


def test_codebooks_are_found_again_in_a_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of the scaled and moved codebooks of a codec come those of the features, by the spectrum's columns."""
    monkeypatch.setattr(quantizer, "NUM_CODEBOOKS", 2)
    chance = torch.Generator().manual_seed(1)
    books = torch.randn(2, 1024, NUM_FEATURES, generator=chance) * torch.tensor([3.0, 0.3])[:, None, None]
    books[0] += 2.0
    codes = torch.randint(1024, (2, 4000), generator=chance)
    vectors = books[0][codes[0]] + books[1][codes[1]]
    scaled = books.clone()
    scaled[0] -= books[0].mean(dim=0)
    found = recovered(vectors, scaled / books[0].std())
    torch.testing.assert_close(found[:, :, :NUM_MELS], books[:, :, :NUM_MELS], rtol=0.02, atol=0.05)
    assert (encode(vectors[:, :NUM_MELS], found[:, :, :NUM_MELS]) == codes).float().mean() > 0.99


def test_a_decoder_without_a_source_lends_no_layer_that_is_to_hear_one() -> None:
    """What made pulses by itself begins anew; of a decoder with a source everything trained is kept."""
    decoder = new_decoder(random_books())
    kept = weights_to_keep(decoder)
    trained = {name for name, parameter in decoder.named_parameters() if parameter.requires_grad}
    assert kept.keys() == trained
    decoder.source = None
    first = min(map(int, decoder.mixes))
    numbers = {int(name.split(".")[1]) for name in weights_to_keep(decoder) if name.startswith("layers.")}
    assert numbers == {number for number in range(first) if list(decoder.layers[number].parameters())}


def test_the_phases_loss_tells_a_shift_that_spectra_do_not() -> None:
    """Two equal tones out of phase differ; the same tone does not."""
    times = torch.arange(12_000) / 24_000
    tone, late = (torch.sin(2 * torch.pi * (220 * times + shift))[None] for shift in (0.0, 0.25))
    loss = PhaseLoss(24_000)
    assert float(loss(tone, tone)) == 0 and float(loss(late, tone)) > 1
