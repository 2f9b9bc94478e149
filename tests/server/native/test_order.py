"""`after`, `interrupt` and bare framing: which utterance is heard when."""

from __future__ import annotations

import json

import pytest

from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import Client, Frame, running

TEXT = "Hello there. How are you today?"


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
async def test_an_utterance_cancelled_in_line_leaves_no_gap(framing: str) -> None:
    """The third does not begin before the first is over, though the second, which it waited for, is gone."""
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


async def test_bare_utterances_never_play_at_once() -> None:
    """Without headers `after` cannot bring an utterance forward: it plays behind all that are open."""
    async with running() as server, server.client("?framing=bare&lead_ms=0") as client:
        await client.say("speak", id="a", text="First.")
        await client.say("speak", id="b", text="Second.")
        await client.say("speak", id="c", text="Third.", after="a")
        await client.until("done", id="c")
        assert _order(client) == [(kind, name) for name in "abc" for kind in ("sentence_start", "done")]
