"""The process that a command runs in: its standard streams, its signals, and its end; `cli` uses it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final, NoReturn

EXIT_INTERRUPTED: Final = 130
"""What a shell reports of a command that SIGINT ended."""
SWITCH_INTERVAL_S: Final = 0.0005
"""How long the event loop may keep the engine's thread waiting for the interpreter, in seconds; Python's own is 0.005.

The engine needs the interpreter after every step: with four clients that start at once on two cores, underruns are a
quarter shorter."""
WRITE_TIMEOUT_S: Final = 1.0
"""How long a last line to standard error may take, if nobody reads it."""
_STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_standard_streams() -> None:
    """Have the standard streams that were closed lead nowhere.

    A socket that was given the number of one of them would be taken for it.
    """
    for descriptor, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115


def tell(line: str) -> None:
    """Print a line for whoever reads standard output, which nobody has to."""
    try:
        print(line, flush=True)
    except OSError:
        _discard(sys.stdout.fileno())


def complain(line: str) -> None:
    """Write a line to standard error, if it is read."""
    writing = threading.Thread(target=_write_error, args=(line,), daemon=True)
    writing.start()
    writing.join(WRITE_TIMEOUT_S)


def leave(status: int, *, at_once: bool) -> NoReturn:
    """End the process with this status; `at_once` waits for no thread, which may be inside of C++ or hang."""
    logging.shutdown()
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _discard(sys.stdout.fileno())
    if at_once or any(thread.name == _WRITER for thread in threading.enumerate()):
        os._exit(status)
    sys.exit(status)


@contextlib.contextmanager
def ending_at_once(line: str) -> Iterator[Callable[[int], None]]:
    """End the process at once on SIGTERM (status 0) and SIGINT, and ignore SIGHUP, until the block installs its own.

    No exception is raised, because it would come out of the middle of a library, or be lost there, and wait for threads
    that compile. What is yielded ends the process for a signal: an event loop must be given it, because a signal that
    reaches another thread does not wake it.
    """
    data = f"streamer: {line}\n".encode()
    if sys.stderr.isatty():
        data = b"\r\x1b[K\x1b[?25h" + data  # over the spinner, which hides the cursor

    def end(number: int, _frame: FrameType | None = None) -> None:
        with contextlib.suppress(OSError):
            os.write(2, data)
        os._exit(0 if number == signal.SIGTERM else EXIT_INTERRUPTED)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield end
    finally:
        for number, action in before.items():
            signal.signal(number, action)


_WRITER: Final = "last words"


def _write_error(line: str) -> None:
    threading.current_thread().name = _WRITER
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def _discard(descriptor: int) -> None:
    """Have a stream lead nowhere from now on: what it still holds would fail again at the end of the process."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
