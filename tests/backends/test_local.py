"""The local back end: the engine's thread behind the port, seen from asyncio."""

import asyncio
import threading
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest

from streamer.audio.formats import AudioFormat
from streamer.audio.packets import Packet, create_encoder
from streamer.backends import local
from streamer.backends.local import LocalSynthesizer
from streamer.config import EngineConfig
from streamer.errors import (
    CheckpointError,
    ConfigError,
    EngineError,
    InvalidParameterError,
    OverloadedError,
    TextTooLongError,
    VoiceNotFoundError,
)
from streamer.models.files.checkpoint import save_model
from streamer.sampling import SamplingParams
from streamer.speech import pipeline
from streamer.speech.events import SentenceStarted
from streamer.speech.settings import SpeechSettings
from streamer.speech.text_feed import TextFeed
from streamer.synthesis import SentenceRequest
from streamer.text.tokens.phonemes import PhonemeTokenizer
from streamer.voices.library import VoiceLibrary
from tests.backends.tiny_speaker import MAX_TOKENS, Fault, LettersTokenizer, save_voices, tiny_synthesizer
from tests.fakes.tiny_bark import TINY_WITH_PATH, tiny_model

CONFIG = EngineConfig(
    device="cpu",
    dtype="float32",
    num_slots=2,
    num_threads=1,
    max_load=None,
    chunk_schedule="latency",  # whatever else the machine has to do
)


@pytest.fixture
def started(tmp_path):
    """Starts a back end with the given options, and closes it."""

    @asynccontextmanager
    async def start(**options):
        synthesizer = tiny_synthesizer(tmp_path, **options)
        await synthesizer.start()
        try:
            yield synthesizer
        finally:
            await synthesizer.close()

    return start


def request(text="abc def", *, voice="one", seed=3, request_id="a"):
    return SentenceRequest(request_id, text, voice, SamplingParams(seed=seed))


async def speak(synthesizer, sentence):
    return [chunk async for chunk in synthesizer.synthesize(sentence)]


def num_open(synthesizer):
    stats = synthesizer.health().engine
    return stats.num_running + stats.num_waiting


async def until(condition):
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("waited in vain")


async def test_info_comes_from_the_config_and_the_voices(tmp_path):
    """Name, rate, voices and limits are known before the start; it is ready only after the warm-up."""
    synthesizer = tiny_synthesizer(tmp_path)
    assert synthesizer.info.name == "tiny"
    assert synthesizer.info.sample_rate_hz == 300
    assert synthesizer.info.default_voice == "one"
    assert synthesizer.info.voices == ("one", "two", "random")
    assert synthesizer.info.max_text_tokens == MAX_TOKENS
    assert synthesizer.count_tokens("abc  d") == len(LettersTokenizer().encode("abc d"))
    assert not synthesizer.health().ready
    await synthesizer.start()
    assert synthesizer.health().ready
    await synthesizer.close()
    assert not synthesizer.health().ready


async def test_a_saved_model_speaks_as_the_one_in_memory(tmp_path, monkeypatch):
    """`load` reads weights, voices and config from a directory, and the operator's voices from another."""
    save_model(tiny_model(), tmp_path)
    save_voices(tmp_path / "voices" / "v2")
    save_voices(tmp_path / "speaker_embeddings" / "v3")
    save_voices(tmp_path / "mine")
    monkeypatch.setattr("streamer.text.tokens.tokenizer.load_tokenizer", lambda *_: LettersTokenizer())
    loaded = local.LocalSynthesizer.load(tmp_path, replace(CONFIG, voices_directory=tmp_path / "mine"))
    assert sorted(loaded.info.voices) == ["one", "random", "two", "v2/one", "v2/two", "v3/one", "v3/two"]
    other = tiny_synthesizer(tmp_path / "memory")
    sound = []
    for synthesizer, voice in ((loaded, "v2/one"), (other, "one")):
        await synthesizer.start()
        sound.append([chunk.samples for chunk in await speak(synthesizer, request(voice=voice))])
        await synthesizer.close()
    np.testing.assert_allclose(np.concatenate(sound[0]), np.concatenate(sound[1]), atol=1e-5)


