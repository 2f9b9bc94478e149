"""Support for the browser tests: a server that speaks tones, and a headless Chromium that opens its page."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from streamer.config import Config, LimitsConfig, ServerConfig
from streamer.server.app import Server
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server import speaking

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
    synthesizer: FakeSynthesizer | None = None, *, port: int = 0, **server_options: Any
) -> AsyncIterator[Server]:
    """Run a server on a free port of this machine."""
    config = replace(
        Config(),
        server=ServerConfig(port=port, **server_options),
        limits=LimitsConfig(drain_timeout_s=0.1),
    )
    async with speaking.serving(synthesizer or FakeSynthesizer(speed=4.0), config) as server:
        yield server


@contextlib.asynccontextmanager
async def browsing(url: str, **context_options: Any) -> AsyncIterator[Any]:
    """Yield a page in a fresh Chromium; an error in its scripts fails the test."""
    from playwright.async_api import async_playwright

    errors: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        try:
            page = await (await browser.new_context(**context_options)).new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.on("pageerror", lambda error: errors.append(str(error)))
            await page.goto(url)
            yield page
        finally:
            await browser.close()
    assert not errors


async def until(page: Any, condition: str) -> None:
    """Wait until a JavaScript expression holds; `player` in it is the page's own account of its state."""
    await page.wait_for_function(f"() => {{ const player = window.streamerPlayer; return {condition}; }}")


async def account(page: Any) -> dict[str, Any]:
    """Return the page's own account of its state."""
    stats: dict[str, Any] = await page.evaluate("() => structuredClone(window.streamerPlayer)")
    return stats


async def speak(page: Any, text: str) -> None:
    """Type the text and press the button, as a person would."""
    await until(page, "player.connection === 'connected'")
    await page.fill("#text", text)
    await page.click("#speak")
