"""Rounded weights are those that the server finds, and the examples are what its stages read."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from streamer.models.cpu.quantization import LARGEST_LEVEL, NIBBLE, quantize
from streamer.models.files.checkpoint import LoadedModel, save_model
from streamer.sampling import SamplingParams
from streamer.stages.chain import build_stages
from streamer.stages.coarse_windows import CoarseWindows
from streamer.stages.sentence import SentenceWork, coarse_histories
from tests.fakes.tiny_bark import TINY, tiny_model, tiny_voice
from training import own_examples, round_gpt
from training.own_examples import Examples
from training.own_speech import OwnSpeech, run
from training.round_gpt import (
    Rounded,
    best_scales,
    divergence,
    logits_of,
    rounded,
    rounded_weights,
    write_stage,
)


def test_scales_lose_less_than_the_largest_weight_asks_for() -> None:
    torch.manual_seed(0)
    weight = torch.randn(30, 200)

    def error(scales: torch.Tensor) -> torch.Tensor:
        return (
            ((weight / scales).round().clamp(-LARGEST_LEVEL, LARGEST_LEVEL) * scales - weight).square().sum(1)
        )

    widest = weight.abs().amax(dim=1, keepdim=True) / LARGEST_LEVEL
    best = best_scales(weight)
    assert (error(best) <= error(widest)).all() and error(best).sum() < 0.8 * error(widest).sum()
    torch.testing.assert_close(Rounded(weight)(weight), (weight / best).round().clamp(-7, 7) * best)


def test_gradients_reach_weights_and_scales() -> None:
    """As if rounding were not there, but for weights that are cut."""
    weight = torch.tensor([[7.0, 0.2, -9.0, 3.4]], requires_grad=True)
    rounding = Rounded(torch.tensor([[7.0, 0.0, 0.0, 0.0]]))
    with torch.no_grad():
        rounding.log_scales.zero_()
    made = rounding(weight)
    assert made.tolist() == [[7.0, 0.0, -7.0, 3.0]]
    made.sum().backward()
    assert weight.grad is not None and weight.grad.tolist() == [[1.0, 1.0, 0.0, 1.0]]
    assert rounding.log_scales.grad is not None
    torch.testing.assert_close(rounding.log_scales.grad, torch.tensor([[-0.2 - 7 - 0.4]]))


@pytest.mark.parametrize("stage", ["semantic", "coarse"])
def test_what_is_written_has_four_bits_in_the_server(stage: str, tmp_path: Path) -> None:
    """And the file of the other stage, embeddings and head are as they were."""
    model = tiny_model()
    save_model(model, tmp_path, dtype="float16")
    before = load_file(tmp_path / f"{stage}.safetensors")
    write_stage(rounded(getattr(model, stage)), tmp_path / f"{stage}.safetensors")
    after = load_file(tmp_path / f"{stage}.safetensors")
    assert before.keys() == after.keys()
    for name, weight in after.items():
        is_layer = weight.dim() == 2 and ".h." in name
        assert weight.dtype == torch.float16
        assert torch.equal(weight, before[name]) != is_layer
        assert not is_layer or not (quantize(weight)[0] % NIBBLE).any()


def spoken(model: LoadedModel, monkeypatch: pytest.MonkeyPatch, **temperatures: float) -> OwnSpeech:
    """Return a sentence that the model says, with what is the voice in examples, too."""
    voice, params = tiny_voice(12), SamplingParams(3, **temperatures)
    work = SentenceWork(TINY, (3, 1, 4, 1, 5), voice, params, max_semantic_tokens=40)
    run(build_stages(model, num_slots=1)[:2], [work])
    monkeypatch.setattr(own_examples.VoiceLibrary, "get", lambda _self, _name: voice)
    monkeypatch.setattr(own_examples, "VOICE_SHARE", 1.0)
    return OwnSpeech("said", [*work.text_tokens], "v", work.semantic.tokens, work.coarse.tokens)


@pytest.mark.parametrize("stage", ["semantic", "coarse"])
def test_an_example_reads_what_the_stage_read(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a sentence is said without chance, its own tokens are the likeliest where they were drawn."""
    model = tiny_model()
    own = spoken(model, monkeypatch, text_temp=0, waveform_temp=0)
    config = getattr(TINY, stage)
    batch = Examples(stage, model, [own, own]).batch(2, random.Random(1))
    logits = logits_of(getattr(model, stage), batch, config.outputs)
    rows = logits.split(batch[2].sum(1).tolist())
    for tokens, is_read, row in zip(batch[0], batch[2], rows, strict=True):
        drawn = tokens[is_read][1:].tolist()  # Each position draws the next one's token.
        if stage == "semantic":
            assert drawn == own.semantic and row[:-1].argmax(1).tolist() == own.semantic
            continue
        num_made = config.window - 1
        first = next(
            first for first in range(0, len(own.coarse), config.window)
            if own.coarse[first : first + num_made] == drawn[-num_made:]
        )  # fmt: skip
        places = torch.arange(first, first + num_made) % config.num_codebooks
        by_codebook = row.unflatten(1, (config.num_codebooks, config.codebook_size))[-num_made - 1 : -1]
        likeliest = by_codebook[torch.arange(num_made), places].argmax(1)
        offsets = config.codebook_offset + config.codebook_size * places
        assert (likeliest + offsets).tolist() == drawn[-num_made:]


