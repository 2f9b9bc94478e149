"""The MCP tools in any order of calls, several at a time: each has one result, and files are whole or not there."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, Final

import av
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from mcp import Client
from mcp_types import AudioContent, CallToolResult

from streamer.commands.mcp.destinations import Folder
from streamer.commands.mcp.speech import Report, Request
from streamer.commands.mcp.tools import MAX_TEXT_CHARS, Destinations, create_server
from streamer.errors import EngineError, OverloadedError, StreamerError, VoiceNotFoundError
from tests.server.session_machine import SEARCH

NAMES: Final = (None, "a", "a.wav", "b.ogg", "../a", "/a", "a/b", ".", "", "x" * 300, "a\0b")
MAX_OPEN: Final = 4
PIECE: Final = b"\x00\x10" * 2400


class HandFedSpeech:
    """Makes the next piece of sound of each text whenever it is told to."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []
        self.num_open = 0

    async def warm_up(self) -> None:
        pass

    async def voices(self) -> Sequence[dict[str, Any]]:
        return [{"name": "joe", "language": "en", "default": True}]

    async def speak(self, request: Request, report: Report) -> AsyncGenerator[bytes, None]:
        if request.voice not in (None, "joe"):
            raise VoiceNotFoundError("nobody", param="voice")
        self.num_open += 1
        try:
            for _ in range(2):
                turn = asyncio.get_running_loop().create_future()
                self.waiting.append(turn)
                await turn
                yield PIECE
            report.seed = 7
        finally:
            self.num_open -= 1

    def take_turns(self) -> list[asyncio.Future[None]]:
        turns, self.waiting = [turn for turn in self.waiting if not turn.done()], []
        return turns


class McpMachine(RuleBasedStateMachine):
    """An assistant that calls tools, and forgets some of the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.folder = Path(self.directory.name) / "folder"
        self.folder.mkdir()
        self.speech = HandFedSpeech()
        self.calls: dict[asyncio.Task[Any], str] = {}
        self.num_files = 0
        self.runner.run(self._open())

    async def _open(self) -> None:
        """Hold the client in a task of its own: what opens it has to close it."""
        self.is_over, is_there = asyncio.Event(), asyncio.Event()
        server = create_server(self.speech, Destinations(Folder(self.folder)), "1")

        async def hold() -> None:
            async with Client(server) as self.client:
                is_there.set()
                await self.is_over.wait()

        self.holding = asyncio.create_task(hold())
        await is_there.wait()

    async def _settle(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        await asyncio.sleep(0.001)  # files are written by a thread, if they are

    def call(self, tool: str, kind: str, **arguments: Any) -> None:
        async def begin() -> None:
            self.calls[asyncio.create_task(self.client.call_tool(tool, arguments))] = kind
            await self._settle()

        self.runner.run(begin())
        self.judge()

    def judge(self) -> None:
        """Look at the calls that have ended: what they tell is so."""
        for task in [task for task in self.calls if task.done()]:
            kind = self.calls.pop(task)
            if task.cancelled():
                continue
            result = task.result()
            assert isinstance(result, CallToolResult)
            if result.is_error or kind == "voices":
                continue
            if kind == "file":
                self.num_files += 1
                continue
            (audio,) = [content for content in result.content if isinstance(content, AudioContent)]
            assert audio.data

    @precondition(lambda self: len(self.calls) < MAX_OPEN)
    @rule(
        to=st.sampled_from(["audio", "file", "speaker"]),
        name=st.sampled_from(NAMES),
        voice=st.sampled_from(["joe", None, "x"]),
    )
    def speaks(self, to: str, name: str | None, voice: str | None) -> None:
        optional = {"file_name": name, "voice": voice}
        given = {key: value for key, value in optional.items() if value is not None}
        self.call("speak", to, text="Hello.", to=to, file_format="wav", **given)

    @rule(
        arguments=st.sampled_from(
            [{"text": ""}, {"text": "a" * (MAX_TEXT_CHARS + 1)}, {}, {"text": "a", "speed": 99}]
        )
    )
    def is_wrong(self, arguments: dict[str, Any]) -> None:
        num_open = len(self.calls)
        self.call("speak", "wrong", **arguments)
        assert len(self.calls) == num_open and not self.speech.num_open > num_open

    @rule()
    def asks_for_voices(self) -> None:
        self.call("list_voices", "voices")

    @rule()
    def sound_arrives(self) -> None:
        async def make() -> None:
            for turn in self.speech.take_turns():
                turn.set_result(None)
            await self._settle()

        self.runner.run(make())
        self.judge()

    @precondition(lambda self: self.speech.waiting)
    @rule(kind=st.sampled_from([EngineError, OverloadedError]))
    def speech_fails(self, kind: type[StreamerError]) -> None:
        async def fail() -> None:
            for turn in self.speech.take_turns():
                turn.set_exception(kind("no power"))
            await self._settle()

        self.runner.run(fail())
        self.judge()

    @precondition(lambda self: self.calls)
    @rule(index=st.integers(0, 9))
    def a_call_is_forgotten(self, index: int) -> None:
        async def cancel() -> None:
            [*self.calls][index % len(self.calls)].cancel()
            await self._settle()

        self.runner.run(cancel())
        self.judge()

    @invariant()
    def files_are_what_was_told(self) -> None:
        """No call writes anywhere else, and each file is whole."""
        assert [path.name for path in Path(self.directory.name).iterdir()] == ["folder"]
        files = list(self.folder.iterdir())
        assert len(files) >= self.num_files
        for file in files:
            with av.open(io.BytesIO(file.read_bytes())) as container:
                samples = sum(frame.samples for frame in container.decode(audio=0))
            assert samples >= 2 * len(PIECE) // 2

    def teardown(self) -> None:
        async def close() -> None:
            self.is_over.set()
            await self.holding

        try:
            for _ in range(4):
                self.sound_arrives()
            assert not self.calls, "a call has no result"
            assert self.speech.num_open == 0
            self.files_are_what_was_told()
        finally:
            self.runner.run(close())
            self.runner.close()
            self.directory.cleanup()


class TestMcp(McpMachine.TestCase):  # type: ignore[misc,name-defined]
    settings = SEARCH
