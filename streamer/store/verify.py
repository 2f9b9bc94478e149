"""Checks that an installed model is complete, and that the engine generates from Suno's weights what was published."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from streamer.config import EngineConfig
from streamer.engine.engine import Engine
from streamer.engine.request import Request
from streamer.errors import CheckpointError, StreamerError
from streamer.models.files.checkpoint import LoadedModel, load_model
from streamer.sampling import SamplingParams
from streamer.stages.chain import build_stages
from streamer.stages.sentence import SentenceWork
from streamer.store.hub import sha256
from streamer.store.models import read_manifest
from streamer.synthesis import PcmChunk
from streamer.text.tokens.tokenizer import load_model_tokenizer
from streamer.voices.library import VoiceLibrary, voice_directories

GREEDY: Final = SamplingParams(seed=0, text_temp=0.0, waveform_temp=0.0, fine_temp=None, min_eos_p=None)


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check; `is_good` is None if there was nothing to check."""

    name: str
    is_good: bool | None
    found: str


def verify(directory: Path, *, device: str = "cpu") -> Iterator[Check]:
    """Check a model's files, weights, vocabulary, voices, and what it generates; yields each check as it is done."""
    yield _checksums(directory)
    try:
        model = load_model(directory, device=device)
        tokenizer = load_model_tokenizer(model.config, directory)
        voices = VoiceLibrary(voice_directories(directory, None), model.config)
    except CheckpointError as error:
        yield Check("files", False, error.message)
        return
    what = f"{model.config.name}: weights, {tokenizer.num_ids} word pieces, {voices.num_prompts} voices"
    yield Check("files", True, what)
    golden = json.loads(Path(__file__).with_name("golden.json").read_text())
    if why := _why_not(golden, model, voices, directory):
        yield Check("published tokens", None, why)
        return
    yield from published_tokens(golden, model, voices)


def published_tokens(golden: dict[str, Any], model: LoadedModel, voices: VoiceLibrary) -> Iterator[Check]:
    """Speak the text that tokens were published for, always with the likeliest token, and compare stage by stage."""
    config = model.config
    # The whole sentence in one chunk, as the reference runs its fine model.
    fine = replace(config.fine, chunk_frames=(config.fine.context - config.fine.history,))
    model = replace(model, config=replace(config, fine=fine))
    text = tuple(load_model_tokenizer(config, model.directory).encode(golden["text"]))
    max_tokens = config.semantic.max_tokens
    work = SentenceWork(
        model.config, text, voices.get(golden["voice"]), GREEDY, max_semantic_tokens=max_tokens
    )
    engine = Engine(
        build_stages(model, num_slots=1),
        EngineConfig(generate_ahead_s=math.inf),
        num_slots=1,
        sample_rate_hz=config.codec.sample_rate_hz,
    )
    outputs: list[PcmChunk | StreamerError] = []
    engine.submit(Request("golden", work, outputs.append))
    while engine.step():
        pass
    if isinstance(error := outputs[-1], StreamerError):
        yield Check("published tokens", False, error.message)
        return
    yield _compare("semantic", work.semantic.tokens, golden["semantic"])
    yield _compare("coarse", work.coarse.tokens, golden["coarse"])
    num_frames = len(golden["fine"][0])
    codes = work.fine.codes[: len(golden["fine"]), :num_frames].T.flatten().tolist()
    yield _compare("fine", codes, [code for frame in zip(*golden["fine"], strict=True) for code in frame])


def _checksums(directory: Path) -> Check:
    manifest = read_manifest(directory)
    if manifest is None or not manifest.files:
        return Check("checksums", None, "no manifest: it was not installed by `streamer models`")
    for name, digest in manifest.files.items():
        path = (directory / name).resolve()
        if not path.is_relative_to(directory.resolve()) or not path.is_file():
            return Check("checksums", False, f"{name} is missing")
        if sha256(path) != digest:
            return Check("checksums", False, f"{name} has changed since it was installed")
    origin = (
        f"{manifest.repository} {(manifest.revision or '')[:12]}" if manifest.repository else "another place"
    )
    return Check("checksums", True, f"{len(manifest.files)} files are as they came from {origin}")


def _why_not(golden: dict[str, Any], model: LoadedModel, voices: VoiceLibrary, directory: Path) -> str | None:
    """Return why this model cannot be compared with the published tokens, or None if it can."""
    manifest = read_manifest(directory)
    sizes = model.config.semantic.transformer
    if any(getattr(sizes, name) != value for name, value in golden["sizes"].items()):
        return f"there are none for these sizes, only for {golden['repository']}"
    if manifest is not None and manifest.repository not in (None, golden["repository"]):
        return f"there are none for {manifest.repository}, only for {golden['repository']}"
    if golden["voice"] not in voices.names:
        return f"they were made with the voice {golden['voice']}: `streamer models pull` brings it"
    return None


def _compare(stage: str, generated: list[int], published: list[int]) -> Check:
    num_same = sum(
        1
        for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(generated, published, strict=False))
    )
    return Check(
        "published tokens", num_same == len(published), f"{num_same} of {len(published)} {stage} tokens"
    )
