"""Suno's own code as the judge: the package `bark` on random weights, drawing with our noise.

`bark` (suno-ai/bark, MIT) is the original implementation. Only its loading of weights and its download of a tokenizer
are replaced: its loops, its windows and its filters run as they were released. Its networks compute in
float64, so that any difference is due to our code.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
import types
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from streamer.engine.device.noise import exponential, noise_key
from streamer.models.codec import CodecDecoder
from streamer.models.config import SMALL, CodecConfig, FineConfig, ModelConfig, TransformerConfig
from streamer.models.files.checkpoint import LoadedModel
from streamer.models.files.codec_weights import codec_weights
from streamer.models.fine_gpt import FineGpt
from streamer.models.gpt import CausalGpt
from streamer.stages.fine import FineStage
from streamer.stages.sentence import SentenceWork
from streamer.synthesis import SamplingParams
from streamer.voices.voice import Voice

VERSION: Final = "0.1.5"
WIDTH, NUM_LAYERS, NUM_HEADS = 16, 2, 2
NUM_CODEC_FILTERS = 4
"""The codec's filters, an eighth of EnCodec's: otherwise the codec would take most of a sentence's time."""
WEIGHT_STD = 0.4
"""The weights' standard deviation, large enough for attention and probabilities that are far from uniform."""
END_STD = 0.5
"""The standard deviation of the end token's output weights, so that some sentences end early and others never."""
TIE: Final = 1e-3
"""Two tokens whose log scores are closer than this may change places by float32's rounding alone."""

Codes = npt.NDArray[np.int64]


def is_installed() -> bool:
    """Return whether `bark` and the packages that it imports are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("bark", "encodec", "funcy", "scipy"))


@contextmanager
def importable_encodec() -> Iterator[None]:
    """Let encodec be imported even if torchaudio cannot be, which it needs only for a resampler and for files.

    The package index's torchaudio is built for CUDA and cannot be loaded beside a CPU build of torch. The empty
    module in its place has a `__spec__`, because transformers asks for one, and is removed afterwards.
    """
    try:
        importlib.import_module("torchaudio")
    except (ImportError, OSError):
        stand_in = types.ModuleType("torchaudio")
        stand_in.__spec__ = ModuleSpec("torchaudio", None)
        sys.modules["torchaudio"] = stand_in
        try:
            yield
        finally:
            del sys.modules["torchaudio"]
    else:
        yield


def prompts_directory() -> Path:
    """Return the directory of the package's 271 prompts, without importing the package."""
    spec = importlib.util.find_spec("bark")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "assets" / "prompts"


class Draws:
    """Stands in for `torch.multinomial` and `torch.argmax`, with our noise in place of the generator's.

    `noise` yields the row of each draw. If a result differs from the `expected` one (None: not known) but nearly ties
    with it, the expected one is taken, so that one rounding does not change all that follows; `num_near_ties` counts
    these.
    """

    def __init__(self, noise: Iterator[Tensor], expected: Iterable[int | None]) -> None:
        self.num_near_ties = 0
        self._noise = noise
        self._expected = iter(expected)

    def multinomial(self, probabilities: Tensor, num_samples: int) -> Tensor:
        """Draw from one row of probabilities."""
        assert num_samples == 1
        return self._best(probabilities.double().log() - next(self._noise).double().log())[None]

    def argmax(self, rows: Tensor, _dim: int) -> Tensor:
        """Return the best token of each row of logits."""
        return torch.stack([self._best(row) for row in rows])

    def _best(self, scores: Tensor) -> Tensor:
        best, expected = scores.argmax(), next(self._expected, None)
        if expected is not None and expected != best and scores[best] - scores[expected] < TIE:
            self.num_near_ties += 1
            best = torch.tensor(expected)
        return best


class WatchedFineStage(FineStage):
    """Our fine stage, which also keeps the codes [codebooks, context] of every window that it filled in."""

    def __init__(self, model: LoadedModel, config: FineConfig) -> None:
        super().__init__(model.fine, config, model.config.coarse, max_rows=1)
        self.windows: list[Codes] = []

    def fill(self, rows: Tensor, *, length: int, is_filtered: bool, num_read: int | None = None) -> Tensor:
        filled = super().fill(rows, length=length, is_filtered=is_filtered, num_read=num_read)
        codes = filled[0, :-1].view(SMALL.fine.num_codebooks, SMALL.fine.context)
        self.windows.append(codes.numpy())
        return filled


