"""The native protocol end to end over a real WebSocket: what is asked for is what is heard, and told."""

from __future__ import annotations

import asyncio
import json
import socket
from itertools import pairwise

import av
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from streamer.errors import EngineError
from streamer.server.session import CloseRequest
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import Client, Frame, configured, eventually, running

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


async def test_empty_text_is_an_utterance_without_sound() -> None:
    """Nothing to say is completed at once, with no packet."""
    async with running() as server, server.client() as client:
        await client.say("speak", id="a", text="")
        done = await client.until("done")
        assert (done["reason"], done["audio_ms"], done["packets"], done["sentences"]) == (
            "completed",
            0,
            0,
            0,
        )


async def test_cancel_tells_what_was_heard_and_frees_the_synthesizer() -> None:
    """`cancel` ends one utterance with `heard`; no packet of it follows, and its id is free at once."""
    async with running(synthesizer=FakeSynthesizer(speed=2.0)) as server, server.client() as client:
        await client.say(
            "speak", id="a", text="One two three four five six seven eight nine ten eleven twelve."
        )
        while len(client.frames()) < 20:
            await client.next()
        await client.say("cancel", id="a", played_ms=300, ref="stop")
        done = await client.until("done")
        assert done["reason"] == "cancelled" and done["ref"] == "stop"
        assert done["heard"]["text"].startswith("One") and done["heard"]["char_end"] == len(
            done["heard"]["text"]
        )
        num_frames = len(client.frames(1))
        assert server.synthesizer.num_open == 0
        await client.say("speak", id="a", text="Again.")
        await client.until("done", reason="completed")
        assert len(client.frames(1)) == num_frames and {frame.stream for frame in client.frames()} == {1, 2}


async def test_nobody_has_heard_what_was_not_sent() -> None:
    """A listener whose clock is ahead of the sound is told of no words that he cannot have."""
    text = "One two three four five six seven eight nine ten eleven twelve."
    heard = []
    for played_ms in (400, 1_000_000):
        async with running(synthesizer=FakeSynthesizer(ms_per_char=50)) as server, server.client() as client:
            await client.say("speak", id="a", text=text, lead_ms=400)
            while len(client.frames()) < 20:
                await client.next()
            await client.say("cancel", id="a", played_ms=played_ms)
            heard.append((await client.until("done"))["heard"]["text"])
    assert text.startswith(heard[0]) and text.startswith(heard[1])
    assert "" < heard[0] <= heard[1] and "six" not in heard[1]


async def test_heard_grows_with_what_was_played() -> None:
    """In a sentence whose sound is not whole yet, each later moment has as many words or more, never all."""
    text, heard = "One two three four five six seven eight nine ten.", []
    for played_ms in (0, 300, 600, 900):
        async with running(synthesizer=FakeSynthesizer(speed=4.0)) as server, server.client() as client:
            await client.say("speak", id="a", text=text * 3)
            while len(client.frames()) < 50:
                await client.next()
            await client.say("cancel", id="a", played_ms=played_ms)
            heard.append((await client.until("done"))["heard"]["char_end"])
    assert heard == sorted(heard) and heard[0] == 0 < heard[1] < heard[-1] < 3 * len(text)


async def test_cancel_without_id_ends_all() -> None:
    """Every open utterance gets its own done."""
    async with running(synthesizer=FakeSynthesizer(speed=1.0)) as server, server.client() as client:
        for name in "abc":
            await client.say("speak", id=name, text=TEXT)
        await client.say("cancel")
        await client.pong()
        assert {done["id"]: done["reason"] for done in client.messages("done")} == dict.fromkeys(
            "abc", "cancelled"
        )


async def test_cancel_of_what_is_over_is_a_warning_with_the_text_heard() -> None:
    """A cancel that comes late, or names nothing, is harmless."""
    async with running() as server, server.client() as client:
        await client.say("speak", id="a", text=TEXT)
        await client.until("done")
        await client.say("cancel", id="a", played_ms=10_000)
        warning = await client.until("warning")
        assert warning["code"] == "utterance_over" and warning["heard"]["char_end"] == len(TEXT)
        await client.say("cancel", id="nobody")
        assert (await client.until("warning"))["code"] == "utterance_unknown"


async def test_interrupt_silences_all_others_first() -> None:
    """No packet of an interrupted utterance comes after the new one has started."""
    async with running(synthesizer=FakeSynthesizer(speed=2.0)) as server, server.client() as client:
        await client.say("speak", id="a", text=TEXT)
        await client.until("sentence_start", id="a")
        await client.say("speak", id="b", text="Now this.", interrupt=True)
        await client.until("started", id="b")
        assert client.messages("done")[0]["id"] == "a"
        position = len(client.received)
        await client.until("done", id="b")
        assert {f.stream for f in client.received[position:] if isinstance(f, Frame)} == {2}


