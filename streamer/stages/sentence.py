"""One sentence's way through the stages: what is asked, and what each stage has made of it so far."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from streamer.audio.samples import Samples
from streamer.errors import StreamerError
from streamer.models.config import ModelConfig
from streamer.sampling import SamplingParams
from streamer.stages.coarse_windows import DROPPED_HISTORY, CoarseWindows
from streamer.voices.voice import Voice


@dataclass(frozen=True, slots=True)
class SentencePrompt:
    """What is to be spoken. `text_tokens` are the tokenizer's, without the model's offset."""

    text_tokens: tuple[int, ...]
    voice: Voice
    params: SamplingParams
    sentence_index: int
    max_semantic_tokens: int
    """The cap: a sentence that has not ended by then is cut."""


@dataclass(slots=True)
class TokenTrack:
    """The tokens of an autoregressive stage.

    `num_issued`: steps launched, of which the last ones' tokens may not have been read back yet.
    `num_cached`: positions of the cache filled in the present window.
    """

    tokens: list[int] = field(default_factory=list)
    num_issued: int = 0
    num_cached: int = 0
    is_finished: bool = False


@dataclass(slots=True)
class CodeTrack:
    """The codes of the fine stage, [codebooks, max_frames] on its device; `num_frames` are made or launched."""

    codes: Tensor
    num_frames: int = 0


@dataclass(slots=True)
class AudioTrack:
    """What the codec made: frames whose decoding was launched, those done, and samples nobody has taken yet."""

    num_frames: int = 0
    num_done: int = 0
    waiting: list[Samples] = field(default_factory=list)


class SentenceWork:
    """A sentence in progress: implements the engine's `Work`. Built by `SentenceWork(prompt, config)`."""

    def __init__(self, prompt: SentencePrompt, config: ModelConfig) -> None:
        self.prompt = prompt
        self.slot = -1
        self.failure: StreamerError | None = None
        self.is_truncated = False
        self.windows = CoarseWindows.from_config(config, prompt.params)
        self.semantic_history, self.coarse_history = coarse_histories(prompt.voice, config, self.windows)

        self.semantic = TokenTrack()
        self.coarse = TokenTrack()
        max_frames = self.windows.num_steps(prompt.max_semantic_tokens) // config.coarse.num_codebooks
        self.fine = CodeTrack(torch.full((config.fine.num_codebooks, max_frames), config.fine.pad_token))
        self.audio = AudioTrack()
        self._num_codebooks = config.coarse.num_codebooks

    @property
    def num_coarse_steps(self) -> int:
        """Coarse tokens that may be made now: final once the semantic stage has finished."""
        return self.windows.num_steps(len(self.semantic.tokens))

    @property
    def is_coarse_finished(self) -> bool:
        return self.semantic.is_finished and len(self.coarse.tokens) == self.num_coarse_steps

    @property
    def num_coarse_frames(self) -> int:
        """Frames of which all coarse codes exist."""
        return len(self.coarse.tokens) // self._num_codebooks

    @property
    def is_fine_finished(self) -> bool:
        return self.is_coarse_finished and self.fine.num_frames == self.num_coarse_frames

    @property
    def is_finished(self) -> bool:
        return self.is_fine_finished and self.audio.num_done == self.fine.num_frames

    def take_audio(self) -> Samples:
        """The samples decoded since the last call: float32 [num_samples]."""
        waiting, self.audio.waiting = self.audio.waiting, []
        return np.concatenate(waiting) if waiting else np.zeros(0, np.float32)

    def as_voice(self) -> Voice | None:
        """The finished sentence as a voice (Bark's `output_full`, "save as prompt"); None where it has no sound."""
        if not self.fine.num_frames:
            return None
        fine = self.fine.codes[:, : self.fine.num_frames].cpu().numpy()
        semantic = np.array(self.semantic.tokens, np.int64)
        return Voice(semantic, fine[: self._num_codebooks].copy(), fine)


def coarse_histories(
    voice: Voice, config: ModelConfig, windows: CoarseWindows
) -> tuple[list[int], list[int]]:
    """The semantic and the (flat, offset) coarse tokens that the coarse stage sees before the sentence."""
    coarse = config.coarse
    offsets = coarse.codebook_offset + coarse.codebook_size * np.arange(coarse.num_codebooks)
    flat = (voice.coarse.astype(np.int64) + offsets[:, None]).T.reshape(-1)  # [frames * codebooks]
    num_semantic, num_coarse = windows.history_lengths(len(voice.semantic), len(flat))
    if num_semantic <= 0:
        return [], []
    return (
        voice.semantic[-num_semantic:].tolist(),
        flat[-num_coarse:][:-DROPPED_HISTORY].tolist(),
    )
