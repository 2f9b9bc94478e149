"""Contracts of Wyoming, seen by Home Assistant's own package over a real connection."""

from __future__ import annotations

import pytest
from wyoming.audio import AudioStart
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeVoice

from streamer.errors import EngineError
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import eventually, figure
from tests.server.wyoming.speaking import client_of, kinds, pcm, rest, until, with_wyoming, wyoming

WHOLE = ["audio-start", "audio-chunk", "audio-stop"]
STREAMED = [*WHOLE, "synthesize-stopped"]


async def say(client: AsyncTcpClient, text: str, **options: str) -> None:
    voice = SynthesizeVoice(**options) if options else None
    await client.write_event(Synthesize(text=text, voice=voice).event())


async def say_in_chunks(client: AsyncTcpClient, *chunks: str, whole: str | None = None) -> None:
    """As Home Assistant does: the chunks, then the whole text, then the end."""
    await client.write_event(SynthesizeStart().event())
    for chunk in chunks:
        await client.write_event(SynthesizeChunk(text=chunk).event())
    await client.write_event(Synthesize(text="".join(chunks) if whole is None else whole).event())
    await client.write_event(SynthesizeStop().event())


async def test_describe_lists_the_voices_with_their_languages() -> None:
    """A voice's language is that of its name; a voice whose name has none speaks all of the model's."""
    synthesizer = FakeSynthesizer(languages=("en", "de"), voices=("v2/de_speaker_3", "joe"))
    async with wyoming(synthesizer=synthesizer) as speaking, client_of(speaking) as client:
        await client.write_event(Describe().event())
        event = await client.read_event()
        assert event is not None
        (program,) = Info.from_event(event).tts
        assert program.name == "streamer" and program.installed and program.supports_synthesize_streaming
        assert {voice.name: voice.languages for voice in program.voices} == {
            "v2/de_speaker_3": ["de"],
            "joe": ["en", "de"],
        }


@pytest.mark.parametrize("text", ["", "mic check", None])
async def test_a_ping_is_answered_with_its_text(text: str | None) -> None:
    async with wyoming() as speaking, client_of(speaking) as client:
        await client.write_event(Ping(text=text).event())
        event = await client.read_event()
        assert event is not None and Pong.from_event(event).text == text


async def test_a_text_becomes_sound() -> None:
    """`synthesize` is answered with 16-bit PCM of 24 kHz, as long as the speech, between `audio-start` and `-stop`."""
    async with wyoming() as speaking, client_of(speaking) as client:
        await say(client, "One two three.")
        events = await until(client, "audio-stop")
        assert kinds(events) == WHOLE
        start = AudioStart.from_event(events[0])
        assert (start.rate, start.width, start.channels) == (24_000, 2, 1)
        assert len(pcm(events)) == pytest.approx(2 * 24 * 20 * len("One two three."), rel=0.1)


async def test_a_streamed_text_is_spoken_once() -> None:
    """The whole text that stands behind its chunks is not said again, and `synthesize-stopped` is the end."""
    async with wyoming() as speaking, client_of(speaking) as client:
        await say_in_chunks(client, "One ", "two. ", "Three", ".")
        events = await until(client, "synthesize-stopped")
        assert kinds(events) == STREAMED
        assert " ".join(request.text for request in speaking.synthesizer.requests) == "One two. Three."


async def test_sentences_in_chunks_of_their_own_are_parted() -> None:
    """A client may leave out the space between them."""
    async with wyoming() as speaking, client_of(speaking) as client:
        await say_in_chunks(client, "One two three.", "Four five six.")
        await until(client, "synthesize-stopped")
        assert (
            " ".join(request.text for request in speaking.synthesizer.requests)
            == "One two three. Four five six."
        )


async def test_a_whole_text_without_chunks_is_spoken() -> None:
    """A client that announces a stream and sends the whole text alone is heard, too."""
    async with wyoming() as speaking, client_of(speaking) as client:
        await say_in_chunks(client, whole="One two.")
        assert kinds(await until(client, "synthesize-stopped")) == STREAMED
        assert [request.text for request in speaking.synthesizer.requests] == ["One two."]


async def test_sound_comes_while_the_text_is_being_written() -> None:
    """The first sentence is heard before `synthesize-stop`."""
    async with wyoming() as speaking, client_of(speaking) as client:
        await client.write_event(SynthesizeStart().event())
        await client.write_event(SynthesizeChunk(text="One two three four five six seven. Eight").event())
        await until(client, "audio-chunk")
        await client.write_event(SynthesizeStop().event())
        assert kinds(await until(client, "synthesize-stopped"))[-2:] == STREAMED[-2:]


