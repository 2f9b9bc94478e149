"""`speak`, `start`, `text` and `flush` over a real WebSocket: what is asked for is what is heard, and told."""

from __future__ import annotations

from itertools import pairwise

import av
import numpy as np
import pytest

from streamer.audio.formats import ENCODINGS
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import Frame, configured, running

TEXT = "Hello there. How are you today?"


async def test_speak_tells_a_whole_story() -> None:
    """`speak` leads to started, sentences with their places in the text, and one done, in that order."""
    async with running() as server, server.client() as client:
        await client.say("speak", id="a", text=TEXT, ref="r1", params={"seed": 5})
        done = await client.until("done")
        kinds = [item["type"] for item in client.received if isinstance(item, dict)]
        assert kinds[1] == "started" and kinds[-1] == "done"
        started = client.messages("started")[0]
        assert started["ref"] == "r1" and started["seed"] == 5 and started["encoding"] == "opus"
        assert (started["sample_rate"], started["frame_ms"], started["lead_ms"]) == (24000, 20, 2000)
        sentences = client.messages("sentence_start")
        assert [TEXT[s["char_start"] : s["char_end"]] for s in sentences] == [s["text"] for s in sentences]
        ends = client.messages("sentence_end")
        assert [s["index"] for s in sentences] == [e["index"] for e in ends] == list(range(len(ends)))
        assert all(s["start_ms"] < e["end_ms"] for s, e in zip(sentences, ends, strict=True))
        assert done["reason"] == "completed" and done["seed"] == 5 and done["sentences"] == len(sentences)
        assert done["packets"] == len(client.frames()) and done["characters"] == len(TEXT)
        assert done["audio_ms"] >= ends[-1]["end_ms"] > 0 and done["first_audio_ms"] >= 0
        assert done["real_time_factor"] >= 0


async def test_headers_are_contiguous_and_cover_the_sound() -> None:
    """Sequence numbers have no gap, timestamps follow each other, and together they last as long as told."""
    async with running() as server, server.client() as client:
        await client.say("speak", id="a", text=TEXT)
        done = await client.until("done")
        frames, started = client.frames(), client.messages("started")[0]
        assert [frame.sequence for frame in frames] == list(range(len(frames)))
        assert {(frame.version, frame.stream) for frame in frames} == {(1, started["stream"])}
        assert frames[0].timestamp == -started["pre_skip"]
        steps = {b.timestamp - a.timestamp for a, b in pairwise(frames)}
        assert steps == {48 * started["frame_ms"]}
        num_first = sum(frame.flags & 1 for frame in frames)
        assert num_first == done["sentences"] and frames[0].flags & 1
        assert [frame.sequence for frame in frames if frame.flags & 2] == [len(frames) - 1]
        covered_ms = (frames[-1].timestamp + (960 if frames[-1].payload else 0)) / 48
        assert done["audio_ms"] <= covered_ms + 1 <= done["audio_ms"] + 2 * started["frame_ms"]


async def test_opus_packets_decode_to_the_sound_announced() -> None:
    """Another decoder, fed with the payloads, gives the tones for as long as `done` says, after pre-skip."""
    async with running() as server, server.client("?lead_ms=null") as client:
        await client.say("speak", id="a", text=TEXT)
        done = await client.until("done")
        decoder = av.CodecContext.create("libopus", "r")
        assert isinstance(decoder, av.AudioCodecContext)
        decoder.sample_rate, decoder.layout = 48_000, "mono"
        decoded = [
            out
            for frame in client.frames()
            if frame.payload
            for out in decoder.decode(av.Packet(frame.payload))
        ]
        samples = np.concatenate([out.to_ndarray().astype(np.float32).reshape(-1) for out in decoded])
        samples = samples / (1.0 if decoded[0].format.name.startswith("flt") else 32768.0)
        heard = samples[client.messages("started")[0]["pre_skip"] :][: done["audio_ms"] * 48]
        assert len(heard) == pytest.approx(done["audio_ms"] * 48, abs=96)
        for start, end in zip(
            client.messages("sentence_start"), client.messages("sentence_end"), strict=True
        ):
            middle = heard[48 * (start["start_ms"] + 80) : 48 * (end["end_ms"] - 80)]
            spectrum = np.abs(np.fft.rfft(middle))
            pitch_hz = float(np.argmax(spectrum)) * 48_000 / len(middle)
            assert pitch_hz == pytest.approx(220 * (1 + start["index"] % 4), abs=10)


