"""The tools that an assistant sees, `speak` and `list_voices`, on the official package's server."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import numpy as np
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import AudioContent, TextContent, ToolAnnotations
from pydantic import Field

from streamer.audio.recording import Audio, FileFormat
from streamer.commands.mcp.destinations import MIME_TYPES, Folder, Player
from streamer.commands.mcp.speech import SAMPLE_RATE_HZ, Report, Request, Speech
from streamer.commands.mcp.tool_server import ToolServer
from streamer.errors import InvalidParameterError, StreamerError
from streamer.speech.settings import MAX_SPEED, MIN_SPEED

MAX_TEXT_CHARS: Final = 5000
"""The longest text of one call, some six minutes of speech."""
INSTRUCTIONS: Final = (
    "Speaks text aloud. Write what is to be heard, without Markdown; numbers and abbreviations may stand as they are. "
    "[pause:1.5] is a pause of 1.5 seconds."
)
Destination = Literal["audio", "file", "speaker"]


@dataclass(frozen=True, slots=True)
class Destinations:
    """Where the operator lets speech go, besides the answer itself."""

    folder: Folder | None = None
    player: Player | None = None

    @property
    def default(self) -> Destination:
        """Where it goes if the call does not say: the operator set up what is to be used."""
        return "speaker" if self.player else "file" if self.folder else "audio"

    @property
    def offered(self) -> str:
        """The destinations in words, for the assistant."""
        words = ["audio (in the answer)"]
        words += ["file (in a folder)"] * (self.folder is not None)
        words += ["speaker (the sound card of this machine)"] * (self.player is not None)
        return f"{', '.join(words)}; {self.default} if it is left out"


def create_server(speech: Speech, destinations: Destinations, version: str) -> ToolServer:
    """Return a server with its tools; `run` serves standard input and output."""

    @contextlib.asynccontextmanager
    async def warm(_: MCPServer[Any]) -> AsyncIterator[None]:
        """Load the model beside the first messages: hosts wait for an answer, but not for long."""
        loading = asyncio.create_task(_warm_up(speech))
        try:
            yield
        finally:
            loading.cancel()

    server = ToolServer(
        "streamer", instructions=INSTRUCTIONS, version=version, log_level="WARNING", lifespan=warm
    )

    async def speak(
        text: Annotated[
            str, Field(min_length=1, max_length=MAX_TEXT_CHARS, description="What is to be said")
        ],
        voice: Annotated[
            str | None, Field(description="A name of list_voices; the default voice if left out")
        ] = None,
        speed: Annotated[
            float, Field(ge=MIN_SPEED, le=MAX_SPEED, description="How many times as fast as usual")
        ] = 1,
        seed: Annotated[
            int | None, Field(ge=0, le=2**53 - 1, description="The same seed sounds the same")
        ] = None,
        to: Annotated[Destination | None, Field(description="Where the sound goes")] = None,
        file_name: Annotated[str | None, Field(description="A name without a folder, for a file")] = None,
        file_format: Annotated[FileFormat, Field(description="Of audio and files")] = "ogg",
    ) -> list[AudioContent | TextContent]:
        request = Request(text, voice, speed, seed)
        try:
            return await _speak(speech, destinations, request, to, file_name, file_format)
        except StreamerError as error:
            if error.param == "voice":
                raise ToolError(f"no voice is named {voice!r}: list_voices tells the names") from None
            raise ToolError(error.message) from None

    async def list_voices() -> list[dict[str, Any]]:
        try:
            return [*await speech.voices()]
        except StreamerError as error:
            raise ToolError(error.message) from None

    server.add_tool(
        speak,
        description=f"{INSTRUCTIONS} The sound goes to {destinations.offered}.",
        annotations=ToolAnnotations(title="Speak", destructive_hint=False, open_world_hint=False),
        structured_output=False,
    )
    server.add_tool(
        list_voices,
        description="List the voices that can speak, with their languages.",
        annotations=ToolAnnotations(title="List voices", read_only_hint=True, open_world_hint=False),
        structured_output=False,
    )
    return server


async def _warm_up(speech: Speech) -> None:
    with contextlib.suppress(StreamerError):  # the first call will tell
        await speech.warm_up()


async def _speak(
    speech: Speech,
    destinations: Destinations,
    request: Request,
    to: Destination | None,
    file_name: str | None,
    file_format: FileFormat,
) -> list[AudioContent | TextContent]:
    """Speak to one of the destinations. Raises `StreamerError`."""
    match to or ("file" if file_name else destinations.default):
        case "speaker":
            if destinations.player is None:
                raise InvalidParameterError("nothing is played here: start `streamer mcp` with --player")
            report = Report()
            async with contextlib.aclosing(speech.speak(request, report)) as sound:
                num_bytes = await destinations.player.play(sound)
            return [_told("played", num_bytes / 2 / SAMPLE_RATE_HZ, report)]
        case "file":
            if (folder := destinations.folder) is None:
                raise InvalidParameterError("files are not written here: start `streamer mcp` with --folder")
            name = folder.name(file_name, file_format)
            audio, report = await _recorded(speech, request)
            path = folder.write(name, audio.encoded("wav" if name.endswith(".wav") else "ogg"))
            return [_told(str(path), audio.duration_s, report)]
    audio, report = await _recorded(speech, request)
    data = base64.b64encode(audio.encoded(file_format)).decode()
    content = AudioContent(type="audio", data=data, mime_type=MIME_TYPES[file_format])
    return [content, _told("spoken", audio.duration_s, report)]


async def _recorded(speech: Speech, request: Request) -> tuple[Audio, Report]:
    """Return the whole sound of a text. Raises `StreamerError`."""
    report = Report()
    async with contextlib.aclosing(speech.speak(request, report)) as sound:
        pcm = b"".join([piece async for piece in sound])
    samples = (np.frombuffer(pcm, "<i2") / 32_767).astype(np.float32)
    return Audio(samples, SAMPLE_RATE_HZ, report.seed, report.is_truncated), report


def _told(what: str, duration_s: float, report: Report) -> TextContent:
    """Say what was done, how long it is, and what was not done as it was asked for."""
    lines = [f"{what}: {duration_s:.2f} s, seed {report.seed}", *report.warnings]
    if report.is_truncated:
        lines.append("Not all of the text was spoken.")
    return TextContent(type="text", text="\n".join(lines))
