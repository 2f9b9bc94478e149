"""The library without a server: a whole sound, or its pieces as they are made, from one shared engine."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

import streamer
from streamer import api
from streamer.config import EngineConfig
from streamer.errors import CheckpointError, ConfigError, InvalidParameterError, VoiceNotFoundError
from streamer.synthesis import ModelInfo, Synthesizer
from tests.fakes.speaking_model import save_speaking_model
from tests.fakes.synthesizer import FakeSynthesizer, tone_of

TEXT = "Hello there. How are you today? I am well."


@pytest.fixture(autouse=True)
def no_engine_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test starts engines of its own."""
    starts: dict[EngineConfig, Future[Synthesizer]] = {}
    monkeypatch.setattr(api, "_starts", starts)
    yield
    for start in starts.values():
        if start.exception() is None:
            api._run(start.result().close()).result()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSynthesizer:
    """What every call speaks with instead of a model."""
    synthesizer = FakeSynthesizer()
    monkeypatch.setattr(api, "build_synthesizer", lambda _: synthesizer)
    return synthesizer


def test_a_tiny_model_speaks_and_repeats_itself(tmp_path: Path) -> None:
    """From a directory on disk to samples: same seed, same sound; another seed, voice or text, another."""
    model = save_speaking_model(tmp_path)
    audio = streamer.synthesize("A deaf dog. A big cab came.", model=model, seed=5)
    assert audio.sample_rate_hz == 24_000 and audio.seed == 5
    assert 0.5 < audio.duration_s < 2
    assert np.abs(audio.samples).max() > 0.001
    again = streamer.synthesize("A deaf dog. A big cab came.", model=str(model), seed=5)
    np.testing.assert_allclose(audio.samples, again.samples, atol=1e-4)
    for change in ({"seed": 6}, {"seed": 5, "voice": "two"}):
        other = streamer.synthesize("A deaf dog. A big cab came.", model=model, **change)  # type: ignore[arg-type]
        length = min(len(other.samples), len(audio.samples))
        assert np.abs(other.samples[:length] - audio.samples[:length]).max() > 1e-3


def test_whole_sentences_are_another_way_to_speak(tmp_path: Path) -> None:
    """Filled in whole, a sentence of several chunks is as long and sounds otherwise; other schedules are refused."""
    model = save_speaking_model(tmp_path)
    text = "A deaf dog had a big cab and a bad egg, bad face and all."
    whole = streamer.synthesize(text, model=model, seed=5, chunk_schedule="whole")
    growing = streamer.synthesize(text, model=model, seed=5)
    assert len(whole.samples) == len(growing.samples)
    assert np.abs(whole.samples - growing.samples).max() > 1e-3
    with pytest.raises(
        InvalidParameterError,
        match="chunk_schedule 'small': it is one of auto, latency, balanced, throughput, whole",
    ):
        streamer.synthesize(text, model=model, chunk_schedule="small")