async def test_after_plays_behind() -> None:
    """An utterance that waits `after` another sends nothing before the other's done."""
    async with running() as server, server.client() as client:
        await client.say("start", id="a")
        await client.say("speak", id="b", text="Behind.", after="a")
        await client.say("text", id="a", text="In front.")
        await client.say("end", id="a")
        await client.until("done", id="b")
        assert [done["id"] for done in client.messages("done")] == ["a", "b"]
        assert [frame.stream for frame in client.frames()] == sorted(
            frame.stream for frame in client.frames()
        )


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


async def test_sound_is_paced_by_lead_ms() -> None:
    """With a lead of 100 ms only about that much leaves before time has passed; null sends it all."""
    async with running() as server, server.client() as client:
        await client.say("speak", id="a", text=TEXT * 3, lead_ms=100)
        await client.until("sentence_start")
        await asyncio.sleep(0.15)
        await client.pong()
        assert len(client.frames()) * 20 < 1000
        await client.say("cancel", id="a")
        await client.until("done")
        await client.say("speak", id="b", text=TEXT * 3, lead_ms=None)
        done = await client.until("done", id="b")
        assert client.messages("started")[-1]["lead_ms"] is None and done["packets"] > 50


async def test_played_moves_the_clock() -> None:
    """A listener who reports to be further gets more at once."""
    async with running() as server, server.client() as client:
        await client.say("speak", id="a", text=TEXT, lead_ms=0)
        while len(client.frames()) < 2:
            await client.next()
        for _ in range(200):
            await client.say("played", id="a", ms=20 * len(client.frames()))
            await client.pong()
            if client.messages("done"):
                break
        assert client.messages("done")


async def test_configure_and_query_set_the_defaults() -> None:
    """Query parameters, then `configure`, then the fields of `start` decide, the last one winning."""
    async with running() as server, server.client("?voice=other&frame_ms=40&seed=3&lead_ms=null") as client:
        await client.say("configure", frame_ms=60, params={"top_k": 5})
        await client.say("speak", id="a", text="Hi.", params={"text_temp": 0.5})
        await client.until("done")
        started = client.messages("started")[0]
        assert (started["voice"], started["frame_ms"], started["seed"], started["lead_ms"]) == (
            "other",
            60,
            3,
            None,
        )
        params = server.synthesizer.requests[0].params
        assert (params.seed, params.top_k, params.text_temp) == (3, 5, 0.5)


async def test_bare_framing_has_no_headers_and_one_stream_at_a_time() -> None:
    """`?framing=bare` sends payloads alone; utterances queue up."""
    async with running() as server, server.client("?framing=bare&encoding=pcm_s16le&lead_ms=null") as client:
        await client.say("speak", id="a", text="Hi you.")
        await client.say("speak", id="b", text="Me too.")
        payloads: dict[str, int] = {}
        current = ""
        while len(client.messages("done")) < 2:
            data = await client.connection.recv()
            if isinstance(data, str):
                item = json.loads(data)
                client.received.append(item)
                current = item["id"] if item["type"] == "sentence_start" else current
            else:
                payloads[current] = payloads.get(current, 0) + len(data)
        for done in client.messages("done"):
            assert abs(payloads[done["id"]] / 48 - done["audio_ms"]) <= 20


def _order(client: Client) -> list[tuple[str, str]]:
    kinds = ("sentence_start", "done")
    return [(m["type"], m["id"]) for m in client.received if isinstance(m, dict) and m["type"] in kinds]


@pytest.mark.parametrize("framing", ["framed", "bare"])
async def test_who_is_cancelled_in_line_leaves_it_closed(framing: str) -> None:
    """The third does not begin before the first is over, though the second, behind which it was, is gone."""
    async with running() as server, server.client(f"?framing={framing}&lead_ms=0") as client:
        await client.say("speak", id="a", text="A first one, of some length.")
        await client.say("speak", id="b", text="Never.", after="a")
        await client.say("speak", id="c", text="Third.", after="b")
        await client.until("sentence_start", id="a")
        await client.say("cancel", id="b")
        await client.until("done", id="c")
        assert _order(client) == [
            ("sentence_start", "a"),
            ("done", "b"),
            ("done", "a"),
            ("sentence_start", "c"),
            ("done", "c"),
        ]


async def test_a_line_of_cancelled_utterances_is_forgotten() -> None:
    """However many were cancelled in line, the last knows only whom it really plays behind."""
    async with running() as server, server.client() as client:
        await client.say("start", id="0")
        for number in range(1, 40):
            await client.say("start", id=str(number), after=str(number - 1))
            if number > 1:
                await client.say("cancel", id=str(number - 1))
                await client.until("done", id=str(number - 1))
        (session,) = server.server._sessions
        behind = session._protocol._over["38"].after
        assert behind is session._protocol.open["0"] and behind.after is None
        await client.say("cancel")
        await client.until("done", id="39")


