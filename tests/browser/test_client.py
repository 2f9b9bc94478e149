"""`streamer-client.js` in a real browser, without the page: its queue, and what a lost connection leaves to say."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest

from tests.browser.browsing import browsing, needs_firefox, serving
from tests.fakes.synthesizer import FakeSynthesizer

BROWSERS = pytest.mark.parametrize("browser", ["chromium", pytest.param("firefox", marks=needs_firefox)])
CREATE = """async () => {
    const { StreamerClient } = await import(new URL("player/streamer-client.js", location.href));
    window.client = new StreamerClient();
    window.heard = [];
    window.outcomes = [];
    window.say = (text, settings) => {
      const utterance = client.speak(text, settings);
      utterance.addEventListener("sentence", ({ detail }) => heard.push(detail.text));
      utterance.finished.then((outcome) => outcomes.push({ ...outcome, receivedMs: utterance.receivedMs }));
      return utterance;
    };
    await client.connect();
}"""


async def outcomes(page: Any, number: int) -> list[dict[str, Any]]:
    await page.wait_for_function(f"() => window.outcomes.length === {number}")
    result: list[dict[str, Any]] = await page.evaluate("() => window.outcomes")
    return result


@BROWSERS
async def test_what_is_queued_is_heard_one_after_the_other(browser: str) -> None:
    """Of three that are spoken at once, each is heard whole, in order."""
    async with serving() as server, browsing(f"http://localhost:{server.port}/", browser) as page:
        await page.evaluate(CREATE)
        await page.evaluate("() => { say('The first one.'); say('The second one.'); say('The third.'); }")
        for outcome in await outcomes(page, 3):
            assert outcome["reason"] == "completed"
            assert outcome["receivedMs"] > 100
            assert outcome["playedMs"] == pytest.approx(outcome["receivedMs"], abs=1)
        assert await page.evaluate("() => heard") == ["The first one.", "The second one.", "The third."]


async def test_what_is_queued_is_cancelled_together_or_alone() -> None:
    """A cancelled utterance leaves the queue, and the others are heard."""
    async with serving() as server, browsing(f"http://localhost:{server.port}/") as page:
        await page.evaluate(CREATE)
        await page.evaluate(
            "() => { say('The first one.'); say('The second.').cancel(); say('The third.'); }"
        )
        reasons = [outcome["reason"] for outcome in await outcomes(page, 3)]
        assert sorted(reasons) == ["cancelled", "completed", "completed"]
        assert await page.evaluate("() => heard") == ["The first one.", "The third."]
        await page.evaluate("() => { say('The fourth.'); say('The fifth.'); client.cancel(); }")
        assert [outcome["reason"] for outcome in await outcomes(page, 5)][3:] == ["cancelled", "cancelled"]


@BROWSERS
async def test_after_a_lost_connection_the_rest_is_spoken(browser: str) -> None:
    """If the server is stopped in mid-speech and comes back, all of the text is heard, and in order."""
    sentences = [
        f"This is sentence number {word}." for word in ("one", "two", "three", "four", "five", "six")
    ]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with contextlib.AsyncExitStack() as stack:
        async with serving(FakeSynthesizer(speed=2.0, ms_per_char=40.0), port=port, may_have_clients=True):
            page = await stack.enter_async_context(browsing(f"http://localhost:{port}/", browser))
            await page.evaluate(CREATE)
            await page.evaluate(f"() => {{ say({' '.join(sentences)!r}); }}")
            await page.wait_for_function("() => heard.length === 2")
        await page.wait_for_function("() => client.state !== 'connected'")
        await stack.enter_async_context(serving(port=port, may_have_clients=True))
        (outcome,) = await outcomes(page, 1)
        heard = await page.evaluate("() => heard")
    assert outcome["reason"] == "completed"
    assert outcome["playedMs"] == pytest.approx(outcome["receivedMs"], abs=1)
    once = [text for place, text in enumerate(heard) if place == 0 or heard[place - 1] != text]
    assert once == sentences  # the one that was cut may have been heard twice
