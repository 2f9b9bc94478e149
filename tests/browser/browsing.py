"""Support for the browser tests: a server that speaks tones, and a headless browser that opens its page."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from streamer.config import Config, LimitsConfig, ServerConfig
from streamer.server.app import Server
from tests.browser.firefox import firefox_page
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server import speaking

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
HAS_FIREFOX = FIREFOX is not None and shutil.which("pulseaudio") is not None
needs_firefox = pytest.mark.skipif(
    not HAS_FIREFOX, reason="no firefox and pulseaudio on this machine (Debian: firefox-esr pulseaudio)"
)

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP gpu-box 127.0.0.1",
]
PATIENCE_MS = 20_000


@contextlib.asynccontextmanager
async def serving(
    synthesizer: FakeSynthesizer | None = None,
    *,
    port: int = 0,
    limits: dict[str, Any] | None = None,
    may_have_clients: bool = False,
    **server_options: Any,
) -> AsyncIterator[Server]:
    """Run a server on a free port of this machine, which also answers as `gpu-box`, as if it were another.

    `may_have_clients`: it may end before its page is closed.
    """
    server_options.setdefault("allowed_origins", ("http://gpu-box",))
    config = replace(
        Config(),
        server=ServerConfig(port=port, **server_options),
        limits=LimitsConfig(**{"drain_timeout_s": 0.1} | (limits or {})),
    )
    synthesizer = synthesizer or FakeSynthesizer(speed=4.0)
    async with speaking.serving(synthesizer, config, may_have_clients=may_have_clients) as server:
        yield server


@contextlib.asynccontextmanager
async def browsing(url: str, browser: str = "chromium", **context_options: Any) -> AsyncIterator[Any]:
    """Yield a page in a fresh browser; an error in its scripts fails the test.

    `context_options` are Playwright's and for Chromium alone.
    """
    if browser == "firefox":
        assert FIREFOX is not None
        async with firefox_page(FIREFOX, url) as page:
            yield page
        return
    from playwright.async_api import async_playwright

    errors: list[str] = []
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        try:
            page = await (await chromium.new_context(**context_options)).new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.on("pageerror", lambda error: errors.append(str(error)))
            await page.goto(url)
            yield page
        finally:
            await chromium.close()
    assert not errors


async def until(page: Any, condition: str) -> None:
    """Wait until a JavaScript expression holds; `player` in it is the page's own account of its state."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_MS / 1000
    function = f"() => {{ const player = window.streamerPlayer; return {condition}; }}"
    while not await page.evaluate(function):
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"{condition} never came true: {await account(page)}")
        await asyncio.sleep(0.03)


async def account(page: Any) -> dict[str, Any]:
    """Return the page's own account of its state."""
    stats: dict[str, Any] = await page.evaluate("() => structuredClone(window.streamerPlayer)")
    return stats


async def speak(page: Any, text: str) -> None:
    """Type the text and press the button, as a person would."""
    await until(page, "player.connection === 'connected'")
    await page.fill("#text", text)
    await page.click("#speak")