async def test_bare_utterances_never_play_at_once() -> None:
    """Without headers `after` cannot bring an utterance forward: it plays behind all that are open."""
    async with running() as server, server.client("?framing=bare&lead_ms=0") as client:
        await client.say("speak", id="a", text="First.")
        await client.say("speak", id="b", text="Second.")
        await client.say("speak", id="c", text="Third.", after="a")
        await client.until("done", id="c")
        assert _order(client) == [(kind, name) for name in "abc" for kind in ("sentence_start", "done")]


async def test_a_failed_sentence_ends_its_utterance_only() -> None:
    """`done failed` carries the error; the session and the neighbour go on."""
    synthesizer = FakeSynthesizer()
    synthesizer.fail_on["Boom"] = EngineError("this one failed")
    async with running(synthesizer=synthesizer) as server, server.client() as client:
        await client.say("speak", id="a", text="Fine so far. Boom now. Never heard.")
        await client.say("speak", id="b", text=TEXT)
        failed = await client.until("done", id="a")
        assert failed["reason"] == "failed" and failed["error"]["code"] == "engine_failed"
        assert failed["error"]["retryable"] is True
        if not any(done["id"] == "b" for done in client.messages("done")):
            await client.until("done", id="b")
        await client.pong()
        assert server.synthesizer.num_open == 0


async def test_the_operator_learns_of_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    """Each failed utterance is counted by its code, and logged by its id, without a word of its text."""
    synthesizer = FakeSynthesizer()
    synthesizer.fail_on["Boom"] = EngineError("this one failed")
    async with running(synthesizer=synthesizer) as server, server.client() as client:
        await client.say("speak", id="a", text="Boom now.")
        await client.until("done", reason="failed")
        assert b'tts_errors_total{code="engine_failed"} 1.0' in server.server.metrics.render()
        session_id = client.messages("session")[0]["session_id"]
    (record,) = [record for record in caplog.records if record.msg == "utterance failed"]
    said = vars(record)
    assert (said["session_id"], said["utterance_id"]) == (session_id, "a")
    assert (said["code"], said["reason"]) == ("engine_failed", "this one failed")
    assert "Boom" not in str(said)


async def test_a_sentence_cut_at_the_cap_is_truncated() -> None:
    """A model that did not stop is told in the reason."""
    synthesizer = FakeSynthesizer()
    synthesizer.truncate_on = "endless"
    async with running(synthesizer=synthesizer) as server, server.client() as client:
        await client.say("speak", id="a", text="This is endless.")
        assert (await client.until("done"))["reason"] == "truncated"


async def test_the_longest_sound_is_a_limit() -> None:
    """An utterance ends as truncated at `max_audio_s`."""
    async with (
        running(configured(max_audio_s=1.0, speech={"lead_ms": None})) as server,
        server.client() as client,
    ):
        await client.say("speak", id="a", text=TEXT * 20)
        done = await client.until("done")
        assert done["reason"] == "truncated" and done["audio_ms"] < 2000


async def test_a_client_that_vanishes_frees_everything() -> None:
    """A connection cut without a word cancels its sentences."""
    async with running(synthesizer=FakeSynthesizer(speed=0.5)) as server:
        async with server.client() as client:
            await client.say("speak", id="a", text=TEXT)
            await client.until("sentence_start")
            assert server.synthesizer.num_open > 0
            client.connection.transport.abort()
            await eventually(lambda: server.synthesizer.num_open == 0)
        metrics = server.server.metrics.render().decode()
        assert 'tts_requests_total{outcome="client_gone"} 1.0' in metrics


async def test_an_idle_session_is_closed_with_4408() -> None:
    """Silence beyond the limit is told and ends the session."""
    async with running(configured(idle_timeout_s=0.05)) as server, server.client() as client:
        assert (await client.until("error"))["code"] == "idle_timeout"
        with pytest.raises(ConnectionClosed):
            await client.next()
        assert client.connection.close_code == 4408


async def test_an_old_session_is_told_to_go() -> None:
    """The longest age ends a session with `going_away` and 1001."""
    async with running(configured(session_timeout_s=0.1)) as server, server.client() as client:
        await client.until("going_away")
        with pytest.raises(ConnectionClosed):
            await client.next()
        assert client.connection.close_code == 1001