async def test_the_stream_is_the_whole_sound(fake: FakeSynthesizer) -> None:
    """Its pieces, of 20 ms, put together are what `synthesize` returns, called beside a running loop too."""
    chunks = [chunk async for chunk in streamer.stream(TEXT, seed=1)]
    assert [chunk.is_last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert {len(chunk.samples) for chunk in chunks[:-2]} == {480}
    whole = streamer.synthesize(TEXT, seed=1)
    assert np.array_equal(np.concatenate([chunk.samples for chunk in chunks]), whole.samples)
    assert {request.params.seed for request in fake.requests} == {1}


def test_samples_are_not_rounded_on_their_way(fake: FakeSynthesizer) -> None:
    """What the model made is what the caller gets, to the last bit of its float."""
    samples = streamer.synthesize("One tone.").samples
    (request,) = fake.requests
    tone = tone_of(request, 4320)
    assert np.isin(tone[1000:3000], samples).all()  # the fades lie outside


async def test_a_dialogue_is_spoken_by_its_voices(
    fake: FakeSynthesizer, caplog: pytest.LogCaptureFixture
) -> None:
    """`speakers` and `continuity` reach the synthesizer, both ways; a voice that is not there is logged."""
    text = "Alice: Hello my dear.\n[voice: nobody] And hello to you."
    options = {"speakers": {"Alice": "other"}, "continuity": "preset+chain"}
    streamer.synthesize(text, **options)  # type: ignore[arg-type]
    assert [chunk async for chunk in streamer.stream(text, **options)][-1].is_last  # type: ignore[arg-type]
    assert [(request.voice, request.keeps_voice) for request in fake.requests] == [("other", True)] * 4
    assert [record.getMessage() for record in caplog.records if "nobody" in record.getMessage()] == [
        "no voice is named 'nobody': the voice before continues"
    ] * 2
    with pytest.raises(InvalidParameterError, match="preset"):
        streamer.synthesize(text, continuity="always")  # type: ignore[arg-type]


async def test_closing_the_stream_cancels_the_rest(fake: FakeSynthesizer) -> None:
    """Nothing more is made for a caller that left."""
    fake.speed = 20.0
    async with contextlib.aclosing(streamer.stream(TEXT)) as chunks:
        await anext(chunks)
        assert fake.num_open
    assert not fake.num_open


async def test_giving_up_on_the_start_leaves_it_to_others(fake: FakeSynthesizer) -> None:
    """A caller who is cancelled while the model loads leaves the start to those who come after."""
    fake.warm_up_s = 0.2
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await anext(streamer.stream(TEXT))
    assert [chunk async for chunk in streamer.stream(TEXT)][-1].is_last


def test_one_engine_serves_all_threads(fake: FakeSynthesizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls at the same time load the model once."""
    fake.warm_up_s, builds = 0.1, []

    def build(config: EngineConfig) -> FakeSynthesizer:
        builds.append(config)
        return fake

    monkeypatch.setattr(api, "build_synthesizer", build)
    gate = threading.Barrier(4)

    def speak() -> float:
        gate.wait()
        return streamer.synthesize(TEXT).duration_s

    with ThreadPoolExecutor(4) as pool:
        durations = [call.result() for call in [pool.submit(speak) for _ in range(4)]]
    assert len(set(durations)) == 1 and durations[0] > 0
    assert len(builds) == 1


def test_a_start_that_failed_is_tried_again(tmp_path: Path) -> None:
    """After the directory is mended, the same process can load it."""
    with pytest.raises(CheckpointError):
        streamer.synthesize("A cab.", model=tmp_path)
    save_speaking_model(tmp_path)
    assert streamer.synthesize("A cab.", model=tmp_path).duration_s > 0


def test_no_text_is_too_long(fake: FakeSynthesizer) -> None:
    """A book is spoken to its end: the limit is the server's."""
    fake.ms_per_char, fake.chunk_ms = 20_000, 60_000
    audio = streamer.synthesize(TEXT)
    assert audio.duration_s > 600 and not audio.truncated


async def test_how_a_text_is_read_is_the_callers_choice(fake: FakeSynthesizer) -> None:
    """Markdown and numbers, for the whole sound and for its pieces."""
    reading = streamer.TextOptions(normalizes=True, text_format="chat")
    await asyncio.to_thread(streamer.synthesize, "# I have *5*", reading=reading)
    async for _ in streamer.stream("It is `6`.", reading=reading):
        pass
    assert [request.text for request in fake.requests] == ["I have five", "It is six."]


def test_a_cut_sentence_is_told(fake: FakeSynthesizer) -> None:
    """A model that never stopped shows in the result."""
    fake.truncate_on = "How"
    assert streamer.synthesize(TEXT).truncated


@pytest.mark.usefixtures("fake")
def test_wrong_requests_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown voice, and a model whose sound would come out at the wrong pitch."""
    with pytest.raises(VoiceNotFoundError, match="tone, other"):
        streamer.synthesize(TEXT, "nobody")

    class Slow(FakeSynthesizer):
        @property
        def info(self) -> ModelInfo:
            return replace(super().info, sample_rate_hz=16_000)

    monkeypatch.setattr(api, "build_synthesizer", lambda _: Slow())
    with pytest.raises(ConfigError, match="16000"):
        streamer.synthesize(TEXT, model="elsewhere")


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("suffix", [".wav", ".ogg", ".opus"])
def test_a_saved_file_plays(tmp_path: Path, suffix: str) -> None:
    """Of the announced length; any other name is refused, and a notebook shows a player."""
    audio = streamer.synthesize(TEXT)
    audio.save(tmp_path / f"sound{suffix}")
    with av.open(str(tmp_path / f"sound{suffix}")) as container:
        duration_s = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert duration_s == pytest.approx(audio.duration_s, abs=1e-3)
    with pytest.raises(InvalidParameterError, match=r"\.wav"):
        audio.save(tmp_path / "sound.mp3")
    assert audio._repr_html_().startswith("<audio")


def test_speed_pauses_and_a_lexicon_are_the_librarys_too(fake: FakeSynthesizer) -> None:
    """The same words have the same meaning as in the protocol."""
    usual = streamer.synthesize("Hello there.", seed=1)
    assert streamer.synthesize("Hello there.", seed=1, speed=0.5).duration_s == pytest.approx(
        2 * usual.duration_s
    )
    paused = streamer.synthesize("Hello there.[pause:1.5]", seed=1)
    assert paused.duration_s == pytest.approx(usual.duration_s + 1.5)
    reading = streamer.TextOptions(lexicon=streamer.Lexicon({"there": "you"}))
    streamer.synthesize("Hello there.", reading=reading)
    assert fake.requests[-1].text == "Hello you."


@pytest.mark.parametrize("speed", [0.4, 2.5, 0, -1, float("nan")])
def test_a_speed_out_of_range_is_one_error(fake: FakeSynthesizer, speed: float) -> None:
    """Its message names the range."""
    with pytest.raises(InvalidParameterError, match=r"0\.5 to 2") as caught:
        streamer.synthesize("Hello.", speed=speed)
    assert caught.value.param == "speed" and not fake.requests
