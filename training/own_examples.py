"""Lays out what a model said itself (`own_speech`) as its semantic and its coarse stage read it, for `round_gpt`."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor

from streamer.models.files.checkpoint import LoadedModel
from streamer.sampling import SamplingParams
from streamer.stages.chain import build_stages
from streamer.stages.sentence import SentenceWork
from streamer.voices.library import VoiceLibrary
from streamer.voices.voice import Voice
from training.own_speech import OwnSpeech

VOICE_SHARE, OTHER_SHARE = 0.6, 0.3
"""The shares of examples whose history is the voice, and another utterance of it; the rest have none."""

SpeechBatch = tuple[Tensor, Tensor | None, Tensor]
"""Tokens [rows, length], the history that is summed with the first ones, and the positions whose outputs are read."""


class Examples:
    """Batches of what a stage reads when it says an utterance again."""

    def __init__(self, stage: str, model: LoadedModel, spoken: list[OwnSpeech]) -> None:
        self._stage, self._config, self._spoken = stage, model.config, spoken
        self._coarse = build_stages(model, num_slots=1)[1]
        self._voices = VoiceLibrary([model.directory / "voices"], model.config)
        self._by_length = sorted(spoken, key=lambda item: len(item.semantic))

    def batch(self, rows: int, chance: random.Random) -> SpeechBatch:
        make = self._coarse_batch if self._stage == "coarse" else self._semantic_batch
        return make(rows, chance)

    def _history(self, item: OwnSpeech, chance: random.Random) -> Voice:
        """Return the voice, another utterance of it, or no history."""
        kind = chance.random()
        if kind < VOICE_SHARE:
            return self._voices.get(item.voice)
        if kind > VOICE_SHARE + OTHER_SHARE:
            return Voice.without_history(self._config)
        other = chance.choice([other for other in self._spoken if other.voice == item.voice])
        coarse = self._config.coarse
        codes = (np.array(other.coarse) - coarse.codebook_offset).reshape(-1, coarse.num_codebooks).T
        codes = codes - coarse.codebook_size * np.arange(coarse.num_codebooks)[:, None]
        return Voice(np.array(other.semantic), codes, codes)

    def _coarse_batch(self, rows: int, chance: random.Random) -> SpeechBatch:
        config = self._config.coarse
        length = config.transformer.block_size - 1
        inputs = torch.full((rows, length), config.semantic_pad_token)
        is_read = torch.zeros(rows, length, dtype=torch.bool)
        for row in range(rows):
            item = chance.choice(self._spoken)
            work = SentenceWork(
                self._config, item.tokens, self._history(item, chance), SamplingParams(0),
                max_semantic_tokens=len(item.semantic),
            )  # fmt: skip
            work.semantic.tokens = item.semantic
            first = config.window * chance.randrange(-(-len(item.coarse) // config.window))
            work.coarse.tokens = item.coarse[:first]
            read = self._coarse.window_input(work)
            tokens = [*read, *item.coarse[first : first + config.window - 1]]
            inputs[row, : len(tokens)] = torch.tensor(tokens)
            is_read[row, config.semantic_context : len(tokens)] = True
        return inputs, None, is_read

    def _semantic_batch(self, rows: int, chance: random.Random) -> SpeechBatch:
        config = self._config.semantic
        start = chance.randrange(max(1, len(self._by_length) - rows))
        chosen = self._by_length[start : start + rows]
        length = -(-max(len(item.semantic) + 1 for item in chosen) // 64) * 64
        text = torch.full((rows, config.text_context), config.text_pad_token)
        history = torch.full((rows, config.text_context), config.pad_token)
        tokens = torch.full((rows, length), config.pad_token)
        tokens[:, 0] = config.infer_token
        is_read = torch.zeros(rows, config.text_context + length, dtype=torch.bool)
        for row, item in enumerate(chosen):
            text[row, : len(item.tokens)] = torch.tensor(item.tokens) + config.text_offset
            past = self._history(item, chance).semantic[-config.text_context :]
            history[row, : len(past)] = torch.from_numpy(np.asarray(past, np.int64))
            tokens[row, 1 : len(item.semantic) + 1] = torch.tensor(item.semantic)
            is_read[row, config.text_context : config.text_context + len(item.semantic) + 1] = True
        return torch.cat([text, tokens], dim=1), history, is_read
