"""Voices come and go while the server runs: every list follows, and what the settings name falls back."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import connect

from streamer.config import SpeechConfig
from streamer.errors import ConfigError
from streamer.server.app import Server
from streamer.server.voice_reloading import ReloadableVoices
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.realtime.speaking import connected as realtime
from tests.server.speaking import Running, configured, running

SPEECH = {"voice": "ann", "openai_voices": ("alloy=ann", "nova=zoe")}


class Changing(FakeSynthesizer):
    """Has other voices after its files have changed."""

    def __init__(self) -> None:
        super().__init__(voices=("joe", "ann", "zoe"))
        self.files = self.voices
        self.num_reloads = 0

    def reload_voices(self) -> None:
        self.num_reloads += 1
        self.voices = self.files

    def refresh_voices(self) -> bool:
        has_changed = self.voices != self.files
        self.voices = self.files
        return has_changed


@pytest.fixture
async def speaking() -> AsyncIterator[Running]:
    """A server whose settings name voices of which only `joe` is left."""
    synthesizer = Changing()
    async with running(configured(speech=SPEECH), synthesizer) as server:
        synthesizer.voices = ("joe", "new")
        yield server


def test_what_the_settings_name_and_is_gone_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """The warning names options and voices; it comes again only when others are gone."""
    synthesizer = Changing()
    voices = ReloadableVoices(synthesizer, SpeechConfig(**SPEECH))
    with caplog.at_level(logging.WARNING):
        assert voices.refresh() is False and not caplog.records
        for files in (("joe", "zoe"), ("joe", "zoe", "new"), ("joe", "ann", "zoe"), ("joe",)):
            synthesizer.files = files
            assert voices.refresh() is True
        voices.reload()
    assert synthesizer.num_reloads == 1
    assert [record.settings for record in caplog.records] == [
        "openai_voices alloy=ann, voice=ann",
        "openai_voices alloy=ann, openai_voices nova=zoe, voice=ann",
    ]


@pytest.mark.parametrize(
    "speech", [{"voice": "gone"}, {"openai_voices": ("alloy=gone",)}, {"openai_voices": ("alloy",)}]
)
async def test_at_the_start_it_is_a_mistake(speech: dict[str, Any]) -> None:
    """A misspelt name is found before anybody speaks."""
    with pytest.raises(ConfigError):
        await Server(configured(speech=speech), Changing()).start()


async def test_a_server_notices_by_itself() -> None:
    """What `assembly` adds is watched while the server runs."""
    synthesizer = Changing()
    async with running(synthesizer=synthesizer) as speaking:
        voices = ReloadableVoices(synthesizer, SpeechConfig())
        speaking.server.reloadables.add("voices", voices.reload, voices.refresh)
        synthesizer.files = ("joe", "new")
        watch = asyncio.create_task(speaking.server.reloadables.watch(interval_s=0))
        async with asyncio.timeout(5):
            while b"new" not in (await speaking.get("/v1/voices"))[2]:
                pass
        watch.cancel()


LISTS = {
    "/v1/voices": "voices.name",
    "/v1/audio/voices": "voices.id",
    "/v2/voices": "voices.voice_id",
    "/voices": "data.id",
}


@pytest.mark.parametrize("path", LISTS)
async def test_every_list_follows(path: str, speaking: Running) -> None:
    """Each protocol's list has the voices of now, whatever it calls them."""
    outer, inner = LISTS[path].split(".")
    request = f"GET {path} HTTP/1.1\r\nHost: test\r\nCartesia-Version: 2025-04-16\r\n\r\n"
    status, _, body = await speaking.http(request.encode())
    listed = json.loads(body)
    assert status == 200 and [voice[inner] for voice in listed[outer]] == ["joe", "new"]
    assert "ann" not in body.decode()


def _post(path: str, headers: str = "", **fields: Any) -> bytes:
    body = json.dumps(fields).encode()
    return (
        f"POST {path} HTTP/1.1\r\nHost: test\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body
    )