def test_what_does_not_belong_to_the_model_is_refused_at_the_start(tmp_path, monkeypatch):
    """A tokenizer with more ids than the model has, or a directory of voices that does not exist, is an error."""
    save_model(tiny_model(), tmp_path)
    tokenizer = LettersTokenizer()
    monkeypatch.setattr("streamer.text.tokens.tokenizer.load_tokenizer", lambda *_: tokenizer)
    with pytest.raises(ConfigError, match="elsewhere"):
        local.LocalSynthesizer.load(tmp_path, replace(CONFIG, voices_directory=tmp_path / "elsewhere"))
    local.LocalSynthesizer.load(tmp_path, CONFIG)
    tokenizer.num_ids = 61
    with pytest.raises(CheckpointError, match="takes 60"):
        local.LocalSynthesizer.load(tmp_path, CONFIG)


async def test_a_sentence_comes_in_chunks_and_ends_once(started):
    """The samples are float32 within [-1, 1], and exactly the last chunk has `is_last`."""
    async with started() as synthesizer:
        chunks = await speak(synthesizer, request())
    assert [chunk.is_last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    samples = np.concatenate([chunk.samples for chunk in chunks])
    assert len(chunks) > 2
    assert samples.dtype == np.float32
    assert np.abs(samples).max() <= 1


async def test_sentences_at_the_same_time_are_as_alone(started):
    """Seven sentences on three slots, all with one request id, are each as by themselves."""
    sentences = [request(seed=seed, voice="one" if seed % 2 else "two") for seed in range(7)]
    async with started() as synthesizer:
        alone = [await speak(synthesizer, sentence) for sentence in sentences]
        together = await asyncio.gather(*(speak(synthesizer, sentence) for sentence in sentences))
    for ones, others in zip(alone, together, strict=True):
        one, other = (np.concatenate([chunk.samples for chunk in chunks]) for chunks in (ones, others))
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("max_tokens", [1, 2, 4, 8])
async def test_a_sentence_that_is_cut_tells_which_words_it_did_not_say(tmp_path, max_tokens):
    """They are the last ones of its text, the more the earlier it is cut; a model without a path tells none."""
    save_voices(tmp_path)
    text = "aha, bead hd."
    config = replace(TINY_WITH_PATH, default_voice="one")
    tokenizer = PhonemeTokenizer(config.tokenizer.symbols, {})
    voices = VoiceLibrary([tmp_path], config)
    for model, is_told in ((tiny_model(config), True), (tiny_model(), False)):
        synthesizer = LocalSynthesizer(model, tokenizer, voices, EngineConfig(num_slots=1, max_load=None))
        await synthesizer.start()
        try:
            params = SamplingParams(seed=3, text_temp=0.7, max_gen_duration_s=(max_tokens - 0.5) / 49.9)
            chunks = [
                chunk async for chunk in synthesizer.synthesize(SentenceRequest("a", text, "one", params))
            ]
        finally:
            await synthesizer.close()
        assert chunks[-1].truncated
        assert (chunks[-1].unspoken != "") == is_told
        assert text.endswith(chunks[-1].unspoken)
        assert chunks[-1].unspoken in ("", "hd.", "bead hd.", "aha, bead hd.")
        assert max_tokens > 3 or not is_told or chunks[-1].unspoken == text


@pytest.mark.parametrize("text", ["aha, bead hd.", "a", "  a  -  (bad) \n hh?", "ggg e", "… a, 7 b"])
async def test_chunks_tell_when_words_are_heard(tmp_path, text):
    """More and more words are told, with lasting times in the order of the text; in the end all of them are."""
    save_voices(tmp_path)
    config = replace(TINY_WITH_PATH, default_voice="one")
    voices = VoiceLibrary([tmp_path], config)
    tokenizer = PhonemeTokenizer(config.tokenizer.symbols, {})
    synthesizer = LocalSynthesizer(
        tiny_model(config), tokenizer, voices, EngineConfig(num_slots=1, max_load=None)
    )
    await synthesizer.start()
    try:
        for seed in range(3):
            params = SamplingParams(seed=seed, text_temp=0.7)
            request = SentenceRequest("a", text, "one", params)
            chunks = [chunk async for chunk in synthesizer.synthesize(request)]
            told = chunks[-1].words
            duration_s = sum(len(chunk.samples) for chunk in chunks) / synthesizer.info.sample_rate_hz
            assert [text[word.char_start : word.char_end] for word in told] == text.split()
            times = [time for word in told for time in (word.start_s, word.end_s)]
            assert times == sorted(times) and times[0] >= 0 and times[-1] <= duration_s + 0.05
            assert all(chunk.words == told[: len(chunk.words)] for chunk in chunks)
            assert all(
                word.end_s > word.start_s
                for word in told
                if tokenizer.encode(text[word.char_start : word.char_end])
            )
    finally:
        await synthesizer.close()


async def test_a_model_without_a_path_tells_no_words(started):
    """Where no token says what it says, the pipeline has to estimate."""
    async with started() as synthesizer:
        assert all([chunk.words is None async for chunk in synthesizer.synthesize(request())])


async def test_closing_the_iterator_frees_the_slot(started):
    """After `aclose` in mid-sentence nothing is open, and the next sentence is served."""
    async with started(num_slots=1) as synthesizer:
        async with aclosing(synthesizer.synthesize(request())) as chunks:
            async for _ in chunks:
                break
        assert (await speak(synthesizer, request()))[-1].is_last
        await until(lambda: num_open(synthesizer) == 0)


async def test_a_reader_that_pauses_delays_no_other(started):
    """A sentence whose audio is not consumed is parked; another one ends, and then the first."""
    async with (
        started(num_slots=2, generate_ahead_s=0.1) as synthesizer,
        aclosing(synthesizer.synthesize(request())) as pausing,
    ):
        await anext(pausing)
        assert (await speak(synthesizer, request(seed=5)))[-1].is_last
        rest = [chunk async for chunk in pausing]
        assert rest[-1].is_last


async def test_an_unknown_voice_and_a_long_text_are_refused(started):
    """Nothing is allocated for an unknown voice or for more tokens than the model takes."""
    async with started() as synthesizer:
        with pytest.raises(VoiceNotFoundError):
            await speak(synthesizer, request(voice="../one"))
        with pytest.raises(TextTooLongError):
            await speak(synthesizer, request("a" * (MAX_TOKENS + 1)))
        await until(lambda: num_open(synthesizer) == 0)


async def test_more_than_may_wait_is_refused(started):
    """Beyond the slots and the waiting queue a sentence is refused as overload."""
    async with (
        started(num_slots=1, max_waiting=1, generate_ahead_s=0) as synthesizer,
        aclosing(synthesizer.synthesize(request())) as first,
        aclosing(synthesizer.synthesize(request())) as second,
    ):
        await anext(first)
        waiting = asyncio.ensure_future(anext(second))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await speak(synthesizer, request())
        assert [chunk async for chunk in first][-1].is_last
        await waiting


async def test_a_failed_engine_shows(started):
    """After an exception in a step the open sentences fail, health says so, and later sentences are refused."""
    fault = Fault()
    async with started(fault=fault) as synthesizer:

        def explode():
            raise RuntimeError("device-side assert")

        fault.strike = explode
        results = await asyncio.gather(
            *(speak(synthesizer, request(seed=seed)) for seed in range(5)), return_exceptions=True
        )
        assert all(isinstance(result, EngineError) for result in results)
        health = synthesizer.health()
        assert (health.alive, health.ready) == (False, False)
        assert "device-side assert" in health.reason
        with pytest.raises(EngineError):
            await speak(synthesizer, request())


async def test_a_hanging_engine_shows(started):
    """If a step does not return, the watchdog has the same done."""
    gate, fault = threading.Event(), Fault()
    async with started(hang_limit_s=0.2, fault=fault) as synthesizer:
        fault.strike = lambda: gate.wait(20)
        with pytest.raises(EngineError, match="hangs"):
            await speak(synthesizer, request())
        assert not synthesizer.health().alive
        gate.set()


async def test_closing_ends_open_sentences(tmp_path):
    """A sentence that is open when the back end closes fails, and no thread is left."""
    synthesizer = tiny_synthesizer(tmp_path, generate_ahead_s=0)
    await synthesizer.start()
    async with aclosing(synthesizer.synthesize(request())) as chunks:
        await anext(chunks)
        await synthesizer.close()
        with pytest.raises(EngineError):
            async for _ in chunks:
                pass
    assert not any(thread.name.startswith("engine") for thread in threading.enumerate())


async def test_a_text_with_nothing_to_say_ends_at_once_without_audio(started):
    """A text without a token does not even take a slot."""
    async with started() as synthesizer:
        (chunk,) = await speak(synthesizer, request(""))
        assert chunk.is_last and not chunk.samples.size and not chunk.truncated


async def test_a_sentence_continues_from_another_alone_or_behind_the_voice(started):
    """The same history gives the same audio; the voice, the other sentence, and both give three different ones."""
    async with started() as synthesizer:
        last = (await speak(synthesizer, replace(request(), wants_history=True)))[-1].history
        asked = {
            "preset": request(seed=4),
            "chain": replace(request(seed=4), history=last),
            "both": replace(request(seed=4), history=last, keeps_voice=True),
            "again": replace(request(seed=4), history=last, keeps_voice=True),
        }
        sound = {
            name: np.concatenate([chunk.samples for chunk in await speak(synthesizer, sentence)])
            for name, sentence in asked.items()
        }
    np.testing.assert_allclose(sound["both"], sound["again"], atol=1e-5)
    for one, other in (("preset", "chain"), ("preset", "both"), ("chain", "both")):
        length = min(len(sound[one]), len(sound[other]))
        assert np.abs(sound[one][:length] - sound[other][:length]).max() > 1e-3


async def test_what_would_fail_the_engine_is_refused(started):
    """A history with unknown tokens, or a window that is too large, is an error of that request alone."""
    async with started() as synthesizer:
        (*_, last) = await speak(synthesizer, replace(request(), wants_history=True))
        wrong = replace(last.history, semantic=last.history.semantic + 10_000)
        with pytest.raises(InvalidParameterError, match="history"):
            await speak(synthesizer, replace(request(), history=wrong))
        wide = replace(request().params, sliding_window_len=5000)
        with pytest.raises(InvalidParameterError, match="sliding_window_len"):
            await speak(synthesizer, replace(request(), params=wide))
        assert await speak(synthesizer, replace(request(), history=last.history))
        assert synthesizer.health().alive


async def test_a_voice_that_is_removed_speaks_what_was_begun_with_it(tmp_path, started):
    """An utterance keeps its voice to its end, and sounds as it does undisturbed; a new one is refused."""
    settings = SpeechSettings("two", SamplingParams(seed=3, max_gen_duration_s=0.3))

    async def spoken(utterance_id, synthesizer, change=lambda: None):
        feed, sound = TextFeed(), []
        feed.append("abc def.")
        feed.flush()
        encoder = create_encoder(AudioFormat("pcm_s16le", 24_000))
        async with aclosing(pipeline.speak(feed, synthesizer, settings, encoder, utterance_id)) as events:
            async for event in events:
                if isinstance(event, SentenceStarted) and event.index == 0:
                    change()
                    feed.append(" ghi jkl. [voice: one] mno. [voice: two] stu.")
                    feed.end()
                if isinstance(event, Packet):
                    sound.append(event.payload)
        return b"".join(sound)

    async with started() as synthesizer:
        expected = await spoken("a", synthesizer)

        def remove():
            (tmp_path / "two.npz").unlink()
            assert synthesizer.refresh_voices() is True

        assert await spoken("b", synthesizer, remove) == expected
        assert synthesizer.info.voices == ("one", "random")
        with pytest.raises(VoiceNotFoundError):
            await spoken("c", synthesizer)
