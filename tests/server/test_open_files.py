"""A server that serves opens no file: it works on when a disk is full, or when no descriptor is left."""

from __future__ import annotations

import json
import sys

from tests.server.speaking import Running, configured, running

_watched: list[str] | None = None


def _note_open(event: str, arguments: tuple[object, ...]) -> None:
    if _watched is not None and event == "open":
        _watched.append(str(arguments[0]))


sys.addaudithook(_note_open)  # it cannot be removed, and does nothing unless a test watches


async def _serve_everything(server: Running) -> None:
    async with server.client() as client:
        await client.say("speak", id="a", text="Hello there.", encoding="opus")
        await client.until("done")
        await client.say("speak", id="b", text="Hello.", encoding="nonsense")
        await client.until("error")
        await client.say("speak", id="c", text="Hello there.", voice="../../etc/passwd")
        await client.until("error")
    for path in ("/", "/livez", "/readyz", "/metrics", "/v1/voices", "/v1/models", "/../etc/passwd", "/no"):
        await server.get(path)
    body = json.dumps({"text": "Hello there."}).encode()
    head = f"POST /v1/speech HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    await server.http(head + body)


async def test_no_file_is_opened_to_serve() -> None:
    """Sessions, utterances, mistakes, lists, probes and the page: what they need was read at the start.

    Linux tells the figures of the process, its memory for instance, in files of its own; they may be missing.
    """
    global _watched
    async with running(configured()) as server:
        await _serve_everything(server)  # what is imported on first use
        _watched = []
        try:
            await _serve_everything(server)
            opened, _watched = _watched, None
        finally:
            _watched = None
    assert set(opened) <= {"/proc/self/stat", "/proc/self/limits"}
