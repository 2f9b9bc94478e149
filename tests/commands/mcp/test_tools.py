"""The MCP tools, asked by the official package's own client: what they answer, write and play."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import resource
import sys
import wave
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import av
import pytest
from mcp import Client, StdioServerParameters
from mcp_types import AudioContent, CallToolResult, TextContent
from websockets.asyncio.server import ServerConnection, serve

from streamer.commands.mcp.destinations import Folder, Player
from streamer.commands.mcp.speech import RemoteSpeech, Report, Request
from streamer.commands.mcp.tools import MAX_TEXT_CHARS, Destinations, create_server
from streamer.errors import InvalidParameterError, OverloadedError
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import configured, running

ROOT = Path(__file__).parents[3]
STDIO = """
import sys
sys.path.insert(0, {root!r})
from tests.fakes.synthesizer import FakeSynthesizer
from streamer import api
from streamer.commands import cli
api.build_synthesizer = lambda _: FakeSynthesizer()
print("what is printed does no harm")
cli.main(["mcp", *{flags!r}])
"""


class ToneSpeech:
    """Speaks a tenth of a second for each character, and remembers what it was asked for."""

    def __init__(self, error: Exception | None = None) -> None:
        self.requests: list[Request] = []
        self.num_closed = 0
        self._error = error

    async def warm_up(self) -> None:
        if self._error:
            raise self._error

    async def voices(self) -> Sequence[dict[str, Any]]:
        await self.warm_up()
        return [{"name": "joe", "language": "en", "default": True}]

    async def speak(self, request: Request, report: Report) -> AsyncGenerator[bytes, None]:
        await self.warm_up()
        self.requests.append(request)
        try:
            for _ in request.text:
                yield b"\x00\x10" * 2400
            report.seed, report.is_truncated = 7, "cut" in request.text
            report.warnings += ["no such tag"] if "<" in request.text else []
        finally:
            self.num_closed += 1


async def called(speech: Any, destinations: Destinations, tool: str, **arguments: Any) -> CallToolResult:
    async with Client(create_server(speech, destinations, "1")) as client:
        result = await client.call_tool(tool, arguments)
        assert isinstance(result, CallToolResult)
        return result


def told(result: CallToolResult) -> str:
    return "\n".join(content.text for content in result.content if isinstance(content, TextContent))


def seconds(data: bytes) -> float:
    with av.open(io.BytesIO(data)) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


@pytest.mark.parametrize("file_format", ["ogg", "wav"])
async def test_a_text_is_spoken_into_the_answer(file_format: str) -> None:
    """The sound is a whole file of its type; the text beside it tells length and seed."""
    speech = ToneSpeech()
    result = await called(
        speech,
        Destinations(),
        "speak",
        text="Hello.",
        voice="joe",
        speed=1.5,
        seed=3,
        file_format=file_format,
    )
    audio = result.content[0]
    assert isinstance(audio, AudioContent) and audio.mime_type == f"audio/{file_format}"
    assert seconds(base64.b64decode(audio.data)) == pytest.approx(0.6, abs=0.05)
    assert speech.requests == [Request("Hello.", "joe", 1.5, 3)]
    assert told(result) == "spoken: 0.60 s, seed 7"


@pytest.mark.parametrize(
    ("name", "file_format", "expected"),
    [
        ("a.wav", "ogg", "a.wav"),
        ("a.ogg", "wav", "a.ogg"),
        ("my note", "wav", "my note.wav"),
        ("v1.2", "ogg", "v1.2.ogg"),
    ],
)
async def test_a_file_is_written_into_the_folder(
    tmp_path: Path, name: str, file_format: str, expected: str
) -> None:
    """Its name decides what it is, else `file_format` does."""
    destinations = Destinations(Folder(tmp_path))
    result = await called(
        ToneSpeech(), destinations, "speak", text="Hello.", file_name=name, file_format=file_format
    )
    path = tmp_path / expected
    assert told(result).startswith(f"{path.resolve()}: 0.60 s")
    assert path.read_bytes()[:4] == (b"RIFF" if expected.endswith("wav") else b"OggS")
    assert seconds(path.read_bytes()) == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize(
    "name",
    [
        "../a.ogg",
        "/etc/a.ogg",
        "a/b.ogg",
        "..",
        ".hidden",
        "",
        "a\x00.ogg",
        "a\\b.ogg",
        "é.ogg",
        "x" * 200,
        "a\n.ogg",
    ],
)
async def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    """A bad name is one error, before anything is spoken, and nothing is written anywhere."""
    speech, folder = ToneSpeech(), tmp_path / "sounds"
    folder.mkdir()
    result = await called(
        speech, Destinations(Folder(folder)), "speak", text="Hello.", to="file", file_name=name
    )
    assert result.is_error and "is no file name" in told(result)
    assert not speech.requests
    assert list(tmp_path.rglob("*")) == [folder]


async def test_no_file_is_replaced_or_reached_through_a_link(tmp_path: Path) -> None:
    """A name that is taken is refused, be it by a file or by a link that leads elsewhere."""
    folder, outside = tmp_path / "sounds", tmp_path / "outside.ogg"
    folder.mkdir()
    (folder / "a.ogg").write_text("precious")
    (folder / "b.ogg").symlink_to(outside)
    destinations = Destinations(Folder(folder))
    for name in ("a.ogg", "b.ogg"):
        assert (await called(ToneSpeech(), destinations, "speak", text="Hi.", file_name=name)).is_error
    assert (folder / "a.ogg").read_text() == "precious" and not outside.exists()


async def test_without_a_name_one_is_made_up(tmp_path: Path) -> None:
    """Two files have two names; with a folder they are the usual destination."""
    destinations = Destinations(Folder(tmp_path))
    for _ in range(2):
        assert not (await called(ToneSpeech(), destinations, "speak", text="Hi.")).is_error
    assert len(list(tmp_path.glob("speech-*.ogg"))) == 2


async def test_a_player_gets_the_samples(tmp_path: Path) -> None:
    """The operator's command reads them from its standard input, and is the usual destination."""
    path = tmp_path / "played"
    destinations = Destinations(
        player=Player(
            f"{sys.executable} -c \"import sys; open('{path}', 'wb').write(sys.stdin.buffer.read())\""
        )
    )
    result = await called(ToneSpeech(), destinations, "speak", text="Hello.")
    assert told(result) == "played: 0.60 s, seed 7"
    assert path.read_bytes() == b"\x00\x10" * 2400 * 6