REQUESTS = {
    "openai, mapped": _post("/v1/audio/speech", input="Hi there.", voice="alloy", response_format="pcm"),
    "openai, none": _post("/v1/audio/speech", input="Hi there.", response_format="pcm"),
    "native": _post("/v1/speech", text="Hi there."),
    "elevenlabs": _post("/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM", text="Hi there."),
    "deepgram": _post("/v1/speak?model=aura-asteria-en", text="Hi there."),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_falls_back(name: str, speaking: Running) -> None:
    """Who asks for no voice, or for a name that stood for one that is gone, hears the model's own."""
    status, _, body = await speaking.http(REQUESTS[name])
    assert status == 200, body
    assert {request.voice for request in speaking.synthesizer.requests} == {"joe"}


@pytest.mark.parametrize("asked", ["ann", "zoe"])
async def test_a_voice_that_is_gone_is_refused_by_name(asked: str, speaking: Running) -> None:
    """Whoever asks for it by its own name gets a clear error, and the next request is served."""
    status, _, body = await speaking.http(_post("/v1/audio/speech", input="Hi there.", voice=asked))
    assert status == 400 and json.loads(body)["error"]["code"] == "voice_not_found"
    assert (await speaking.http(REQUESTS["openai, mapped"]))[0] == 200


@pytest.mark.parametrize("voice", ["alloy", "nova", "ash", None])
async def test_a_realtime_connection_opens_and_speaks(voice: str | None, speaking: Running) -> None:
    """A mapping to a voice that is gone refuses nobody."""
    async with realtime(speaking) as client:
        if voice is not None:
            session = {"type": "realtime", "audio": {"output": {"voice": voice}}}
            await client.say("session.update", session=session)
        await client.say("response.create", response={"input": [_message()]})
        assert (await client.until("response.done"))["response"]["status"] == "completed"
    assert speaking.synthesizer.requests[0].voice in ("joe", "new")


def _message() -> dict[str, Any]:
    content = [{"type": "input_text", "text": "Hi there."}]
    return {"type": "message", "role": "user", "content": content}


async def test_a_session_that_is_open_sees_voices_come_and_go() -> None:
    """New voices can be asked for, those that are gone are refused for that utterance, the default one follows."""
    synthesizer = Changing()
    async with (
        running(configured(speech=SPEECH), synthesizer) as speaking,
        speaking.client() as client,
        speaking.client("?voice=zoe") as asked,
    ):
        synthesizer.voices = ("joe", "new")
        await client.say("speak", id="a", text="Hi there.", voice="new")
        assert (await client.until("started", id="a"))["voice"] == "new"
        await client.until("done", id="a")
        await client.say("speak", id="b", text="Hi there.", voice="ann")
        assert (await client.until("error", id="b"))["code"] == "voice_not_found"
        await client.say("speak", id="c", text="Hi there.")
        assert (await client.until("started", id="c"))["voice"] == "joe"
        await client.until("done", id="c")
        await asked.say("speak", id="a", text="Hi there.")
        assert (await asked.until("error", id="a"))["code"] == "voice_not_found"
        await asked.say("speak", id="b", text="Hi there.", voice="joe")
        assert (await asked.until("done", id="b"))["reason"] == "completed"


async def test_an_open_elevenlabs_connection_falls_back() -> None:
    """Where another voice stands for one of theirs, each context is spoken by one that is there."""
    synthesizer = Changing()
    async with running(configured(speech=SPEECH), synthesizer) as speaking:
        path = "/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM/multi-stream-input?output_format=pcm_24000"
        address = f"ws://127.0.0.1:{speaking.server.port}{path}"
        async with connect(address, proxy=None, compression=None) as client:
            for context, voices in (("a", ("joe", "ann", "zoe")), ("b", ("joe", "new"))):
                synthesizer.voices = voices
                message = {"context_id": context, "text": "Hi there. ", "flush": True}
                await client.send(json.dumps(message))
                async with asyncio.timeout(5):
                    while not base64.b64decode(json.loads(await client.recv()).get("audio") or ""):
                        pass
    assert [request.voice for request in synthesizer.requests] == ["ann", "joe"]


async def test_an_open_deepgram_connection_falls_back() -> None:
    """As with ElevenLabs' voices."""
    synthesizer = Changing()
    async with running(configured(speech=SPEECH), synthesizer) as speaking:
        address = f"ws://127.0.0.1:{speaking.server.port}/v1/speak?model=aura-asteria-en"
        async with connect(address, proxy=None, compression=None) as client:
            for voices in (("joe", "ann", "zoe"), ("joe", "new")):
                synthesizer.voices = voices
                await client.send(json.dumps({"type": "Speak", "text": "Hi there."}))
                await client.send(json.dumps({"type": "Flush"}))
                async with asyncio.timeout(5):
                    while isinstance(data := await client.recv(), bytes) or '"Flushed"' not in data:
                        pass
    assert [request.voice for request in synthesizer.requests] == ["ann", "joe"]