def test_only_what_a_stage_reads_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its outputs, at the positions where it draws; a network does not differ from itself."""
    model = tiny_model()
    own = spoken(model, monkeypatch)
    batch = Examples("semantic", model, [own, own]).batch(2, random.Random(0))
    outputs = TINY.semantic.outputs
    logits = logits_of(model.semantic, batch, outputs).detach()
    assert logits.shape == (2 * (len(own.semantic) + 1), len(outputs))
    assert float(divergence(logits, logits)) == pytest.approx(0, abs=1e-6)
    assert float(divergence(logits, logits + torch.randn_like(logits))) > 0.1


def test_what_the_server_would_not_find_is_not_written(tmp_path: Path) -> None:
    """Such as an output whose largest weight has become smaller than its scale allows."""
    model = tiny_model()
    save_model(model, tmp_path)
    gpt = rounded(model.coarse)
    linear = round_gpt.linears(gpt)[1]
    with torch.no_grad():
        linear.parametrizations.weight[0].log_scales[3] += 1.0
    with pytest.raises(ValueError, match="has an output without a weight of 7 levels"):
        write_stage(gpt, tmp_path / "coarse.safetensors")


def test_the_head_is_not_rounded() -> None:
    gpt = rounded(tiny_model().coarse)
    weights = rounded_weights(gpt)
    assert isinstance(gpt.lm_head, nn.Linear) and torch.equal(weights["lm_head.weight"], gpt.lm_head.weight)
    assert len(round_gpt.linears(gpt)) == 4 * TINY.coarse.transformer.num_layers


def test_other_histories_are_utterances_of_the_same_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    """As codes without offsets, or none at all."""
    model = tiny_model()
    own = spoken(model, monkeypatch)
    examples = Examples("coarse", model, [own])
    monkeypatch.setattr(own_examples, "VOICE_SHARE", -1.0)
    monkeypatch.setattr(own_examples, "OTHER_SHARE", 2.0)
    history = examples._history(own, random.Random(0))
    assert history.semantic.tolist() == own.semantic
    histories = coarse_histories(history, TINY, CoarseWindows.from_config(TINY))
    assert histories[1] == own.coarse[-len(histories[1]) - 2 : -2]
    monkeypatch.setattr(own_examples, "OTHER_SHARE", 0.0)
    assert not len(examples._history(own, random.Random(0)).semantic)
