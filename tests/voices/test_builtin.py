"""The model that ships: it fits its budget, says what it is, and speaks what it is given."""

from __future__ import annotations

from contextlib import aclosing
from itertools import groupby

import numpy as np
import pytest

import streamer
from streamer.assembly import BUILTIN_MODEL
from streamer.audio.samples import Samples
from streamer.backends.local import LocalSynthesizer
from streamer.config import EngineConfig
from streamer.models.files.config_file import read_config
from streamer.stages.text_path import PathMaker
from streamer.synthesis import SentenceRequest
from streamer.text.tokens.tokenizer import load_tokenizer

TEXT = "The weather tomorrow will be sunny with a light wind."
MAX_BYTES = 32_000_000


async def spoken(synthesizer: LocalSynthesizer, text: str) -> tuple[Samples, bool]:
    params = synthesizer.info.default_params
    request = SentenceRequest("test", text, synthesizer.info.default_voice, params)
    async with aclosing(synthesizer.synthesize(request)) as chunks:
        made = [chunk async for chunk in chunks]
    return np.concatenate([chunk.samples for chunk in made]), made[-1].truncated


def test_all_of_it_stays_within_its_budget() -> None:
    """Weights, lexicon, voice and card; no file of a kind that could hold code."""
    files = [path for path in BUILTIN_MODEL.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MAX_BYTES
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".gz", ".npz", ".md", ".txt"}


def test_the_card_tells_origin_and_terms() -> None:
    """The card has what users of the voice need to judge it."""
    card = (BUILTIN_MODEL / "CARD.md").read_text(encoding="utf-8")
    for word in (
        "joe",
        "jane",
        "Kokoro-82M",
        "Apache",
        "lessac",
        "CC0",
        "CMU Pronouncing Dictionary",
        "Word error rate",
    ):
        assert word in card


@pytest.mark.parametrize(
    ("voice", "text"),
    [
        ("joe", "Snitcher and ethnographic are both on the list."),
        ("jane", "Here's the short answer: an old man refused to wait outside."),
    ],
)
def test_the_path_of_a_text_is_how_its_teacher_spoke_it(voice: str, text: str) -> None:
    """The voices are speech of the teacher's: their tokens say all symbols in order, but for some pauses."""
    config = read_config(BUILTIN_MODEL / "config.json")
    assert config.path is not None
    text_tokens = load_tokenizer(config.tokenizer, BUILTIN_MODEL).encode(text)
    path = PathMaker(config, config.path).path(text_tokens)
    tokens = np.load(BUILTIN_MODEL / "voices" / f"{voice}.npz")["semantic_prompt"].tolist()
    places = path.places(tokens)
    symbols = [config.tokenizer.symbols[token] for token in text_tokens]
    said = {place for place, symbol in enumerate(symbols) if not config.path.sounds[symbol].endswith("?")}
    assert said <= set(places)
    assert places == sorted(places)


def test_every_symbol_but_the_apostrophe_is_heard() -> None:
    """Text that the model is given has a place in its sound."""
    config = read_config(BUILTIN_MODEL / "config.json")
    assert config.path is not None
    assert set(config.tokenizer.symbols) - config.path.sounds.keys() == {"'"}


@pytest.mark.parametrize(
    "text",
    [
        "The sofa, a lamp and an idea a day.",
        "A a, a a; oh, oh oh.",
        "Anna ate eight eggs, I eyed or owed her err.",
        "Bus stop, this summer some mothers saw white tea.",
        "Xqz b, zzz tt a.",
        "Turn left after the fountain, walk past the theater, and you'll see it.",
    ],
)
def test_no_word_can_be_left_out(text: str) -> None:
    """No way through the path of a sentence leads to its end that passes by one of its words."""
    config = read_config(BUILTIN_MODEL / "config.json")
    assert config.path is not None
    tokenizer = load_tokenizer(config.tokenizer, BUILTIN_MODEL)
    path = PathMaker(config, config.path).path(tokenizer.encode(text))
    silences = {symbol for symbol in config.tokenizer.symbols if not symbol.isalnum()}
    tokens = tokenizer.encode(text)
    is_said = [config.tokenizer.symbols[token] not in silences for token in tokens]
    words = [list(group) for said, group in groupby(range(len(tokens)), is_said.__getitem__) if said]
    assert len(words) == len(text.split())
    end = path.automaton.successors.shape[2] - 1
    for word in words:
        states = {state for state, place in enumerate(path.symbols.tolist()) if place in word}
        reached, waiting = {0}, [0]
        while waiting:
            moves = path.automaton.successors[:, waiting.pop()]
            assert (moves[:, end] < 0).all()
            following = set(np.unique(moves[:, :end]).tolist()) - {-1} - states - reached
            waiting += following
            reached |= following


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["int8", "float32"])
async def test_it_speaks_a_sentence(dtype: str) -> None:
    """A sound as long as speech, neither silent nor clipped nor cut, with pauses and loud places in it."""
    synthesizer = LocalSynthesizer.load(
        BUILTIN_MODEL, EngineConfig(device="cpu", dtype=dtype, chunk_schedule="latency")
    )
    await synthesizer.start()
    try:
        samples, is_truncated = await spoken(synthesizer, TEXT)
    finally:
        await synthesizer.close()
    assert not is_truncated
    assert 1.5 < len(samples) / synthesizer.info.sample_rate_hz < 5
    assert 0.1 < np.abs(samples).max() <= 1
    loudness = np.sqrt(np.square(samples[: len(samples) // 480 * 480].reshape(-1, 480)).mean(axis=1))
    assert loudness.max() > 10 * np.percentile(loudness, 5)


@pytest.mark.slow
def test_what_is_no_english_is_skipped_and_the_rest_is_said() -> None:
    """Texts without a word that it can say are silent; strange words and shouts are spoken, and end."""
    for text in ("...", "- - -", "🙂", "Привет, мир!", "你好。"):
        assert streamer.synthesize(text, seed=1).duration_s == 0
    for text in ("No", "Xqzvbn flurbish grzzk.", "STOP!!! 🙂", "https://example.com/a?b=c"):
        audio = streamer.synthesize(text, seed=1)
        assert 0.2 < audio.duration_s < 0.5 + 0.25 * len(text) and not audio.truncated