class SunoBark:
    """Suno's three networks and EnCodec, narrow and with random weights; `model` is ours with the same weights.

    Vocabularies, windows and rates are Bark's own. `prompt` is the path of an `.npz`, or None for no history. The
    draws are those of an utterance's first sentence. Only one judge can exist at a time, because `bark` keeps its
    networks in a global.
    """

    def __init__(self, tokenizer: Any, *, seed: int = 0) -> None:
        self.num_near_ties = 0
        with importable_encodec(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # encodec is of 2022, and uses what is deprecated by now
            encodec = importlib.import_module("encodec")
            seanet = importlib.import_module("encodec.modules.seanet")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._bark: Any = importlib.import_module("bark.generation")
            networks = importlib.import_module("bark.model"), importlib.import_module("bark.model_fine")
            torch.manual_seed(seed)
            sizes = {"n_layer": NUM_LAYERS, "n_head": NUM_HEADS, "n_embd": WIDTH, "bias": False}
            text, coarse = (
                networks[0].GPT(networks[0].GPTConfig(input_vocab_size=i, output_vocab_size=o, **sizes))
                for i, o in ((129_600, 10_048), (12_096, 12_096))
            )
            fine = networks[1].FineGPT(
                networks[1].FineGPTConfig(input_vocab_size=1056, output_vocab_size=1056, **sizes)
            )
            quantizer = importlib.import_module("encodec.quantization").ResidualVectorQuantizer(
                dimension=128, n_q=8, bins=1024
            )
            small = {"n_filters": NUM_CODEC_FILTERS, "norm": "weight_norm", "causal": True}
            codec = encodec.EncodecModel(
                seanet.SEANetEncoder(**small), seanet.SEANetDecoder(**small), quantizer, [6.0], 24_000, 1
            )
        for network in (text, coarse, fine):
            for parameter in network.parameters():
                if parameter.dim() > 1:
                    nn.init.normal_(parameter, std=WEIGHT_STD)
        nn.init.normal_(text.lm_head.weight.data[SMALL.semantic.vocab_size], std=END_STD)
        for layer in quantizer.vq.layers:
            layer._codebook.embed.normal_()
        self.model = _ours(text, coarse, fine, codec)
        self._bark.models.update(
            text={"model": text.double().eval(), "tokenizer": tokenizer},
            coarse=coarse.double().eval(),
            fine=fine.double().eval(),
            codec=codec.eval(),
        )

    def semantic(
        self, text: str, prompt: str | None, params: SamplingParams, expected: Sequence[int] = ()
    ) -> list[int]:
        """Return the semantic tokens of `generate_text_semantic`, called as `generate_audio` does."""
        key = noise_key(params.seed, 0, "semantic")
        with self._drawing(_noise(key, 0, SMALL.semantic.vocab_size + 1), expected):
            tokens: Codes = self._bark.generate_text_semantic(
                text,
                history_prompt=prompt,
                temp=params.text_temp,
                top_k=params.top_k,
                top_p=params.top_p,
                min_eos_p=params.min_eos_p,
                max_gen_duration_s=params.max_gen_duration_s,
                silent=True,
                use_kv_caching=True,
            )
        found: list[int] = tokens.tolist()
        return found

    def coarse(
        self,
        semantic: Sequence[int],
        prompt: str | None,
        params: SamplingParams,
        expected: Sequence[Sequence[int]] = ((), ()),
    ) -> Codes:
        """Return the codes [2, frames] of `generate_coarse`."""
        key = noise_key(params.seed, 0, "coarse")
        turns = np.asarray(expected).T.ravel().tolist()
        with self._drawing(_noise(key, 0, SMALL.coarse.codebook_size), turns):
            codes: Codes = self._bark.generate_coarse(
                np.array(semantic),
                history_prompt=prompt,
                temp=params.waveform_temp,
                top_k=params.top_k,
                top_p=params.top_p,
                max_coarse_history=params.max_coarse_history or SMALL.coarse.max_history,
                sliding_window_len=params.sliding_window_len or SMALL.coarse.window,
                silent=True,
                use_kv_caching=True,
            )
        return codes

    def fine(
        self,
        coarse: Codes,
        prompt: str | None,
        params: SamplingParams,
        expected: Sequence[Codes] = (),
    ) -> Codes:
        """Return the codes [8, frames] of `generate_fine`.

        `expected`: those of each window, [8, 1024], with the pad token in place of codes that nothing read.
        """
        num_history = 0
        if prompt is not None:
            num_history = min(SMALL.fine.history, np.load(prompt)["fine_prompt"].shape[1])
        windows = list(_fine_windows(coarse.shape[1], num_history))
        noise = (
            row
            for first_frame, first_column in windows
            for codebook in range(2, SMALL.fine.num_codebooks)
            for row in _noise(
                noise_key(params.seed, 0, "fine", codebook),
                first_frame,
                SMALL.fine.codebook_size,
                SMALL.fine.context - first_column,
            )
        )
        draws = (
            int(code) if code < SMALL.fine.codebook_size else None
            for (_, first_column), window in zip(windows, expected, strict=False)
            for codebook in window[2:]
            for code in codebook[first_column:]
        )
        with self._drawing(noise, draws):
            codes: Codes = self._bark.generate_fine(coarse, history_prompt=prompt, temp=params.fine_temp)
        return codes

    def filled_in(
        self,
        coarse: Codes,
        prompt: str | None,
        params: SamplingParams,
        config: FineConfig,
        *,
        sentence_index: int = 0,
    ) -> tuple[Codes, list[Codes]]:
        """Return our fine stage's codes [8, frames] by the schedule of `config`, and those of each of its windows."""
        model = self.model.config
        voice = Voice.without_history(model) if prompt is None else Voice.load(Path(prompt), model)
        num_tokens = math.ceil(coarse.shape[1] * SMALL.coarse.num_codebooks / SMALL.coarse_per_semantic)
        work = SentenceWork(
            model, (), voice, params, sentence_index=sentence_index, max_semantic_tokens=num_tokens
        )
        work.semantic.tokens, work.semantic.is_finished = [0] * num_tokens, True
        offsets = SMALL.coarse.codebook_offset + SMALL.coarse.codebook_size * np.arange(2)
        work.coarse.tokens = (coarse.T + offsets).ravel().tolist()
        assert work.is_coarse_finished
        stage = WatchedFineStage(self.model, config)
        stage.begin(work)
        while stage.is_ready(work):
            stage.step([work])
        return work.fine.codes.numpy(), stage.windows

    def sound(self, codes: Codes) -> npt.NDArray[np.float32]:
        """Return the samples of `codec_decode`."""
        with torch.inference_mode():
            samples: npt.NDArray[np.float32] = self._bark.codec_decode(codes)
        return samples

    @contextmanager
    def _drawing(self, noise: Iterator[Tensor], expected: Iterable[int | None]) -> Iterator[None]:
        draws = Draws(noise, expected)
        with mock.patch.multiple(torch, multinomial=draws.multinomial, argmax=draws.argmax):
            yield
        self.num_near_ties += draws.num_near_ties


def _ours(text: nn.Module, coarse: nn.Module, fine: nn.Module, codec: nn.Module) -> LoadedModel:
    """Return our networks with these weights; parameters have Suno's names."""
    sizes = TransformerConfig(NUM_LAYERS, NUM_HEADS, WIDTH, 1024, 0, 0)
    config: ModelConfig = replace(
        SMALL,
        name="random",
        semantic=replace(
            SMALL.semantic, transformer=replace(sizes, input_vocab_size=129_600, output_vocab_size=10_048)
        ),
        coarse=replace(
            SMALL.coarse, transformer=replace(sizes, input_vocab_size=12_096, output_vocab_size=12_096)
        ),
        fine=replace(SMALL.fine, transformer=replace(sizes, input_vocab_size=1056, output_vocab_size=1056)),
        codec=CodecConfig(num_filters=NUM_CODEC_FILTERS),
    )
    model = LoadedModel(
        config,
        CausalGpt(config.semantic.transformer),
        CausalGpt(config.coarse.transformer),
        FineGpt(config.fine.transformer, config.fine.num_codebooks, config.fine.num_codebooks_given),
        CodecDecoder(config.codec),
        directory=Path(),
    )
    for ours, original in ((model.semantic, text), (model.coarse, coarse), (model.fine, fine)):
        ours.load_state_dict(original.state_dict())
        ours.eval()
    model.codec.load_state_dict(codec_weights(codec.state_dict(), config.codec.num_codebooks, "encodec"))
    model.codec.eval()
    return model


def _noise(key: int, first_step: int, width: int, num_rows: int | None = None) -> Iterator[Tensor]:
    """Yield the noise of the steps from `first_step` on, `num_rows` of them or without end, a hundred at a time."""
    step, num_left = first_step, num_rows
    while num_left is None or num_left > 0:
        count = 100 if num_left is None else min(100, num_left)
        yield from exponential(torch.full((count,), key), torch.arange(step, step + count), width)
        step += count
        num_left = None if num_left is None else num_left - count


def _fine_windows(num_frames: int, num_history: int) -> Iterator[tuple[int, int]]:
    """Yield, for each of the original's windows, the first frame that it draws and the column of that frame."""
    length = max(1024, num_history + num_frames)
    num_windows = max(0, -(-(num_frames - (1024 - num_history)) // 512)) + 1
    for number in range(num_windows):
        first_position = min(num_history + 512 * number, length - 512)
        yield first_position - num_history, first_position - min(512 * number, length - 1024)