async def test_turns_follow_each_other_on_one_connection() -> None:
    """What is asked for while something is spoken comes behind it, and each turn has one end."""
    async with wyoming() as speaking, client_of(speaking) as client:
        await say(client, "One.")
        await say_in_chunks(client, "Two.")
        await say(client, "Three.")
        events = await until(client, "audio-stop")
        events += await until(client, "synthesize-stopped")
        events += await until(client, "audio-stop")
        assert kinds(events) == [*WHOLE, *STREAMED, *WHOLE]
        assert [request.text for request in speaking.synthesizer.requests] == ["One.", "Two.", "Three."]


@pytest.mark.parametrize("text", ["", "…", "  \n", "***", "👍"])
async def test_a_text_without_a_word_is_a_moment_of_silence(text: str) -> None:
    """Clients take an answer without sound for a failure."""
    async with wyoming() as speaking, client_of(speaking) as client:
        await say(client, text)
        events = await until(client, "audio-stop")
        assert kinds(events) == WHOLE
        assert pcm(events) == bytes(4800)


async def test_ssml_is_followed() -> None:
    """Its tags are not said."""
    async with wyoming() as speaking, client_of(speaking) as client:
        text = '<speak>One &amp; two.<break time="300ms"/></speak>'
        await client.write_event(Synthesize(text, text_format="ssml").event())
        assert kinds(await until(client, "audio-stop")) == WHOLE
        assert [request.text for request in speaking.synthesizer.requests] == ["One & two."]


@pytest.mark.parametrize(
    ("wish", "voice"),
    [
        ({}, "v2/en_speaker_1"),
        ({"name": "v2/de_speaker_3"}, "v2/de_speaker_3"),
        ({"name": "v2_de_speaker_3"}, "v2/de_speaker_3"),
        ({"name": "de_speaker_3"}, "v2/de_speaker_3"),
        ({"name": "en_speaker_2", "language": "de"}, "v2/en_speaker_2"),
        ({"language": "de"}, "v2/de_speaker_3"),
        ({"language": "de-AT"}, "v2/de_speaker_3"),
        ({"language": "EN_us"}, "v2/en_speaker_1"),
    ],
)
async def test_a_voice_is_found_by_name_or_language(wish: dict[str, str], voice: str) -> None:
    """A language's region does not matter, and the default voice comes first among those of its language."""
    voices = ("v2/en_speaker_1", "v2/en_speaker_2", "v2/de_speaker_3")
    synthesizer = FakeSynthesizer(languages=("en", "de"), voices=voices)
    async with wyoming(synthesizer=synthesizer) as speaking, client_of(speaking) as client:
        await say(client, "One.", **wish)
        await until(client, "audio-stop")
        assert [request.voice for request in synthesizer.requests] == [voice]


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (Synthesize("One.", SynthesizeVoice(name="nobody")).event(), "voice_not_found"),
        (Synthesize("One.", SynthesizeVoice(language="tlh")).event(), "invalid_parameter"),
        (Synthesize("One.", SynthesizeVoice(name="tone", speaker="two")).event(), "invalid_parameter"),
        (Synthesize("One.", text_format="markdown").event(), "invalid_parameter"),
        (Synthesize("a" * 8001).event(), "text_too_long"),
        (Event("synthesize", {"text": 7}), "invalid_parameter"),
        (Event("synthesize", {}), "invalid_parameter"),
        (SynthesizeStart(SynthesizeVoice(name="nobody")).event(), "voice_not_found"),
        (SynthesizeChunk("One.").event(), "invalid_message"),
        (SynthesizeStop().event(), "invalid_message"),
    ],
)
async def test_a_wrong_request_is_one_error_and_the_end(event: Event, code: str) -> None:
    """Older clients ignore `error` and would wait for their sound forever, so the connection ends behind it."""
    async with wyoming() as speaking, client_of(speaking) as client:
        await client.write_event(event)
        (answer,) = await rest(client)
        assert Error.from_event(answer).code == code
        await eventually(lambda: not speaking.server.num_connections)