async def test_a_player_that_fails_is_an_error() -> None:
    """One that ends early does no other harm."""
    destinations = Destinations(player=Player("false"))
    result = await called(ToneSpeech(), destinations, "speak", text="Hello." * 100)
    assert result.is_error and "status 1" in told(result)


async def test_a_call_that_is_cancelled_silences_the_player() -> None:
    """The command is killed and the speech is closed."""
    speech, player = ToneSpeech(), Player("sleep 60")
    async with asyncio.timeout(10):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await player.play(speech.speak(Request("Hello."), Report()))
        assert await Player("cat").play(speech.speak(Request("Hi."), Report())) == 3 * 4800


@pytest.mark.parametrize(("to", "flag"), [("file", "--folder"), ("speaker", "--player")])
async def test_what_the_operator_did_not_set_up_is_refused(to: str, flag: str) -> None:
    """The error says which flag would do it."""
    speech = ToneSpeech()
    result = await called(speech, Destinations(), "speak", text="Hi.", to=to)
    assert result.is_error and flag in told(result) and not speech.requests


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, "text is missing: give a text of 1 to 5000 characters"),
        ({"text": ""}, 'text "" is not a text of 1 to 5000 characters'),
        ({"text": None}, "text null is not a text of 1 to 5000 characters"),
        ({"text": 5}, "text 5 is not a text of 1 to 5000 characters"),
        (
            {"text": "x" * (MAX_TEXT_CHARS + 1)},
            f'text "{"x" * 63}… is not a text of 1 to 5000 characters',
        ),
        ({"text": "Hi.", "speed": 0.4}, "speed 0.4 is not a number from 0.5 to 2.0"),
        ({"text": "Hi.", "speed": 3}, "speed 3 is not a number from 0.5 to 2.0"),
        ({"text": "Hi.", "speed": "fast"}, 'speed "fast" is not a number from 0.5 to 2.0'),
        ({"text": "Hi.", "seed": -1}, "seed -1 is not a whole number from 0 to 9007199254740991"),
        ({"text": "Hi.", "seed": 1.5}, "seed 1.5 is not a whole number from 0 to 9007199254740991"),
        ({"text": "Hi.", "to": "mars"}, 'to "mars" is not one of audio, file, speaker'),
        ({"text": "Hi.", "file_format": "mp3"}, 'file_format "mp3" is not one of ogg, wav'),
        ({"text": "Hi.", "voice": 7}, "voice 7 is not a text"),
        (
            {"text": "Hi.", "speed": 9, "to": "mars"},
            'speed 9 is not a number from 0.5 to 2.0; to "mars" is not one of audio, file, speaker',
        ),
        (
            {"text": "Hi.", "pitch": 2},
            'there is no argument "pitch": speak takes text, voice, speed, seed, to, file_name, file_format',
        ),
    ],
)
async def test_bad_arguments_are_one_line_that_names_the_value_and_the_remedy(
    arguments: dict[str, Any], error: str
) -> None:
    """Nothing is spoken, and the server lives on."""
    speech = ToneSpeech()
    async with Client(create_server(speech, Destinations(), "1")) as client:
        result = await client.call_tool("speak", arguments)
        assert result.is_error and told(result) == error
        assert not speech.requests
        assert not (await client.call_tool("speak", {"text": "Hi."})).is_error


