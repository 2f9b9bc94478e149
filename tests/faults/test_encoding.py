"""What clients hear when a packet cannot be encoded, by each protocol and in each encoding, end to end."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import av
import numpy as np
import opuslib_next
import pytest

from streamer.audio.formats import ENCODINGS, FILE_ENCODINGS
from streamer.synthesis import PcmChunk, SentenceRequest
from tests.fakes.synthesizer import FakeSynthesizer
from tests.faults.conversations import CONVERSATIONS, for_all, told
from tests.server.realtime import speaking as realtime
from tests.server.speaking import eventually, figure, running


class BrokenSound(FakeSynthesizer):
    """Makes a value that is no number, in the second chunk of each sentence that has `broken` in it."""

    broken = "Broken"

    async def synthesize(self, request: SentenceRequest) -> AsyncGenerator[PcmChunk, None]:
        chunks = super().synthesize(request)
        num_chunks = 0
        try:
            async for chunk in chunks:
                num_chunks += 1
                if num_chunks == 2 and self.broken in request.text:
                    chunk.samples[-1] = np.nan
                yield chunk
        finally:
            await chunks.aclose()


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_sound_that_cannot_be_encoded_ends_one_utterance_alone(encoding: str) -> None:
    """It has one `done failed` with `audio_encode_failed`; its session and the utterance beside it continue."""
    async with running(synthesizer=BrokenSound()) as server, server.client(f"?encoding={encoding}") as client:
        await client.say("speak", id="good", text="Hello there, all of you.", lead_ms=None)
        await client.say("speak", id="bad", text="Hello there. Broken is what follows.", lead_ms=None)
        for name in ("bad", "good"):
            while not [done for done in client.messages("done") if done["id"] == name]:
                await client.next()
        ends = {done["id"]: (done["reason"], done.get("error")) for done in client.messages("done")}
        assert ends["good"] == ("completed", None) and len(client.messages("done")) == 2
        reason, error = ends["bad"]
        assert reason == "failed" and error is not None and error["code"] == "audio_encode_failed"
        await client.say("speak", id="next", text="And on it goes.", lead_ms=None)
        assert (await client.until("done", id="next"))["reason"] == "completed"
        assert figure(server.server, "tts_requests_total", outcome="error") == 1


async def test_no_protocol_leaves_a_client_without_an_answer() -> None:
    """Each hears of it at once, by whatever its protocol has for that, and the next one is served."""
    synthesizer = BrokenSound()
    synthesizer.broken = "Hello"
    others = [talk for talk in CONVERSATIONS if talk.__name__ not in ("openai", "realtime")]
    async with running(for_all(), synthesizer) as server:
        for talk in others:
            answer = await told(talk, server)
            assert isinstance(answer, Exception) and not isinstance(answer, TimeoutError), talk.__name__
        # OpenAI's clients would ask for a body that breaks off once more: it ends, and a trailer tells.
        _, head, _ = await server.http(speech_request("pcm"))
        assert b"streamer-outcome: failed" in head.lower()
        async with realtime.connected(server, realtime.TEXT_BUFFER) as client:
            await client.say("input_text_buffer.append", text="Hello there. How are you?")
            await client.say("input_text_buffer.commit")
            failed = await client.until("conversation.item.tts.failed")
            assert failed["error"]["code"] == "audio_encode_failed"
            assert failed["error"]["type"] == "server_error"
        await eventually(
            lambda: figure(server.server, "tts_requests_total", outcome="error") == len(CONVERSATIONS)
        )
        synthesizer.broken = "nothing"
        for talk in CONVERSATIONS:
            assert not isinstance(await told(talk, server), Exception), talk.__name__


def speech_request(encoding: str) -> bytes:
    """A request of OpenAI's API."""
    fields = {
        "model": "tts-1",
        "voice": "tone",
        "input": "Hello there. And so on.",
        "response_format": encoding,
    }
    body = json.dumps(fields).encode()
    return (
        f"POST /v1/audio/speech HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )


def _refuse(*_arguments: Any) -> Any:
    raise opuslib_next.OpusError(-3)


@pytest.mark.parametrize("encoding", ["opus", "ogg_opus"])
@pytest.mark.parametrize("place", [(opuslib_next, "Encoder"), (opuslib_next.Encoder, "encode_float")])
async def test_an_encoder_that_refuses_ends_one_utterance(
    encoding: str, place: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it begins it is refused, behind that it fails, with `audio_encode_failed`; the next is spoken."""
    async with running() as server, server.client(f"?encoding={encoding}") as client:
        with monkeypatch.context() as broken:
            broken.setattr(*place, _refuse)
            await client.say("speak", id="a", text="Hello there.", lead_ms=None)
            while not (ends := [*client.messages("done"), *client.messages("error")]):
                await client.next()
        assert ends[0].get("error", ends[0])["code"] == "audio_encode_failed"
        await client.say("speak", id="b", text="Hello there.", lead_ms=None)
        assert (await client.until("done", id="b"))["reason"] == "completed"
        assert len([*client.messages("done"), *client.messages("error")]) == 2


@pytest.mark.parametrize("encoding", FILE_ENCODINGS)
async def test_a_file_that_cannot_be_written_is_no_file(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg refuses the file: the answer is an error that names its reason, and the next one is a file."""

    def refuse(*_arguments: Any, **_options: Any) -> Any:
        raise av.FFmpegError(22, "Invalid argument")

    async with running() as server:
        with monkeypatch.context() as broken:
            broken.setattr(av, "open", refuse)
            status, _, answer = await server.http(speech_request(encoding))
        assert status == 500 and b"audio_encode_failed" in answer
        status, _, sound = await server.http(speech_request(encoding))
        assert status == 200 and len(sound) > 100