async def test_a_hastier_end_replaces_a_patient_one() -> None:
    """A drain while an old session may still finish: told anew, and each utterance has its done before the close."""
    async with running(configured(session_timeout_s=60.0)) as server, server.client() as client:
        await client.say("start", id="a")
        await client.until("started")
        (session,) = server.server._sessions
        session.end(CloseRequest(1001, "old", grace_s=60.0))
        assert (await client.until("going_away"))["deadline_s"] == 60.0
        session.end(CloseRequest(1001, "older", grace_s=120.0))
        server.server.stop()
        assert (await client.until("going_away"))["deadline_s"] == 0.2
        assert (await client.until("done"))["reason"] == "cancelled"
        with pytest.raises(ConnectionClosed):
            await client.next()
        assert client.connection.close_code == 1001


async def test_an_engine_that_dies_in_the_grace_fails_what_is_open() -> None:
    """The error comes before any patience: `failed`, told, and closed with 1011."""
    async with running(configured(session_timeout_s=60.0)) as server, server.client() as client:
        await client.say("start", id="a")
        await client.until("started")
        (session,) = server.server._sessions
        session.end(CloseRequest(1001, "old", grace_s=60.0))
        await client.until("going_away")
        session.end(CloseRequest(1011, "the engine failed", error=EngineError("dead")))
        assert (await client.until("done"))["reason"] == "failed"
        assert (await client.until("error"))["scope"] == "session"
        with pytest.raises(ConnectionClosed):
            await client.next()
        assert client.connection.close_code == 1011


async def test_an_utterance_accepted_after_refusals_ends() -> None:
    """The retries of a refused start leave nothing behind that would swallow the `end` of the accepted one."""
    async with running(configured(max_utterances_per_session=1)) as server, server.client() as client:
        await client.say("start", id="other")
        for _ in range(2):
            await client.say("start", id="a")
            await client.until("error", code="overloaded")
        await client.say("cancel", id="other")
        await client.until("done", id="other")
        await client.say("start", id="a")
        await client.say("text", id="a", text="Hi.")
        await client.say("end", id="a")
        assert (await client.until("done", id="a"))["reason"] == "completed"


async def test_a_client_that_reads_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes that stall for too long cut the connection."""
    monkeypatch.setattr("streamer.server.connection.SEND_BUFFER_BYTES", 4096)
    config = configured(write_timeout_s=0.2, max_audio_s=3600.0, speech={"lead_ms": None})
    async with running(config, FakeSynthesizer(ms_per_char=2000.0, chunk_ms=2000)) as server:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", server.server.port))
        async with server.client("?encoding=pcm_s16le", sock=sock, max_queue=1) as client:
            await client.say("speak", id="a", text=TEXT * 10)
            await eventually(lambda: b"tts_slow_client_closed_total 1.0" in server.server.metrics.render())
            client.connection.transport.abort()


async def test_a_tag_the_model_does_not_know_is_a_warning() -> None:
    """It is told once, with the utterance's id, and the text is spoken all the same."""
    async with running() as server, server.client() as client:
        await client.say("speak", id="a", text="Well [laughs] yes. And [laughs] again.")
        assert (await client.until("done"))["reason"] == "completed"
        assert [(w["code"], w["param"], w["id"]) for w in client.messages("warning")] == [
            ("unsupported_tag", "[laughs]", "a")
        ]


async def test_words_of_a_language_the_model_does_not_speak_are_a_warning() -> None:
    """They are told once per utterance, by the language, and spoken all the same."""
    async with running() as server, server.client() as client:
        text = "Ich weiß nicht, ob das auch so ist. Aber wir werden es morgen sehen, wenn er da ist. "
        await client.say("speak", id="a", text=text * 2)
        assert (await client.until("done"))["reason"] == "completed"
        assert [(w["code"], w["param"], w["id"]) for w in client.messages("warning")] == [
            ("unsupported_language", "de", "a")
        ]


async def test_how_a_text_is_read_is_the_clients_choice() -> None:
    """What is written out is what the model gets; what was written is what the listener is shown."""
    synthesizer = FakeSynthesizer(languages=("en", "de"))
    async with running(None, synthesizer) as server, server.client("?normalize=true&language=de") as client:
        await client.say("speak", id="a", text="**Ich** habe 5 €.", text_format="chat")
        await client.until("done")
        await client.say("speak", id="b", text="I have **5**.", language="auto", normalize=None)
        await client.until("done")
        assert [message["text"] for message in client.messages("sentence_start")] == [
            "**Ich** habe 5 €.",
            "I have **5**.",
        ]
    assert [request.text for request in synthesizer.requests] == ["Ich habe fünf Euro.", "I have **5**."]


async def test_letters_the_model_does_not_read_are_a_warning() -> None:
    """A text in another script is told once, and the utterance ends as usual."""
    async with running() as server, server.client() as client:
        await client.say("speak", id="a", text="Добрый день. Ещё раз.")
        assert (await client.until("done"))["reason"] == "completed"
        assert [(w["code"], w["param"]) for w in client.messages("warning")] == [
            ("unsupported_language", "CYRILLIC")
        ]