async def test_a_tool_that_is_not_there_is_refused_with_those_that_are() -> None:
    """So is an argument for a tool that takes none."""
    refused = await called(ToneSpeech(), Destinations(), "sing")
    assert refused.is_error and told(refused) == 'there is no tool "sing": call speak or list_voices'
    refused = await called(ToneSpeech(), Destinations(), "list_voices", language="en")
    assert refused.is_error
    assert told(refused) == 'there is no argument "language": list_voices takes no arguments'


async def test_what_was_not_spoken_is_told() -> None:
    """Warnings and a cut stand in the answer."""
    result = await called(ToneSpeech(), Destinations(), "speak", text="<b> cut")
    assert told(result).splitlines()[1:] == ["no such tag", "Not all of the text was spoken."]


async def test_a_speech_that_fails_is_an_error() -> None:
    """Its message reaches the assistant; a failed warm-up ends nothing."""
    speech = ToneSpeech(OverloadedError("try later"))
    assert told(await called(speech, Destinations(), "speak", text="Hi.")) == "try later"
    assert told(await called(speech, Destinations(), "list_voices")) == "try later"


async def test_the_tools_describe_themselves(tmp_path: Path) -> None:
    """Each has a description and bounds; `speak` says where sound may go here."""
    async with Client(create_server(ToneSpeech(), Destinations(Folder(tmp_path)), "1")) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools.keys() == {"speak", "list_voices"}
        assert "file (in a folder)" in str(tools["speak"].description)
        assert "speaker" not in str(tools["speak"].description)
        assert (
            tools["speak"].input_schema["properties"]["speed"] | {"maximum": 2.0, "minimum": 0.5}
            == (tools["speak"].input_schema["properties"]["speed"])
        )
        voices = await client.call_tool("list_voices", {})
        assert json.loads(told(voices)) == {"name": "joe", "language": "en", "default": True}


async def test_a_running_server_speaks(tmp_path: Path) -> None:
    """By the native protocol, with a key, in pieces of the length that the server takes."""
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    config = configured(server={"api_keys_file": keys}, max_text_chars=20, max_buffered_chars=1000)
    async with running(config) as server:
        url = f"http://127.0.0.1:{server.server.port}/"
        speech, text = RemoteSpeech(url, "secret"), "Hello there. How are you today? <b>Fine</b>, I hope."
        result = await called(speech, Destinations(), "speak", text=text, voice="other", seed=5, speed=2)
        assert not result.is_error and "seed 5" in told(result) and "<b> is not followed" in told(result)
        audio = result.content[0]
        assert isinstance(audio, AudioContent)
        assert seconds(base64.b64decode(audio.data)) == pytest.approx(0.55, abs=0.15)
        assert {request.voice for request in server.synthesizer.requests} == {"other"}
        voices = await speech.voices()
        assert {"name": "tone", "language": None, "default": True} in voices or voices[0]["default"]
        result = await called(speech, Destinations(), "speak", text="Hi.", voice="nobody")
        assert result.is_error and told(result) == "no voice is named 'nobody': list_voices tells the names"
        assert not (await called(speech, Destinations(), "speak", text="Hi.")).is_error
        wrong = await called(RemoteSpeech(url, "wrong"), Destinations(), "speak", text="Hi.")
        assert wrong.is_error and "401: this key is not valid here" in told(wrong)
    gone = await called(RemoteSpeech(url), Destinations(), "speak", text="Hi.")
    assert gone.is_error and "cannot be reached" in told(gone)
    assert (await called(RemoteSpeech(url), Destinations(), "list_voices")).is_error


