"""Which calls there are, and which programs drive them: what the sessions of both share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from streamer.errors import OverloadedError
from streamer.server.mailbox import Mailbox
from streamer.server.telephony.messages import Call, Message

MAX_DRIVERS: Final = 4
"""Programs that may drive one call."""


@dataclass(frozen=True, slots=True)
class CallStarted:
    """To a program that was there before its call."""

    call: RunningCall


@dataclass(frozen=True, slots=True)
class CallOver:
    """The last message to a program: its call is over."""


Driver = Mailbox[str | CallStarted | CallOver]
"""What a program that drives a call is told: frames to send, and the beginning and the end of the call."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A program asks something of a call."""

    message: Message
    driver: Driver


@dataclass(eq=False, slots=True)
class RunningCall:
    """A call from its `start` to its end. `owner`: the name of the key that it came with; None without keys."""

    call: Call
    owner: str | None = None
    mailbox: Mailbox[Asked] = field(default_factory=Mailbox)
    drivers: list[Driver] = field(default_factory=list)

    @property
    def sids(self) -> tuple[str, ...]:
        """The names under which programs find the call."""
        return tuple({sid: None for sid in (self.call.stream_sid, self.call.call_sid) if sid is not None})


_Name = tuple[str | None, str]
"""A call's owner, and one of its names."""


class Calls:
    """The calls of a server, each owner's by themselves: a key finds no call of another.

    A program may come before its call, and waits for it under one of its names.
    """

    def __init__(self) -> None:
        self._running: dict[_Name, RunningCall] = {}
        self._waiting: dict[_Name, list[Driver]] = {}

    def begin(self, running: RunningCall) -> list[Driver]:
        """Add a call; returns the programs that wait for it. A later call takes the name of an earlier one."""
        waiting: list[Driver] = []
        for sid in running.sids:
            self._running[running.owner, sid] = running
            waiting += self._waiting.pop((running.owner, sid), [])
        return waiting

    def end(self, running: RunningCall) -> None:
        """Forget a call, and tell the programs that drive it."""
        for sid in running.sids:
            if self._running.get((running.owner, sid)) is running:
                del self._running[running.owner, sid]
        for driver in running.drivers:
            driver.put_last(CallOver())
        running.drivers.clear()

    def find(self, owner: str | None, sid: str) -> RunningCall | None:
        """Return the owner's call of this name."""
        return self._running.get((owner, sid))

    def join(self, running: RunningCall, driver: Driver) -> None:
        """Let a program drive a call. Raises `OverloadedError` if too many do."""
        if len(running.drivers) >= MAX_DRIVERS:
            raise OverloadedError(f"{MAX_DRIVERS} programs drive this call, no more may")
        running.drivers.append(driver)

    def wait_for(self, owner: str | None, sid: str, driver: Driver) -> None:
        """Let a program wait for the owner's call of this name."""
        self._waiting.setdefault((owner, sid), []).append(driver)

    def leave(self, owner: str | None, sid: str, running: RunningCall | None, driver: Driver) -> None:
        """Forget a program, whether it waits for its call or drives it."""
        waiting = [other for other in self._waiting.pop((owner, sid), []) if other is not driver]
        if waiting:
            self._waiting[owner, sid] = waiting
        if running is not None and driver in running.drivers:
            running.drivers.remove(driver)