async def test_an_error_lets_what_is_spoken_end() -> None:
    """A wrong request takes nothing from the turn before it."""
    async with wyoming(synthesizer=FakeSynthesizer(speed=5)) as speaking, client_of(speaking) as client:
        await say(client, "One two three.")
        await say(client, "Four.", name="nobody")
        events = await rest(client)
        assert [event.type for event in events if event.type in ("error", "audio-stop")] == [
            "error",
            "audio-stop",
        ]


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_speech_that_fails_ends_in_one_error(is_streamed: bool) -> None:
    """The error is the utterance's last event; the connection ends behind it."""
    synthesizer = FakeSynthesizer()
    synthesizer.fail_on["Two"] = EngineError("no luck")
    async with wyoming(synthesizer=synthesizer) as speaking, client_of(speaking) as client:
        await (say_in_chunks if is_streamed else say)(client, "One. Two.")
        events = await rest(client)
        assert [event.type for event in events if event.type not in ("audio-start", "audio-chunk")] == [
            "error"
        ]
        assert Error.from_event(events[-1]).code == "engine_failed"


async def test_unknown_events_are_ignored() -> None:
    """Wyoming has servers drop what they do not know: sound for a recognizer, or the choice of a program."""
    async with wyoming() as speaking, client_of(speaking) as client:
        for event in (
            Event("select-program", {"name": "streamer"}),
            Event("audio-chunk", {"rate": 16000, "width": 2, "channels": 1}, bytes(3200)),
            Event("transcribe", {"language": "en"}),
            Event("", {}),
            Event("synthesize-stopped"),
        ):
            await client.write_event(event)
        await say(client, "One.")
        assert kinds(await until(client, "audio-stop")) == WHOLE


async def test_a_client_that_hangs_up_stops_its_speech() -> None:
    """That is how Home Assistant interrupts."""
    async with wyoming(synthesizer=FakeSynthesizer(speed=1)) as speaking:
        async with client_of(speaking) as client:
            await say(client, "One two three four five six seven eight.")
            await until(client, "audio-chunk")
        await eventually(lambda: not speaking.server.num_connections)
        assert speaking.synthesizer.num_open == 0
        assert speaking.synthesizer.num_cancelled == 1


async def test_a_server_that_stops_lets_a_speech_end() -> None:
    """Within the drain's time a turn ends as it would have; then the connection is closed."""
    config, synthesizer = with_wyoming(drain_timeout_s=5), FakeSynthesizer(speed=2)
    async with wyoming(config, synthesizer) as speaking, client_of(speaking) as client:
        await say(client, "One two three.")
        await until(client, "audio-chunk")
        speaking.server.stop()
        assert (await rest(client))[-1].type == "audio-stop"


async def test_a_speech_that_the_stop_cuts_ends_in_one_error() -> None:
    """Beyond the drain's time the client is told that there is no more."""
    synthesizer = FakeSynthesizer(speed=0.5)
    async with (
        wyoming(with_wyoming(drain_timeout_s=0), synthesizer) as speaking,
        client_of(speaking) as client,
    ):
        await say(client, "One two three four five six seven.")
        await until(client, "audio-chunk")
        speaking.server.stop()
        events = await rest(client)
        assert Error.from_event(events[-1]).code == "cancelled"
        assert not [event for event in events if event.type == "audio-stop"]


async def test_an_engine_that_dies_is_told() -> None:
    """What is open ends in an error."""
    async with wyoming(synthesizer=FakeSynthesizer(speed=1)) as speaking, client_of(speaking) as client:
        await say(client, "One two three four five.")
        await until(client, "audio-chunk")
        speaking.synthesizer.die("gone")
        codes = {Error.from_event(event).code for event in await rest(client) if event.type == "error"}
        assert codes == {"engine_failed"}


async def test_too_much_at_once_is_refused() -> None:
    """More open texts than a session may have are an error; those before are spoken."""
    config = with_wyoming(max_utterances_per_session=2)
    async with wyoming(config, FakeSynthesizer(speed=20)) as speaking, client_of(speaking) as client:
        for text in ("One two.", "Three four.", "Five."):
            await say(client, text)
        events = await rest(client)
        assert [event.type for event in events].count("audio-stop") == 2
        assert [Error.from_event(event).code for event in events if event.type == "error"] == ["overloaded"]
        assert figure(speaking.server, "tts_errors_total", code="overloaded") == 1


async def test_a_text_that_waits_too_long_is_refused() -> None:
    """The characters that wait to be spoken are bounded over all chunks."""
    config = with_wyoming(max_buffered_chars=100)
    async with wyoming(config, FakeSynthesizer(speed=1)) as speaking, client_of(speaking) as client:
        await client.write_event(SynthesizeStart().event())
        for _ in range(12):
            await client.write_event(SynthesizeChunk("ten chars ").event())
        events = await until(client, "error")
        assert Error.from_event(events[-1]).code == "text_too_long"
