"""A sentence on its way through the stages: what is to be spoken, and what each stage has made of it so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from streamer.audio.samples import Samples
from streamer.errors import StreamerError
from streamer.models.config import ModelConfig
from streamer.sampling import SamplingParams
from streamer.stages.coarse_windows import CoarseWindows
from streamer.stages.text_path import TextPath
from streamer.voices.voice import Voice


@dataclass(slots=True)
class TokenTrack:
    """The tokens of an autoregressive stage.

    `num_issued` counts the launched steps; the tokens of the last ones may not have been read back yet. `num_cached`
    counts the positions of the cache that the present window fills. While `is_made_beside`, a thread beside the
    engine's makes the next ones.
    """

    tokens: list[int] = field(default_factory=list)
    num_issued: int = 0
    num_cached: int = 0
    is_made_beside: bool = False
    is_finished: bool = False


@dataclass(slots=True)
class CodeTrack:
    """The codes of the fine stage, [codebooks, max_frames] on its device; `num_frames` of them are launched or made."""

    codes: Tensor
    num_frames: int = 0


@dataclass(slots=True)
class AudioTrack:
    """The output of the codec: frames whose decoding was launched, frames decoded, and samples not taken yet."""

    num_frames: int = 0
    num_done: int = 0
    waiting: list[Samples] = field(default_factory=list)


class SentenceWork:
    """A sentence in progress: the engine's `Work`.

    `text_tokens` are the tokenizer's, without the model's offset. `sentence_index` counts within the utterance. A
    sentence that has not ended by `max_semantic_tokens` is cut there.
    """

    def __init__(
        self,
        config: ModelConfig,
        text_tokens: Sequence[int],
        voice: Voice,
        params: SamplingParams,
        *,
        sentence_index: int = 0,
        max_semantic_tokens: int,
    ) -> None:
        self.text_tokens = text_tokens
        self.voice = voice
        self.params = params
        self.sentence_index = sentence_index
        self.max_semantic_tokens = max_semantic_tokens
        self.slot = -1
        self.failure: StreamerError | None = None
        self.is_truncated = False
        self.path: TextPath | None = None
        """What the semantic tokens are kept to, for a model that declares it; set by the semantic stage."""
        self.windows = CoarseWindows.from_config(config, params)
        self.semantic_history, self.coarse_history = coarse_histories(voice, config, self.windows)

        self.semantic = TokenTrack()
        self.coarse = TokenTrack()
        max_frames = self.windows.num_steps(max_semantic_tokens) // config.coarse.num_codebooks
        self.fine = CodeTrack(torch.full((config.fine.num_codebooks, max_frames), config.fine.pad_token))
        self.audio = AudioTrack()
        self._num_codebooks = config.coarse.num_codebooks
        self._rate_hz = config.semantic.rate_hz

    @property
    def num_coarse_steps(self) -> int:
        """The coarse tokens that may be made now; the number is final once the semantic stage has finished."""
        return self.windows.num_steps(len(self.semantic.tokens))

    @property
    def num_frames(self) -> int | None:
        """The frames of the whole sentence, None until the semantic stage has finished."""
        return self.num_coarse_steps // self._num_codebooks if self.semantic.is_finished else None

    def has_semantic_for(self, step: int) -> bool:
        """Whether the semantic tokens are final that the coarse window at `step` reads."""
        needed = self.windows.tokens_needed(step, len(self.semantic_history))
        return self.semantic.is_finished or len(self.semantic.tokens) >= needed

    @property
    def is_coarse_finished(self) -> bool:
        return self.semantic.is_finished and len(self.coarse.tokens) == self.num_coarse_steps

    @property
    def num_coarse_frames(self) -> int:
        """The frames whose coarse codes all exist."""
        return len(self.coarse.tokens) // self._num_codebooks

    @property
    def is_fine_finished(self) -> bool:
        return self.is_coarse_finished and self.fine.num_frames == self.num_coarse_frames

    @property
    def is_finished(self) -> bool:
        return self.is_fine_finished and self.audio.num_done == self.fine.num_frames

    def word_times(self, word_ends: Sequence[int]) -> list[tuple[float, float]]:
        """When each word that was said begins and ends in the sentence's sound, in s; none without a path.

        `word_ends` are the ends of the words among the text tokens.
        """
        if self.path is None:
            return []
        is_whole = self.semantic.is_finished and not self.is_truncated
        # A copy, because the engine's thread may be adding the next token.
        spans = self.path.word_spans([*self.semantic.tokens], word_ends, is_whole=is_whole)
        return [(begin / self._rate_hz, end / self._rate_hz) for begin, end in spans]

    def take_audio(self) -> Samples:
        """Return the samples decoded since the last call, float32 [num_samples]."""
        waiting, self.audio.waiting = self.audio.waiting, []
        return np.concatenate(waiting) if waiting else np.zeros(0, np.float32)

    def as_voice(self) -> Voice | None:
        """Return the finished sentence as a voice (Bark's `output_full`); None if it has no audio."""
        if not self.fine.num_frames:
            return None
        fine = self.fine.codes[:, : self.fine.num_frames].cpu().numpy()
        semantic = np.array(self.semantic.tokens, np.int64)
        return Voice(semantic, fine[: self._num_codebooks].copy(), fine)


def coarse_histories(
    voice: Voice, config: ModelConfig, windows: CoarseWindows
) -> tuple[list[int], list[int]]:
    """Return the history that the coarse stage sees: semantic tokens, and coarse tokens (flat, with offsets)."""
    coarse = config.coarse
    offsets = coarse.codebook_offset + coarse.codebook_size * np.arange(coarse.num_codebooks)
    flat = (voice.coarse.astype(np.int64) + offsets[:, None]).T.reshape(-1)  # [frames * codebooks]
    num_semantic, num_coarse = windows.history_lengths(len(voice.semantic), len(flat))
    if num_semantic <= 0:
        return [], []
    return (
        voice.semantic[-num_semantic:].tolist(),
        flat[-num_coarse:][: max(0, num_coarse - coarse.dropped_history)].tolist(),
    )
