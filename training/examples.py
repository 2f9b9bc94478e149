"""Cuts the teacher's sentences into training examples for the three transformers, each laid out as at run time."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from streamer.stages.coarse_windows import CoarseWindows
from streamer.text.tokens.phonemes import PhonemeTokenizer
from training.lexicon import lexicon
from training.pronunciation import PIECE, symbol_of_sign
from training.recipe import (
    CODEBOOK_SIZE,
    CONFIG,
    FINE_CONTEXT,
    FINE_HISTORY,
    MAX_SEMANTIC,
    NUM_CODEBOOKS,
    SYMBOLS,
    TEXT_CONTEXT,
)
from training.spoken import Cutter, Ints, Spoken

IGNORED = -100
SPELLED_WORDS = 0.08
"""The share of words given to the model as letters, so that it learns to read those that its lexicon lacks."""
NO_HISTORY = 0.25
"""The share of sentences without a history, although at run time each follows its voice's."""
AFTER_BEFORE = 0.6
"""The share of parts whose history ends in what was said before them, if something was."""
WRONG_CODES = 0.05
"""The share of the coarse codes so far that are not the teacher's."""
LENGTHS = (64, 96, 128, 192, 288, MAX_SEMANTIC)
"""The lengths in tokens to which batches are padded: a compiled step is compiled once for each."""


class Company:
    """Pairs each sentence with another of the same speaker, which is the voice's history."""

    def __init__(self, spoken: list[Spoken]) -> None:
        self._spoken = spoken
        self._by_speaker: dict[str, list[Spoken]] = {}
        for item in spoken:
            self._by_speaker.setdefault(item.speaker, []).append(item)

    def pair(self, chance: random.Random) -> tuple[Spoken, Spoken]:
        """Return a sentence and another one of its speaker."""
        item = chance.choice(self._spoken)
        return item, chance.choice(self._by_speaker[item.speaker])


