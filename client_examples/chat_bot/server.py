# /// script
# requires-python = ">=3.11"
# dependencies = ["websockets"]
# ///
"""A web chat whose replies are typed word by word, and spoken by streamer while they are typed.

One WebSocket leads to the page and one to streamer; the bot is between them. See README.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.http11 import Request, Response

PAGE = Path(__file__).with_name("index.html").read_bytes()
MAX_QUESTION_BYTES = 4096
VOICE_MESSAGES = ("started", "sentence_start", "done", "error")


async def reply(question: str) -> AsyncIterator[str]:
    """Yield the bot's reply in pieces, as it is written; put your language model here."""
    asked = question.lower()
    if "story" in asked:
        text = (
            "A bot once lived in a small box by the window. It wrote all day, and somebody read it aloud. "
            "When people laughed it wrote faster. When they spoke, it was silent and listened."
        )
    elif any(greeting in asked for greeting in ("hello", "hi ", "hey")):
        text = "Hello! It is good to hear from you. Ask me for a story, or tell me anything."
    else:
        text = f"You wrote: {question.strip()} I find that interesting. Shall I tell you a story?"
    for word in text.split():
        yield word + " "
        await asyncio.sleep(0.08)


class Chat:
    """Connects one page with its voice."""

    def __init__(self, page: ServerConnection, voice: ClientConnection) -> None:
        self._page = page
        self._voice = voice

    async def run(self) -> None:
        """Answer until the page is closed; a new question interrupts the reply that is being typed and spoken."""
        async with asyncio.TaskGroup() as tasks:
            relaying = tasks.create_task(self._relay())
            typing: asyncio.Task[None] | None = None
            number = 0
            async for question in self._page:
                if typing is not None:
                    typing.cancel()
                number += 1
                typing = tasks.create_task(self._answer(f"reply-{number}", str(question)))
            if typing is not None:
                typing.cancel()
            relaying.cancel()

    async def _answer(self, utterance: str, question: str) -> None:
        await self._say("start", id=utterance, interrupt=True)
        await self._show("reply", id=utterance)
        async for piece in reply(question):
            await self._show("piece", id=utterance, text=piece)
            await self._say("text", id=utterance, text=piece)
        await self._say("end", id=utterance)

    async def _relay(self) -> None:
        """Forward the sound to the page, with the messages that mark the begin and end of an utterance."""
        async for received in self._voice:
            if isinstance(received, bytes) or json.loads(received)["type"] in VOICE_MESSAGES:
                await self._page.send(received)
        await self._show("error", message="the connection to the voice is lost")
        await self._page.close(1011)

    async def _say(self, kind: str, **fields: Any) -> None:
        await self._voice.send(json.dumps({"type": kind, **fields}))

    async def _show(self, kind: str, **fields: Any) -> None:
        await self._page.send(json.dumps({"type": kind, **fields}))


def answer_http(_connection: ServerConnection, request: Request) -> Response | None:
    """Answer with the page at `/`; None lets a WebSocket of that page pass."""
    if request.path == "/":
        return http_response(HTTPStatus.OK, PAGE)
    if request.path != "/chat":
        return http_response(HTTPStatus.NOT_FOUND, b"there is nothing here")
    # Pages of other sites must not make this bot talk: scripts must come from the address they connect to.
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("Host"):
        return http_response(HTTPStatus.FORBIDDEN, b"not from this page")
    return None


def http_response(status: HTTPStatus, body: bytes) -> Response:
    headers = Headers({"Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(body))})
    return Response(status.value, status.phrase, headers, body)


async def run(host: str, port: int, url: str, key: str | None) -> None:
    # The page plays plain samples: that works in every browser, also on pages without https.
    address = url + "?framing=bare&encoding=pcm_s16le&lead_ms=1000"
    headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def chat(page: ServerConnection) -> None:
        try:
            async with connect(address, additional_headers=headers) as voice:
                await Chat(page, voice).run()
        except* ConnectionClosed:
            pass  # the page was closed while something was being sent to it
        except* (OSError, WebSocketException) as errors:
            message = f"no voice: {errors.exceptions[0]}"
            await page.send(json.dumps({"type": "error", "message": message}))

    async with serve(
        chat, host, port, process_request=answer_http, max_size=MAX_QUESTION_BYTES, compression=None
    ) as server:
        print(f"open http://{host}:{server.sockets[0].getsockname()[1]}/", flush=True)
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--url", default="ws://localhost:8765/v1/stream", help="the streamer server")
    parser.add_argument("--key", help="its API key, if it requires one; the page never sees it")
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(arguments.host, arguments.port, arguments.url, arguments.key))


if __name__ == "__main__":
    main()