async def test_a_sentence_is_announced_before_its_first_packet() -> None:
    """`sentence_start` comes before the sentence's first packet, `sentence_end` after its last."""
    async with running() as server, server.client() as client:
        await client.say("speak", id="a", text=TEXT)
        await client.until("done")
        open_sentence = None
        for item in client.received:
            if isinstance(item, Frame):
                assert open_sentence is not None
            elif item["type"] == "sentence_start":
                open_sentence = item["index"]
            elif item["type"] == "sentence_end":
                assert item["index"] == open_sentence


async def test_text_word_by_word_is_spoken_as_it_comes() -> None:
    """A sentence is heard before the text has ended, and the pieces make one text."""
    async with running() as server, server.client() as client:
        await client.say("start", id="a")
        for word in ["The", "first", "sentence", "is", "here.", "And", "now", "the"]:
            await client.say("text", id="a", text=word + " ")
        first = await client.until("sentence_start")
        assert first["text"].startswith("The first")
        await client.say("text", id="a", text="second one comes.")
        await client.say("end", id="a")
        done = await client.until("done")
        assert done["reason"] == "completed" and done["sentences"] == 2


async def test_flush_speaks_an_unfinished_sentence() -> None:
    """`flush` speaks what is buffered, `flushed` follows its sound and echoes the ref."""
    async with running(configured(speech={"max_buffer_ms": None})) as server, server.client() as client:
        await client.say("start", id="a")
        await client.say("text", id="a", text="Let me check")
        await client.say("flush", id="a", ref="now")
        flushed = await client.until("flushed")
        assert flushed["ref"] == "now" and flushed["id"] == "a"
        assert client.frames() and client.messages("sentence_end")
        await client.say("end", id="a")
        assert (await client.until("done"))["sentences"] == 1


async def test_a_pause_of_the_writer_speaks_what_there_is() -> None:
    """After `max_buffer_ms` without text the words so far are spoken, with no flush and no end."""
    async with running() as server, server.client() as client:
        await client.say("start", id="a", max_buffer_ms=30)
        await client.say("text", id="a", text="Let me check that ")
        assert "Let me" in (await client.until("sentence_start"))["text"]
        await client.say("cancel", id="a")
        assert (await client.until("done"))["reason"] == "cancelled"


@pytest.mark.parametrize("text", ["", "  \n", "...", "😊", "()", "™", "\u200b", "— —", "*** !!!"])
async def test_a_text_without_words_is_an_utterance_without_sound(text: str) -> None:
    """Nothing to say is completed at once, with no packet, and whatever is said next is heard."""
    async with running() as server, server.client() as client:
        await client.say("speak", id="a", text=text)
        done = await client.until("done")
        assert (done["reason"], done["audio_ms"], done["packets"]) == ("completed", 0, 0)
        assert not client.frames()
        await client.say("speak", id="b", text="Hello.", lead_ms=None)
        assert (await client.until("done"))["packets"] > 0


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_no_encoding_sends_a_packet_without_words(encoding: str) -> None:
    """Not even the header of a file."""
    async with running() as server, server.client(f"?encoding={encoding}") as client:
        await client.say("speak", id="a", text="...")
        assert (await client.until("done"))["packets"] == 0 and not client.frames()


async def test_a_sentence_without_sound_is_told() -> None:
    """It was made twice; the client learns that the utterance is not complete."""
    synthesizer = FakeSynthesizer()
    synthesizer.lose_on = {"second": 0.0}
    async with running(synthesizer=synthesizer) as server, server.client() as client:
        await client.say("speak", id="a", text="Here is the first one. And the second one.", lead_ms=None)
        assert (await client.until("done"))["reason"] == "truncated"
        codes = [(warning["code"], warning["index"]) for warning in client.messages("warning")]
        assert codes == [("sentence_retried", 1), ("sentence_silent", 1)]


async def test_several_utterances_at_once_keep_apart() -> None:
    """Each stream has its own gapless numbering, whatever else is being spoken."""
    async with running(synthesizer=FakeSynthesizer(speed=20.0)) as server, server.client() as client:
        for name in "abcd":
            await client.say("speak", id=name, text=TEXT)
        for _ in "abcd":
            await client.until("done")
        streams = {started["stream"] for started in client.messages("started")}
        assert len(streams) == 4
        for stream in streams:
            assert [f.sequence for f in client.frames(stream)] == list(range(len(client.frames(stream))))
