# /// script
# requires-python = ">=3.11"
# dependencies = ["websockets"]
# ///
"""Answers telephone calls: greets the caller, speaks a reply word by word, and is interrupted by the telephone's keys.

Give this program's address as the webhook of a Twilio or Telnyx (TeXML) number, by POST. It answers with a document
that connects the call to the speech server, and then writes into the call:

    python phone_call.py --stream-url wss://speech.example.com/v1/telephony --port 8080

Both addresses must be reached from the internet, the speech server's by TLS. What a caller hears is up to `replies_to`.
The example does not check that it is the vendor who asks: see "signature" in their documentation.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, quote
from xml.sax.saxutils import quoteattr

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

GREETING = "Hello. Press one for the weather, two for the time, or nine to hang up."
REPLIES = {
    "1": "It is sunny, and it stays that way until the evening. Tomorrow there will be clouds, and some rain at noon.",
    "2": "It is twelve o'clock.",
    "9": "Goodbye.",
}


def document(stream_url: str, key: str) -> str:
    """Return what the vendor does with the call: connect it to the speech server, with the key as a parameter."""
    parameter = f"<Parameter name='token' value={quoteattr(key)}/>" if key else ""
    attributes = (
        f"url={quoteattr(stream_url)} bidirectionalMode='rtp' codec='PCMU'"  # Twilio ignores the last two
    )
    return f"<?xml version='1.0'?><Response><Connect><Stream {attributes}>{parameter}</Stream></Connect></Response>"


async def words_of(text: str) -> AsyncIterator[str]:
    """Yield a text as a language model writes it."""
    for word in text.split():
        yield word + " "
        await asyncio.sleep(0.05)


async def say(call: ClientConnection, text: str, mark: str) -> None:
    """Write a text into the call; the mark comes back when it has been heard."""
    with contextlib.suppress(ConnectionClosed):  # the caller may hang up at any time
        async for piece in words_of(text):
            await call.send(json.dumps({"event": "text", "text": piece}))
        await call.send(json.dumps({"event": "mark", "mark": {"name": mark}}))


async def replies_to(digit: str) -> str:
    """Return what to say when a key was pressed."""
    return REPLIES.get(digit, "Sorry, there is nothing behind that key.")


async def drive(call_sid: str, stream_url: str, key: str) -> None:
    """Drive one call until it is over."""
    url = f"{stream_url.rstrip('/')}/calls/{quote(call_sid, safe='')}"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    saying: asyncio.Task[None] | None = None
    async with connect(url, additional_headers=headers) as call, asyncio.TaskGroup() as tasks:
        async for received in call:
            message = json.loads(received)
            match message["event"]:
                case "start":
                    print(f"{call_sid}: connected", flush=True)
                    saying = tasks.create_task(say(call, GREETING, "greeting"))
                case "dtmf":
                    digit = message["dtmf"]["digit"]
                    print(f"{call_sid}: key {digit}", flush=True)
                    if saying is not None:
                        saying.cancel()
                    await call.send(json.dumps({"event": "clear"}))
                    saying = tasks.create_task(say(call, await replies_to(digit), f"reply {digit}"))
                case "mark":
                    print(f"{call_sid}: heard {message['mark']['name']}", flush=True)
                    if message["mark"]["name"] == "reply 9" and saying is not None and saying.done():
                        await call.send(json.dumps({"event": "stop"}))
                case "error":
                    print(f"{call_sid}: {message['error']['message']}", file=sys.stderr, flush=True)
        if saying is not None:
            saying.cancel()
    print(f"{call_sid}: over", flush=True)


def webhook(stream_url: str, key: str, loop: asyncio.AbstractEventLoop) -> type[BaseHTTPRequestHandler]:
    """Return what answers the vendor's requests; each starts a call on the event loop."""

    async def guarded(driving: Coroutine[Any, Any, None], call_sid: str) -> None:
        try:
            await driving
        except Exception as error:  # one call must not end the others
            print(f"{call_sid}: {error}", file=sys.stderr, flush=True)

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"] or 0)).decode())
            if "CallSid" not in form:
                self.send_error(HTTPStatus.BAD_REQUEST, "the form has no CallSid")
                return
            (call_sid,) = form["CallSid"]
            asyncio.run_coroutine_threadsafe(guarded(drive(call_sid, stream_url, key), call_sid), loop)
            body = document(stream_url, key).encode()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    return Webhook


async def serve(arguments: argparse.Namespace) -> None:
    handler = webhook(arguments.stream_url, arguments.key, asyncio.get_running_loop())
    with ThreadingHTTPServer((arguments.host, arguments.port), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        print(f"webhook: http://{arguments.host}:{server.server_port}/", flush=True)
        try:
            await asyncio.Event().wait()
        finally:
            server.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--stream-url", default="ws://localhost:8765/v1/telephony", help="the speech server's"
    )
    parser.add_argument(
        "--key", default=os.environ.get("STREAMER_KEY", ""), help="its API key, if it needs one"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on")
    try:
        asyncio.run(serve(parser.parse_args()))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        sys.exit(f"phone_call: {error}")


if __name__ == "__main__":
    main()
