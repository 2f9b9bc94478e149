"""How a session ends: who asks for it, and the exception that carries it out; `session` and `app` use them."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.errors import StreamerError


@dataclass(frozen=True, slots=True)
class CloseRequest:
    """Why and how a session is to end.

    With an `error` its utterances fail at once, and the protocol chooses the close code. Otherwise they may finish
    within `grace_s`.
    """

    code: int
    reason: str
    error: StreamerError | None = None
    grace_s: float = 0.0


class StoppedError(StreamerError):
    """The server stopped before the utterance had ended."""

    code = "cancelled"
    retryable = True

    def __init__(self) -> None:
        super().__init__("the server stops; ask again", retry_after_s=1.0)


class SessionClosed(Exception):
    """Raised inside the session's task group to end it with a close code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def first_closed(group: BaseExceptionGroup[SessionClosed]) -> SessionClosed:
    """Return the exception that ended the session first."""
    while isinstance(group.exceptions[0], BaseExceptionGroup):
        group = group.exceptions[0]
    return group.exceptions[0]