class SemanticExamples:
    """Examples of the semantic stage: the model sums text and history, and predicts the tokens and the end."""

    def __init__(self, spoken: list[Spoken]) -> None:
        self._lexicon = lexicon()
        self._tokenizer = PhonemeTokenizer(SYMBOLS, self._lexicon)
        self._speller = PhonemeTokenizer(SYMBOLS, {})
        cutter = Cutter(lambda text: len(self._tokenizer.encode_part(text)))
        chance = random.Random(0)
        self._spoken = [part for item in spoken for part in cutter.parts(item, chance)]
        self._order = sorted(range(len(self._spoken)), key=lambda index: len(self._spoken[index].semantic))

    def text_tokens(self, text: str, chance: random.Random) -> list[list[int]]:
        """Return the tokens that the tokenizer gives, piece by piece, but with some words spelled."""
        pieces = []
        for part in PIECE.findall(text.lower()):
            tokenizer = self._speller if chance.random() < SPELLED_WORDS else self._tokenizer
            piece = tokenizer.encode_part(part)
            pieces.append(piece if piece or not part.isspace() else [SYMBOLS.index(" ")])
        return pieces

    def targets_in_text(self, item: Spoken, pieces: list[list[int]]) -> Tensor:
        """Return for each semantic token the place in the text of the symbol that it says."""
        symbols = symbol_of_sign(item.pieces, [len(piece) for piece in pieces])
        places = torch.tensor(symbols)[torch.from_numpy(item.places.astype(np.int64))]
        return torch.where(places < TEXT_CONTEXT, places, IGNORED)

    def batch(self, rows: int, chance: random.Random) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return text and history [rows, text_context]; inputs, targets and their places in the text [rows, length].

        The rows have about the same length: they are neighbours in the order of lengths.
        """
        config = CONFIG.semantic
        start = chance.randrange(max(1, len(self._order) - rows))
        chosen = [self._spoken[index] for index in self._order[start : start + rows]]
        longest = max(len(item.semantic) for item in chosen) + 1
        length = next(length for length in LENGTHS if length >= longest)
        text = torch.full((rows, TEXT_CONTEXT), config.text_pad_token)
        history = torch.full((rows, TEXT_CONTEXT), config.pad_token)
        tokens = torch.full((rows, length), config.pad_token)
        targets = torch.full((rows, length), IGNORED)
        places = torch.full((rows, length), IGNORED)
        tokens[:, 0] = config.infer_token
        for row, item in enumerate(chosen):
            pieces = self.text_tokens(item.text, chance)
            ids = [symbol for piece in pieces for symbol in piece][:TEXT_CONTEXT]
            text[row, : len(ids)] = torch.tensor(ids) + config.text_offset
            if chance.random() > NO_HISTORY:
                past = self._history(item, chance)[-TEXT_CONTEXT:]
                history[row, : len(past)] = torch.from_numpy(past.astype(np.int64))
            semantic = torch.from_numpy(item.semantic.astype(np.int64))
            count = len(semantic)
            tokens[row, 1 : count + 1] = semantic
            targets[row, :count] = semantic
            targets[row, count] = config.vocab_size
            places[row, :count] = self.targets_in_text(item, pieces)
        return text, history, tokens, targets, places

    def _history(self, item: Spoken, chance: random.Random) -> Ints:
        """Return another utterance's tokens, or as many of them as leave half of the room to what came before."""
        other = chance.choice(self._spoken).semantic
        if item.before is None or chance.random() > AFTER_BEFORE:
            return other
        return np.concatenate([other[-TEXT_CONTEXT // 2 :], item.before[-TEXT_CONTEXT // 2 :]])


class CoarseExamples:
    """Examples of the coarse stage: one window each, with another sentence or none as the voice's history."""

    def __init__(self, spoken: list[Spoken]) -> None:
        self._company = Company([item for item in spoken if len(item.semantic) > 20])
        self._windows = CoarseWindows.from_config(CONFIG)

    def example(self, chance: random.Random) -> tuple[list[int], list[int]]:
        """Return (input, targets) of a random window: every coarse token in it is a target, context included."""
        windows, config = self._windows, CONFIG.coarse
        item, voice = self._company.pair(chance)
        semantic, coarse = item.semantic.astype(np.int64).tolist(), item.coarse.tolist()
        num_history, num_coarse = 0, 0
        if chance.random() > 0.1:
            voice_coarse = voice.coarse.tolist()
            num_history, num_coarse = windows.history_lengths(len(voice.semantic), len(voice_coarse))
            semantic = voice.semantic.astype(np.int64).tolist()[-num_history:] + semantic
            voice_coarse = voice_coarse[-num_coarse:][: num_coarse - config.dropped_history]
            num_coarse = len(voice_coarse)
            coarse = voice_coarse + coarse
        num_steps = len(coarse) - num_coarse
        first = config.window * chance.randrange(max(1, -(-num_steps // config.window)))
        start = windows.semantic_start(first, num_history)
        slice_ = semantic[start : start + config.semantic_context]
        slice_ += [config.semantic_pad_token] * (config.semantic_context - len(slice_))
        end = num_coarse + first
        context = coarse[max(0, end - config.max_history) : end]
        made = coarse[end : end + config.window]
        row = [*slice_, config.infer_token, *context, *made]
        targets = [IGNORED] * config.semantic_context + [*context, *made]
        return row[:-1], targets

    def batch(self, rows: int, chance: random.Random) -> tuple[Tensor, Tensor]:
        """Return inputs and targets [rows, length], padded at the end."""
        parts = [self.example(chance) for _ in range(rows)]
        length = CONFIG.coarse.transformer.block_size - 1
        pad = CONFIG.coarse.semantic_pad_token
        inputs = torch.tensor([row + [pad] * (length - len(row)) for row, _ in parts])
        targets = torch.tensor([(row + [IGNORED] * length)[:length] for _, row in parts])
        return inputs, targets


def with_wrong_codes(inputs: Tensor) -> Tensor:
    """Replace some coarse tokens by others of their codebook: the model's own are not always right."""
    codes = inputs - CONFIG.coarse.codebook_offset
    others = codes // CODEBOOK_SIZE * CODEBOOK_SIZE + torch.randint(CODEBOOK_SIZE, codes.shape)
    is_wrong = (codes >= 0) & (codes < 2 * CODEBOOK_SIZE) & (torch.rand(codes.shape) < WRONG_CODES)
    return torch.where(is_wrong, others + CONFIG.coarse.codebook_offset, inputs)


class FineExamples:
    """Examples of the fine stage: a chunk with fixed frames on its left and nothing on its right."""

    def __init__(self, spoken: list[Spoken]) -> None:
        self._company = Company([item for item in spoken if item.codes.shape[1] > 16])

    def batch(self, rows: int, codebook: int, chance: random.Random) -> tuple[Tensor, Tensor]:
        """Return codes [rows, codebooks, frames] before `codebook` is predicted, and targets [rows, frames].

        All rows are as long, but for pads where a sentence ends earlier: a stage's window has none.
        """
        config = CONFIG.fine
        sizes = (*config.chunk_frames, config.last_chunk_frames)
        size = min(chance.choice(sizes), FINE_CONTEXT - FINE_HISTORY)
        num_left = chance.randrange(FINE_HISTORY) if chance.random() < NO_HISTORY else FINE_HISTORY
        buffer = torch.full((rows, NUM_CODEBOOKS, num_left + size), config.pad_token)
        targets = torch.full((rows, num_left + size), IGNORED)
        for row in range(rows):
            item, voice = self._company.pair(chance)
            before = voice.codes[:, -FINE_HISTORY:]
            codes = np.concatenate([before, item.codes], axis=1).astype(np.int64)
            first = chance.randrange(max(num_left, before.shape[1]), codes.shape[1])
            new = codes[:, first : first + size]
            end = num_left + new.shape[1]
            buffer[row, :, :num_left] = torch.from_numpy(codes[:, first - num_left : first])
            buffer[row, :codebook, num_left:end] = torch.from_numpy(new[:codebook])
            targets[row, num_left:end] = torch.from_numpy(new[codebook])
        return buffer, targets


Batch = Callable[[int, random.Random], tuple[Tensor, ...]]
