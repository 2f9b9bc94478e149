"""How utterances and sessions end that do not run to their end."""

from __future__ import annotations

import pytest
from websockets.exceptions import ConnectionClosed

from streamer.errors import EngineError
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import configured, eventually, figure, running

TEXT = "Hello there. How are you today?"


async def test_a_failed_sentence_ends_its_utterance_only() -> None:
    """`done failed` carries the error; the session and the neighbour continue."""
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
    (record,) = [record for record in caplog.records if record.msg == "utterance"]
    said = vars(record)
    assert (said["session_id"], said["utterance_id"]) == (session_id, "a")
    assert (said["reason"], said["code"], said["error"]) == ("failed", "engine_failed", "this one failed")
    assert "Boom" not in str(said)


async def test_one_id_leads_from_the_client_to_the_engine(caplog: pytest.LogCaptureFixture) -> None:
    """A request's id begins with the session's id and the utterance's number, which the log tells, too."""
    synthesizer = FakeSynthesizer()
    synthesizer.fail_on["Boom"] = EngineError("this one failed")
    async with running(synthesizer=synthesizer) as server, server.client() as client:
        session_id = client.messages("session")[0]["session_id"]
        for name, text in (("a", "Fine."), ("b", "This one is fine. Boom now.")):
            await client.say("speak", id=name, text=text, lead_ms=None)
            await client.until("done", id=name)
    ids = [request.request_id for request in synthesizer.requests]
    assert ids == [f"{session_id}.1.0", f"{session_id}.2.0", f"{session_id}.2.1"]
    (record,) = [
        record for record in caplog.records if record.msg == "utterance" and record.levelname == "WARNING"
    ]
    assert vars(record)["trace_id"] == f"{session_id}.2" and vars(record)["utterance_id"] == "b"


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
        await eventually(lambda: figure(server.server, "tts_requests_total", outcome="client_gone") == 1)


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
