"""One connection of a front end to a worker, from the hello to the close, and a pool that keeps some of them open."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidURI, WebSocketException
from websockets.protocol import State

from streamer.backends.workers.messages import (
    BAD_MESSAGE,
    BAD_TOKEN,
    MAX_ANSWER_BYTES,
    NO_ROOM,
    PROTOCOL,
    FromWorker,
    Hello,
    Message,
    Welcome,
    decode_answer,
    encode,
    retry_after_s,
)
from streamer.errors import ConfigError, InvalidMessageError, OverloadedError, WorkerLostError

OPEN_TIMEOUT_S: Final = 3.0
"""How long a worker may take to accept a connection and to say what it is."""
PING_INTERVAL_S: Final = 20.0
NUM_WARM: Final = 2
"""How many connections are kept open for the next sentences, beside those in use."""
MAX_WARM: Final = 64
"""How many connections are kept after a busy moment."""


class WorkerConnection:
    """A connection whose worker has said who it is. Every method may raise what `_raise_closed` does."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, address: str, hello: Hello) -> tuple[WorkerConnection, Welcome]:
        """Connect and exchange greetings.

        Raises `WorkerLostError` if nothing answers there, `OverloadedError` for a worker that is not ready, and
        `ConfigError` for one that refuses this front end, or must not be used by it.
        """
        try:
            connection = await connect(
                address,
                proxy=None,
                compression=None,
                max_size=MAX_ANSWER_BYTES,
                open_timeout=OPEN_TIMEOUT_S,
                ping_interval=PING_INTERVAL_S,
                ping_timeout=PING_INTERVAL_S,
                close_timeout=1.0,
                user_agent_header=None,
            )
        # A host that cannot be encoded is a ValueError.
        except (OSError, TimeoutError, ValueError, InvalidURI, WebSocketException) as error:
            raise WorkerLostError(f"it cannot be reached ({error or 'it does not answer'})") from None
        opened = cls(connection)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await opened.send(hello)
                welcome = await opened.receive()
        except BaseException as error:
            opened.abort()
            if isinstance(error, TimeoutError):
                raise WorkerLostError(f"it said nothing for {OPEN_TIMEOUT_S:.0f} s") from None
            raise
        if not isinstance(welcome, Welcome) or (welcome.protocol, welcome.version) != (
            PROTOCOL,
            hello.version,
        ):
            opened.abort()
            raise ConfigError(_difference(welcome, hello))
        return opened, welcome

    @property
    def is_open(self) -> bool:
        """Whether nobody has closed it yet."""
        return self._connection.state is State.OPEN

    async def send(self, message: Message) -> None:
        """Send a message."""
        try:
            await self._connection.send(encode(message))
        except ConnectionClosed as error:
            _raise_closed(error)

    async def receive(self) -> FromWorker:
        """Return the next message."""
        try:
            frame = await self._connection.recv(decode=False)
        except ConnectionClosed as error:
            _raise_closed(error)
        try:
            return decode_answer(frame)
        except InvalidMessageError as error:
            raise WorkerLostError(error.message) from None

    async def close(self) -> None:
        """Close it, which cancels what the worker is speaking over it."""
        with contextlib.suppress(AttributeError):  # see `abort`
            await self._connection.close()

    def abort(self) -> None:
        """Cut it, if the other side may not answer."""
        # asyncio's transport raises it if the connection is lost, and had something to flush before.
        with contextlib.suppress(AttributeError):
            self._connection.transport.abort()


def _raise_closed(error: ConnectionClosed) -> NoReturn:
    """Raise what the worker's close stands for: `OverloadedError`, `ConfigError` or `WorkerLostError`."""
    code, reason = (error.rcvd.code, error.rcvd.reason) if error.rcvd is not None else (1006, "")
    if code == NO_ROOM:
        raise OverloadedError("the worker has no room", retry_after_s=retry_after_s(reason)) from None
    if code in (BAD_TOKEN, BAD_MESSAGE):
        raise ConfigError(f"it refuses this front end: {reason}") from None
    raise WorkerLostError(f"the connection was closed with {code} {reason}".rstrip()) from None


def _difference(answer: FromWorker, hello: Hello) -> str:
    if not isinstance(answer, Welcome):
        return f"it did not answer as a worker of protocol {PROTOCOL} does"
    theirs, ours = f"streamer {answer.version}, protocol {answer.protocol}", f"{hello.version}, {PROTOCOL}"
    return f"it is {theirs}, and this front end is {ours}: run the same version on both"


class ConnectionPool:
    """Connections to one worker that are open before they are needed, each for one sentence at a time."""

    def __init__(self, open_connection: Callable[[], Awaitable[WorkerConnection]]) -> None:
        self._open = open_connection
        self._warm: list[WorkerConnection] = []
        self._in_use: set[WorkerConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_filling = False

    async def take(self) -> WorkerConnection:
        """Return a connection for one sentence. Raises what opening one does."""
        connection = None
        while self._warm and connection is None:
            warm = self._warm.pop()
            connection = warm if warm.is_open else None
        self.fill()
        if connection is None:
            connection = await self._open()
        self._in_use.add(connection)
        return connection

    def give_back(self, connection: WorkerConnection) -> None:
        """Keep a connection whose sentence has ended for another one."""
        self._in_use.discard(connection)
        if connection.is_open and len(self._warm) < MAX_WARM:
            self._warm.append(connection)
        else:
            self._start(connection.close)

    def discard(self, connection: WorkerConnection) -> None:
        """Close a connection in mid-sentence, without waiting for the worker."""
        self._in_use.discard(connection)
        self._start(connection.close)

    def fill(self) -> None:
        """Open what is missing of the warm connections, in the background."""
        if not self._is_filling and len(self._warm) < NUM_WARM:
            self._is_filling = True
            self._start(self._fill)

    def abort(self) -> None:
        """Cut every connection, those in use too: the worker does not answer."""
        for connection in (*self._warm, *self._in_use):
            connection.abort()
        self._warm.clear()

    async def aclose(self) -> None:
        """Close every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        connections = (*self._warm, *self._in_use)
        self._warm.clear()
        await asyncio.gather(*(connection.close() for connection in connections), return_exceptions=True)

    async def _fill(self) -> None:
        try:
            while len(self._warm) < NUM_WARM:
                self._warm.append(await self._open())
        finally:
            self._is_filling = False

    def _start(self, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            # A sentence that needs a connection is told what is wrong, and so is the log by the watch.
            with contextlib.suppress(ConfigError, OverloadedError, WorkerLostError, OSError):
                await work()

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
