"""The training examples of the built-in model are laid out as its stages lay them out at run time."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from streamer.models.files.config_file import check_config
from streamer.stages.coarse_windows import CoarseWindows
from training import examples
from training.examples import (
    IGNORED,
    WRONG_CODES,
    CoarseExamples,
    FineExamples,
    SemanticExamples,
    with_wrong_codes,
)
from training.features import NUM_SEMANTIC
from training.guide import GUIDED_LAYERS, Guide
from training.recipe import CONFIG, SYMBOLS, TEXT_CONTEXT
from training.spoken import Spoken
from training.train_gpt import Optimizers, StageLoss, new_model


def spoken(num_tokens: int, seed: int, speaker: str = "kumo", first_code: int = 0) -> Spoken:
    chance = np.random.default_rng(seed)
    semantic = chance.integers(0, NUM_SEMANTIC, num_tokens).astype(np.int16)
    codes = chance.integers(first_code, 1024, (8, num_tokens * 3 // 2)).astype(np.int16)
    return Spoken(
        f"sentence {seed}", [[""], [""], [""]], semantic, np.zeros(num_tokens, np.int16), codes, speaker
    )


def test_the_recipe_fits_itself() -> None:
    """Vocabularies and windows agree, and the rates are in Bark's proportion of two to three."""
    check_config(CONFIG, "recipe")
    assert CONFIG.coarse_per_semantic == 3.0


def test_a_coarse_example_is_a_window_of_the_reference() -> None:
    """An example is 64 semantic tokens, the infer token and the context; its targets are the next coarse tokens."""
    items = [spoken(100, seed) for seed in range(4)]
    windows, config = CoarseWindows.from_config(CONFIG), CONFIG.coarse
    chance = random.Random(0)
    for _ in range(50):
        inputs, targets = CoarseExamples(items).example(chance)
        assert len(inputs) == len(targets)
        assert inputs[config.semantic_context] == config.infer_token
        assert targets[: config.semantic_context] == [IGNORED] * config.semantic_context
        # The targets are shifted by one: a prediction is the next input.
        assert inputs[config.semantic_context + 1 :] == targets[config.semantic_context : -1]
        assert len(inputs) <= config.semantic_context + config.max_history + config.window

    assert windows.max_semantic_history == 30


def test_a_fine_example_shows_what_the_stage_shows() -> None:
    """An example has the left context and the chunk's earlier codebooks; only the chunk has targets, and pads end a row
    whose sentence ends before the others'."""
    items = [spoken(100, seed) for seed in range(3)]
    pad = CONFIG.fine.pad_token
    for codebook in (2, 7):
        codes, targets = FineExamples(items).batch(16, codebook, random.Random(0))
        chunk = targets != IGNORED
        assert chunk.any(dim=1).all()
        for row in range(16):
            columns = chunk[row].nonzero()[:, 0]
            assert (codes[row, codebook:, columns] == pad).all()
            assert (codes[row, :codebook, columns] != pad).all()
            assert (codes[row, :, : columns[0]] != pad).all()
            assert (codes[row, :, columns[-1] + 1 :] == pad).all()
            assert len(columns) <= CONFIG.fine.context - CONFIG.fine.history
        assert chunk[:, -1].any()


def test_a_sentence_continues_from_its_own_speaker() -> None:
    """No example has another speaker's history: of two speakers with different codes each example has only one."""
    items = [spoken(100, seed, "kumo", 0) for seed in range(3)]
    for item in items:
        item.codes[:] //= 2
    items += [spoken(100, seed, "gongitsune", 512) for seed in range(3)]
    chance = random.Random(0)
    for _ in range(50):
        _, targets = CoarseExamples(items).example(chance)
        codes = (np.array([token for token in targets if token != IGNORED]) - NUM_SEMANTIC) % 1024
        assert len({int(code) >= 512 for code in codes}) == 1
    codes_before, targets_of_chunk = FineExamples(items).batch(16, 7, chance)
    for row in range(16):
        chunk = targets_of_chunk[row] != IGNORED
        left = codes_before[row, :, : int(chunk.nonzero()[0])]
        assert len({bool(code >= 512) for code in (*left.flatten(), *targets_of_chunk[row][chunk])}) == 1


def test_wrong_codes_are_few_and_of_their_own_codebook() -> None:
    """One in twenty coarse codes is changed, never to one of the other codebook, and nothing else."""
    torch.manual_seed(0)
    config = CONFIG.coarse
    codes = torch.arange(config.codebook_offset, config.codebook_offset + 2048).repeat(4, 1)
    others = torch.tensor([0, config.codebook_offset - 1, config.semantic_pad_token, config.infer_token])
    wrong = with_wrong_codes(codes)
    assert torch.equal((wrong - config.codebook_offset) // 1024, (codes - config.codebook_offset) // 1024)
    assert abs(float((wrong != codes).float().mean()) - WRONG_CODES) < 0.01
    assert all(torch.equal(with_wrong_codes(others), others) for _ in range(50))


def test_a_semantic_target_knows_its_place_in_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each token's place is that of the symbol that it says, in phones and in letters."""
    monkeypatch.setattr(examples, "lexicon", lambda: {"go": "G OW1"})
    pieces = [["ɡ", "ˈO"], [", "], ["zˈI"], ["."]]
    places = np.array([0, 0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 8], np.int16)  # ɡ ˈ O [,] [ ] z ˈ I .
    item = Spoken("Go, Xi.", pieces, np.zeros(12, np.int16), places, np.zeros((8, 18), np.int16), "kumo")
    _, _, _, targets, found = SemanticExamples([item]).batch(1, AllPhones())
    symbols = [SYMBOLS.index(symbol) for symbol in ("G", "OW1", ",", "x", "i", ".")]
    told = [SYMBOLS[symbols[place]] for place in found[0, :12].tolist()]
    assert told == ["G", "G", "OW1", "OW1", "OW1", ",", ",", "x", "x", "i", ".", "."]
    assert (found[0, 12:] == IGNORED).all() and int(targets[0, 12]) == CONFIG.semantic.vocab_size


class AllPhones(random.Random):
    """Never chooses to spell a known word."""

    def random(self) -> float:
        return 0.99


def test_the_guide_teaches_the_lower_layers_alone() -> None:
    """The logits are the model's own, and the place in the text has no gradient in the layers above."""
    torch.manual_seed(0)
    model, guide = new_model("semantic"), Guide()
    embeddings = torch.randn(2, TEXT_CONTEXT + 5, CONFIG.semantic.transformer.width)
    logits, places = guide(model, embeddings)
    assert torch.allclose(logits, model.forward_embeddings(embeddings, first=TEXT_CONTEXT), atol=1e-5)
    places.sum().backward()
    taught = [any(p.grad is not None for p in block.parameters()) for block in model.blocks]
    assert taught == [True] * GUIDED_LAYERS + [False] * (len(taught) - GUIDED_LAYERS)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["coarse", "fine"])
def test_a_few_steps_of_training_lower_the_loss(stage: str) -> None:
    """The whole step runs, and the model learns the data."""
    model, loss = new_model(stage), StageLoss(stage, [spoken(60, seed) for seed in range(2)])
    optimizers = Optimizers(model)
    losses = []
    for _ in range(12):
        value = loss(model, 4, random.Random(1), "cpu")
        value.backward()
        optimizers.step(3e-3)
        losses.append(float(value.detach()))
    assert losses[-1] < 0.9 * losses[0]
