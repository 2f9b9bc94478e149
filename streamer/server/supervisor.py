"""What the server tells systemd that has started it: when it is ready, what it does, that it lives, and that it stops.

This is the protocol of sd_notify(3): lines in datagrams to the socket that NOTIFY_SOCKET names. Without that variable
nothing is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final

logger = logging.getLogger(__name__)
SHOW_INTERVAL_S: Final = 0.25
"""How often the state of a server that starts is looked at."""
MAX_LINE_CHARS: Final = 512
"""Code points of a state beyond which it is cut: a datagram has to hold it."""
_US_PER_S: Final = 1_000_000


class Supervisor:
    """The other side of NOTIFY_SOCKET, if there is one. No method waits or raises: a server needs no supervisor."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """`environ`: the variables of the process, of which NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are read."""
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._watchdog_s: float | None = None
        if environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            with contextlib.suppress(ValueError):
                self._watchdog_s = int(environ.get("WATCHDOG_USEC", "")) / _US_PER_S
        self._pinged_s = float("-inf")
        self._shown = ""

    def ready(self) -> None:
        """Tell that the server can be used."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """Tell that the server is about to end."""
        self._tell("STOPPING=1")

    def ping(self) -> None:
        """Tell that the event loop runs, twice as often as the watchdog asks for; call this more often than that."""
        now_s = time.monotonic()
        if self._watchdog_s is not None and now_s >= self._pinged_s + self._watchdog_s / 2:
            self._pinged_s = now_s
            self._tell("WATCHDOG=1")

    def show(self, state: str, reasons: Sequence[str]) -> None:
        """Have `systemctl status` show the state and the reasons for it."""
        line = " ".join(f"{state}: {', '.join(reasons)}".rstrip(": ").split())[:MAX_LINE_CHARS]
        if line != self._shown:
            self._shown = line
            self._tell(f"STATUS={line}")

    @contextlib.asynccontextmanager
    async def showing(self, state: Callable[[], tuple[str, Sequence[str]]]) -> AsyncIterator[None]:
        """Show the state as it changes within the block."""

        async def show() -> None:
            while True:
                self.show(*state())
                await asyncio.sleep(SHOW_INTERVAL_S)

        showing = asyncio.get_running_loop().create_task(show())
        try:
            yield
        finally:
            showing.cancel()
            self.show(*state())

    def _tell(self, line: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
                sending.setblocking(False)
                sending.sendto(line.encode(errors="replace"), address)
        except OSError as error:
            logger.debug("the supervisor was not told", extra={"line": line, "reason": str(error)})
