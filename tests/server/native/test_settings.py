"""What `configure`, the query and `start` set, and `played`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streamer.errors import ConfigError
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import configured, running

TEXT = "Hello there. How are you today?"


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
    """A client that reports to be further gets more at once."""
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


async def test_windows_that_the_model_cannot_have_are_refused_where_they_are_set() -> None:
    """In `configure` and in the query, each with one error and without effect on the utterances that follow."""
    wrong = "params.sliding_window_len is 139; with a max_coarse_history of 630 this model takes 10 to 138"
    async with running() as server, server.client("?sliding_window_len=139") as client:
        assert (await client.until("error"))["message"] == wrong
        for params in ({"sliding_window_len": 139}, {"max_coarse_history": 59}):
            await client.say("configure", ref="here", params=params)
            error = await client.until("error", ref="here")
            (name,) = params
            assert (error["code"], error["param"]) == ("invalid_parameter", f"params.{name}")
        await client.say("speak", id="a", text="Hi.")
        assert (await client.until("done"))["reason"] == "completed"
        assert len(client.messages("error")) == 3


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


async def test_speed_is_of_the_session_or_of_one_utterance() -> None:
    """It comes from the query, `configure` or `start`; `started` tells it, and times are those of the sound."""
    async with running() as server, server.client("?speed=0.5&lead_ms=null") as client:
        await client.say("speak", id="slow", text=TEXT)
        slow = await client.until("done")
        await client.say("configure", speed=1)
        await client.say("speak", id="usual", text=TEXT)
        usual = await client.until("done")
        await client.say("speak", id="fast", text=TEXT, speed=2)
        fast = await client.until("done")
        assert [message["speed"] for message in client.messages("started")] == [0.5, 1, 2]
        assert [slow["audio_ms"], fast["audio_ms"]] == pytest.approx(
            [2 * usual["audio_ms"], usual["audio_ms"] / 2], abs=5
        )
        words = [
            item
            for message in client.messages("words")
            if message["id"] == "slow"
            for item in message["items"]
        ]
        assert words[-1]["end_ms"] > usual["audio_ms"]


@pytest.mark.parametrize("speed", [0.49, 2.01, 0, -1, True, "fast"])
async def test_a_speed_out_of_range_is_refused(speed: object) -> None:
    """Half to twice as fast is offered; the error names the field."""
    async with running() as server, server.client() as client:
        await client.say("speak", id="a", text="Hi.", speed=speed)
        error = await client.until("error")
        assert (error["code"], error["param"]) == ("invalid_parameter", "speed")


async def test_pauses_are_in_the_times_that_a_client_is_told() -> None:
    """Written word by word, a pause lies between the end of a sentence and the begin of the next."""
    async with running() as server, server.client("?lead_ms=null") as client:
        await client.say("start", id="a")
        for piece in (
            "Wait a mom",
            "ent [pa",
            "use:1",
            ".5] for <break ti",
            "me='250ms'/>",
            "it. [pause 2s]",
        ):
            await client.say("text", id="a", text=piece)
        await client.say("end", id="a")
        done = await client.until("done")
        starts = [message["start_ms"] for message in client.messages("sentence_start")]
        ends = [message["end_ms"] for message in client.messages("sentence_end")]
        assert [start - end for start, end in zip(starts[1:], ends, strict=False)] == [1500, 250]
        assert (done["reason"], done["audio_ms"]) == ("completed", ends[-1] + 2000)
        assert [message["text"] for message in client.messages("sentence_start")] == [
            "Wait a moment",
            "for",
            "it.",
        ]


async def test_markup_is_warned_of_or_left_alone() -> None:
    """What is not followed is a warning that names it; with `markup: false` everything is text."""
    text = "So <b>be</b> it [pause:1] now."
    async with running() as server, server.client("?lead_ms=null") as client:
        await client.say("speak", id="a", text=text)
        await client.until("done", reason="completed")
        assert [(item["code"], item["param"]) for item in client.messages("warning")] == [
            ("unknown_markup", "b")
        ]
        await client.say("speak", id="b", text=text, markup=False)
        await client.until("done")
        assert server.synthesizer.requests[-1].text == text
    async with running() as server, server.client("?markup=false") as client:
        await client.say("speak", id="a", text=text)
        await client.until("done")
        assert [request.text for request in server.synthesizer.requests] == [text]


async def test_the_operators_lexicon_holds_for_every_protocol(tmp_path: Path) -> None:
    """What is said follows it; what is shown is what was written."""
    path = tmp_path / "lexicon.txt"
    path.write_text("nginx = engine x\n")
    async with running(configured(speech={"lexicon": path})) as server:
        async with server.client() as client:
            await client.say("speak", id="a", text="Start NGINX.")
            await client.until("done")
            assert client.messages("sentence_start")[0]["text"] == "Start NGINX."
        for path_of, body in (
            ("speech", b'{"text": "Stop nginx."}'),
            ("audio/speech", b'{"input": "Stop nginx."}'),
        ):
            head = f"POST /v1/{path_of} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n"
            assert (await server.http(head.encode() + body))[0] == 200
        said = [request.text for request in server.synthesizer.requests]
        assert said == ["Start engine x.", "Stop engine x.", "Stop engine x."]


async def test_a_lexicon_in_phones_needs_a_model_that_has_them(tmp_path: Path) -> None:
    """The start fails with the line that is wrong."""
    path = tmp_path / "lexicon.txt"
    path.write_text("a = b\ngif = /JH IH1 F/\n")
    with pytest.raises(ConfigError, match="line 2"):
        async with running(configured(speech={"lexicon": path})):
            pass
