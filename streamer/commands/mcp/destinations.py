"""Where the tools' speech goes: into the answer, into a file of the operator's folder, or to the sound card."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import shlex
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from streamer.audio.recording import FileFormat
from streamer.errors import InvalidParameterError

MIME_TYPES: Final = {"ogg": "audio/ogg", "wav": "audio/wav"}
_NAME: Final = re.compile(r"(?P<stem>\w[\w .-]{0,99}?)(?:\.(?P<format>ogg|wav))?", re.ASCII)


class Folder:
    """The one folder that files are written into. A name is checked, and no file is ever replaced."""

    def __init__(self, path: Path) -> None:
        """Raises `InvalidParameterError` for what is no folder."""
        if not path.is_dir():
            raise InvalidParameterError(f"--folder {str(path)!r} is no folder")
        self._path = path.resolve()

    def name(self, asked: str | None, file_format: FileFormat) -> str:
        """Return the name of a file to be; one is made up for None. Raises `InvalidParameterError` for a bad name.

        It is checked before the work and not after it.
        """
        if asked is None:
            return f"speech-{secrets.token_hex(4)}.{file_format}"
        match = _NAME.fullmatch(asked)
        if match is None:
            raise InvalidParameterError(
                f"{asked[:64]!r} is no file name: letters, digits, spaces, dots, - and _, without a folder"
            )
        name = f"{match['stem']}.{match['format'] or file_format}"
        if (self._path / name).exists():
            raise _exists(name)
        return name

    def write(self, name: str, data: bytes) -> Path:
        """Write a new file. Raises `InvalidParameterError` if it is there already, or cannot be written."""
        path, is_ours = self._path / name, False
        try:
            with path.open("xb") as file:
                is_ours = True
                file.write(data)
        except FileExistsError:
            raise _exists(name) from None
        except OSError as error:
            if is_ours:  # a part of a file is no file
                path.unlink(missing_ok=True)
            raise InvalidParameterError(f"{name!r} cannot be written: {error.strerror}") from None
        return path


def _exists(name: str) -> InvalidParameterError:
    return InvalidParameterError(f"{name!r} is there already: choose another name")


class Player:
    """A command of the operator's that plays raw 16-bit samples of its standard input, one speech after the other."""

    def __init__(self, command: str) -> None:
        """Raises `InvalidParameterError` for a command that is not installed."""
        try:
            self._command = shlex.split(command)
        except ValueError as error:
            raise InvalidParameterError(f"--player {command!r}: {error}") from None
        if not self._command or shutil.which(self._command[0]) is None:
            raise InvalidParameterError(f"--player {command!r}: there is no such command")
        self._is_free = asyncio.Lock()

    async def play(self, sound: AsyncIterator[bytes]) -> int:
        """Play a sound as it is made, and return its length in bytes; cancelling it stops the command at once.

        Raises `InvalidParameterError` if the command fails.
        """
        num_bytes = 0
        async with self._is_free:
            process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
            )
            try:
                assert process.stdin is not None
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    async for piece in sound:
                        process.stdin.write(piece)
                        await process.stdin.drain()
                        num_bytes += len(piece)
                    process.stdin.close()
                status = await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if status:
            raise InvalidParameterError(f"{self._command[0]} ended with status {status}: nothing was played")
        return num_bytes