async def test_a_speech_that_the_server_fails_is_an_error() -> None:
    """What `done` says reaches the assistant."""
    synthesizer = FakeSynthesizer()
    synthesizer.fail_on["bad"] = OverloadedError("the model gave up")
    async with running(None, synthesizer) as server:
        speech = RemoteSpeech(f"http://127.0.0.1:{server.server.port}")
        result = await called(speech, Destinations(), "speak", text="A bad thing.")
        assert result.is_error and "the model gave up" in told(result)


@pytest.mark.parametrize(
    ("said", "told_of"),
    [
        ([], "nothing for too long"),
        (['{"limits": {"max_text_chars": 100}}'], "nothing for too long"),
        (["not JSON"], "not this server's protocol"),
        (["[]"], "not this server's protocol"),
        (["{}"], "not this server's protocol"),
        (['{"limits": {"max_text_chars": 100}}', '"done"'], "not this server's protocol"),
        (['{"limits": {"max_text_chars": 100}}', '{"type": "done"}'], "not this server's protocol"),
        (["bye"], "ended the session before the speech"),
    ],
)
async def test_another_kind_of_server_is_an_error(
    said: list[str], told_of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that says nothing, something else, or goodbye; the assistant waits for no sound."""
    monkeypatch.setattr("streamer.commands.mcp.speech.SILENCE_TIMEOUT_S", 0.2)

    async def converse(connection: ServerConnection) -> None:
        for message in said:
            if message == "bye":
                return
            await connection.send(message)
        await connection.wait_closed()

    async with serve(converse, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        speech = RemoteSpeech(f"http://127.0.0.1:{port}")
        result = await called(speech, Destinations(), "speak", text="Hi.")
    assert result.is_error and told_of in told(result)


@pytest.mark.parametrize(
    "url", ["", "localhost:8765", "ftp://a", "http://", "http://a?token=b", "http://me:pw@a"]
)
def test_what_is_no_address_of_a_server_is_refused(url: str) -> None:
    """One error names the flag."""
    with pytest.raises(InvalidParameterError, match="--url"):
        RemoteSpeech(url)


@pytest.mark.parametrize("command", ["", "no-such-command -x", "'unclosed"])
def test_a_player_that_is_not_there_is_refused(command: str) -> None:
    """At the start, and not with the first sound."""
    with pytest.raises(InvalidParameterError, match="--player"):
        Player(command)


def test_a_folder_has_to_be_there(tmp_path: Path) -> None:
    """It is the operator's to make, and a file is none."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(InvalidParameterError, match="--folder"):
            Folder(path)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_command_serves_standard_input(tmp_path: Path, mode: str) -> None:
    """The official client starts it as hosts do, with the old handshake and the new one, and hears a model."""
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("hello = a rather long greeting\n")
    flags = ["--folder", str(tmp_path), "--lexicon", str(lexicon)]
    program = STDIO.format(root=str(ROOT), flags=flags)
    command = StdioServerParameters(
        command=sys.executable, args=["-c", program], env={"PATH": os.environ["PATH"]}
    )
    async with asyncio.timeout(60), Client(command, mode=mode) as client:
        voices = await client.call_tool("list_voices", {})
        assert "tone" in told(voices)
        result = await client.call_tool("speak", {"text": "Hello.[pause:1]", "file_name": "a.wav", "seed": 3})
        assert not result.is_error and "seed 3" in told(result)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getnframes() / file.getframerate() > 1.4


def test_a_file_that_cannot_be_written_whole_is_not_there(tmp_path: Path) -> None:
    """The disk may be full; one that was there before is left as it is."""
    folder = Folder(tmp_path)
    (tmp_path / "before.wav").write_bytes(b"sound")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(InvalidParameterError, match="cannot be written"):
            folder.write("new.wav", bytes(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(InvalidParameterError, match="is there already"):
        folder.write("before.wav", b"other")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("before.wav", b"sound")]
