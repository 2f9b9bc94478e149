"""Contracts of `client_examples/chat_bot/`, with a program and with Chromium as its page."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import shutil
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tests.client_examples.example_runs import line_with, started, url
from tests.server.speaking import running

HAS_BROWSER = shutil.which("chromium") is not None and importlib.util.find_spec("playwright") is not None


@contextlib.asynccontextmanager
async def chatting() -> AsyncIterator[str]:
    """Run the chat server; yield its host and port."""
    async with running() as server, started("chat_bot/server.py", "--port", 0, *url(server)) as process:
        yield (await line_with(process, "open http://")).partition("//")[2].strip().rstrip("/")


async def until_done(page: ClientConnection) -> tuple[list[dict[str, Any]], bytes]:
    """Receive everything up to the end of the next utterance."""
    messages: list[dict[str, Any]] = []
    sound = b""
    async with asyncio.timeout(20):
        async for received in page:
            if isinstance(received, bytes):
                sound += received
                continue
            messages.append(json.loads(received))
            if messages[-1]["type"] in ("done", "error"):
                break
    return messages, sound


async def test_a_reply_is_typed_and_spoken() -> None:
    """The words come one by one, and the sound has their length and begins before the last word."""
    async with chatting() as address, connect(f"ws://{address}/chat", proxy=None) as page:
        await page.send("hello there")
        messages, sound = await until_done(page)
    kinds = [message["type"] for message in messages]
    text = "".join(message["text"] for message in messages if message["type"] == "piece")
    assert text.startswith("Hello!")
    assert kinds.index("sentence_start") < len(kinds) - 1 - kinds[::-1].index("piece")
    samples = np.frombuffer(sound, "<i2") / 32_768
    assert len(samples) / 24 == pytest.approx(messages[-1]["audio_ms"], abs=1)
    assert len(samples) / 24_000 == pytest.approx(0.02 * len(text), abs=1.2)
    assert np.abs(samples).max() > 0.1


async def test_writing_again_interrupts() -> None:
    """The first reply ends `cancelled`, with what was heard of it, and the second is spoken whole."""
    async with chatting() as address, connect(f"ws://{address}/chat", proxy=None) as page:
        await page.send("a story please")
        await asyncio.sleep(1)
        await page.send("hello")
        first, _ = await until_done(page)
        second, _ = await until_done(page)
    assert (first[-1]["id"], first[-1]["reason"]) == ("reply-1", "cancelled")
    assert (second[-1]["id"], second[-1]["reason"]) == ("reply-2", "completed")


async def test_other_pages_may_not_make_it_talk() -> None:
    """A script of another origin is refused."""
    async with chatting() as address:
        with pytest.raises(InvalidStatus, match="403"):
            await connect(f"ws://{address}/chat", proxy=None, origin="http://elsewhere")


@pytest.mark.browser
@pytest.mark.skipif(not HAS_BROWSER, reason="no chromium, or no playwright, on this machine")
async def test_the_page_shows_and_plays_the_reply() -> None:
    """In a browser a question is typed, the reply appears, and the page receives its sound."""
    from tests.browser.browsing import browsing

    async with chatting() as address, browsing(f"http://{address}/") as page:
        await page.fill("#question", "hello")
        await page.press("#question", "Enter")
        await page.wait_for_function("() => document.querySelector('.bot small')?.textContent")
        assert (await page.text_content(".bot span")).startswith("Hello!")
        spoken = await page.text_content(".bot small")
    assert 0.5 < float(spoken.removeprefix("spoken: ").removesuffix(" s")) < 5
