"""The page in a real browser speaks, plays and stops, by both ways to the loudspeaker."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any

import pytest

from streamer.errors import EngineError
from tests.browser.browsing import account, browsing, needs_firefox, serving, speak, until
from tests.fakes.synthesizer import FakeSynthesizer

TEXT = "Hello there, this is a first sentence. And this one is the second."
LONG_TEXT = "This is one of very many sentences. " * 40
ADDRESSES = {
    "opus": "http://localhost:{port}/",
    "wasm": "http://localhost:{port}/?path=wasm",
    "pcm": "http://localhost:{port}/?path=pcm",
    "wasm on a plain origin": "http://gpu-box:{port}/",
}
BROWSERS = pytest.mark.parametrize(
    ("browser", "way"),
    [
        *(("chromium", way) for way in ADDRESSES),
        pytest.param("firefox", "opus", marks=needs_firefox),
        pytest.param("firefox", "wasm on a plain origin", marks=needs_firefox),
    ],
)


def assert_heard_as_announced(stats: dict[str, Any], way: str) -> None:
    """Check that the sound is not silent, and has as many samples as `done` announced."""
    done = stats["done"][-1]
    assert done["reason"] == "completed" and stats["path"] == way.split()[0]
    assert stats["loudestRms"] > 0.05
    assert stats["playedSamples"] == pytest.approx(
        done["audio_ms"] * stats["sampleRate"] / 1000, abs=stats["sampleRate"] / 1000 + 1
    )
    assert stats["receivedMs"] >= done["audio_ms"] - 1 and stats["gaps"] == 0


@BROWSERS
async def test_what_is_typed_is_heard(browser: str, way: str) -> None:
    """Speak plays all samples of the announced length, no silence, and the page shows when the sound began."""
    async with serving() as server, browsing(ADDRESSES[way].format(port=server.port), browser) as page:
        await speak(page, TEXT)
        await until(page, "player.state === 'playing' && player.rms > 0.05")
        assert await page.is_enabled("#stop")
        assert (await account(page))["word"] in TEXT.split()
        await until(page, "player.state === 'idle' && player.done.length === 1")
        stats = await account(page)
        assert_heard_as_announced(stats, way)
        assert stats["firstAudioMs"] > 0 and await page.is_disabled("#stop")
        assert (await page.inner_text("#first-audio")).startswith(f"{stats['firstAudioMs']} ms")


@BROWSERS
async def test_stop_is_silence_at_once_and_one_done(browser: str, way: str) -> None:
    """In the middle of a long text Stop silences the page, and the server ends that utterance once."""
    synthesizer = FakeSynthesizer(speed=4.0)
    async with (
        serving(synthesizer) as server,
        browsing(ADDRESSES[way].format(port=server.port), browser) as page,
    ):
        await speak(page, LONG_TEXT)
        await until(page, "player.state === 'playing' && player.playedMs > 300 && player.rms > 0.05")
        await page.click("#stop")
        await until(page, "player.state === 'idle' && player.done.length > 0")
        await until(page, "player.rms < 0.001")
        stopped = await account(page)
        await page.wait_for_timeout(400)
        later = await account(page)
        assert later["playedSamples"] == stopped["playedSamples"] and later["rms"] < 0.001
        (done,) = later["done"]
        assert done["reason"] == "cancelled" and LONG_TEXT.startswith(done["heard"]["text"])
        assert synthesizer.num_open == 0


@BROWSERS
async def test_speaking_again_takes_the_place_of_the_first(browser: str, way: str) -> None:
    """A second Speak silences the first, whose end is `cancelled`, and is heard to its end."""
    async with serving() as server, browsing(ADDRESSES[way].format(port=server.port), browser) as page:
        await speak(page, LONG_TEXT)
        await until(page, "player.state === 'playing' && player.playedMs > 100")
        await speak(page, TEXT)
        await until(page, "player.state === 'idle' && player.done.length === 2")
        stats = await account(page)
        assert stats["done"][0]["reason"] == "cancelled"
        assert_heard_as_announced(stats, way)


@pytest.mark.parametrize(
    ("browser", "way"),
    [
        ("chromium", "opus"),
        ("chromium", "wasm on a plain origin"),
        pytest.param("firefox", "opus", marks=needs_firefox),
    ],
)
async def test_a_slow_model_makes_pauses_and_no_end(browser: str, way: str) -> None:
    """If sound is made too slowly, the page waits, counts the underrun, and plays to the last sample."""
    synthesizer = FakeSynthesizer(speed=0.6)
    async with (
        serving(synthesizer) as server,
        browsing(ADDRESSES[way].format(port=server.port), browser) as page,
    ):
        await speak(page, "This is made more slowly than it is heard.")
        await until(page, "player.state === 'idle' && player.done.length === 1")
        stats = await account(page)
        assert stats["underruns"] > 0
        assert_heard_as_announced(stats, way)


async def test_a_text_beyond_one_message_is_spoken_whole() -> None:
    """The page cuts a text at the announced limit, and not within a character."""
    text = "ha 😀 ha " * 320
    async with (
        serving(FakeSynthesizer(ms_per_char=1.0)) as server,
        browsing(ADDRESSES["opus"].format(port=server.port)) as page,
    ):
        await speak(page, text)
        await until(page, "player.done.length === 1")
        assert (await account(page))["done"][0]["characters"] == len(text)


async def test_a_text_beyond_what_the_server_takes_at_once_is_spoken_whole() -> None:
    """Of a text that is longer than the server's buffer, the page sends as much as the server may hold."""
    text = "A sentence 😀 of a few words it is. " * 12
    async with (
        serving(FakeSynthesizer(), limits={"max_buffered_chars": 100, "max_text_chars": 40}) as server,
        browsing(ADDRESSES["opus"].format(port=server.port)) as page,
    ):
        await speak(page, text)
        await until(page, "player.done.length === 1")
        done = (await account(page))["done"][0]
        assert done["reason"] == "completed" and done["characters"] == len(text)
        assert await page.is_hidden("#error")


async def test_the_page_says_what_the_model_cannot_do() -> None:
    """Tags and letters beyond the model's abilities are named while they are typed, and only those."""
    async with serving() as server, browsing(f"http://localhost:{server.port}/") as page:
        await until(page, "player.connection === 'connected'")
        await page.fill("#text", "Well [laughs] that was funny.")
        assert "[laughs]" in await page.inner_text("#notes")
        await page.fill("#text", "Привет!")
        assert "Cyrillic" in await page.inner_text("#notes")
        await page.fill("#text", "A plain sentence.")
        assert await page.inner_text("#notes") == ""


async def test_the_page_shows_what_is_to_be_known_of_the_model() -> None:
    """A model's note is shown as text, even if it holds HTML, and without a note nothing is shown."""
    note = "A first <b>version</b>: not every word can be understood."
    async with (
        serving(FakeSynthesizer(note=note)) as server,
        browsing(f"http://localhost:{server.port}/") as page,
    ):
        await until(page, "!document.getElementById('model-note').hidden")
        assert await page.inner_text("#model-note") == note
        assert "fake" in await page.inner_text("#model")
    async with serving() as server, browsing(f"http://localhost:{server.port}/") as page:
        await until(page, "document.querySelectorAll('#voice option').length === 2")
        await page.wait_for_load_state("networkidle")
        assert await page.is_hidden("#model-note")


async def test_a_failure_is_shown() -> None:
    """When the model fails the message is on the page, and the next text is spoken."""
    synthesizer = FakeSynthesizer(speed=4.0)
    synthesizer.fail_on["broken"] = EngineError("the model stumbled")
    async with serving(synthesizer) as server, browsing(f"http://localhost:{server.port}/") as page:
        await speak(page, "This is broken.")
        await until(page, "player.state === 'idle' && player.done.length === 1")
        assert "the model stumbled" in await page.inner_text("#error")
        await speak(page, TEXT)
        await until(page, "player.state === 'idle' && player.done.length === 2")
        assert await page.is_hidden("#error")
        assert_heard_as_announced(await account(page), "opus")


async def test_the_connection_comes_back_by_itself() -> None:
    """When the server stops, the page says so, and when it is back, the page works as before."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with contextlib.AsyncExitStack() as stack:
        async with serving(port=port, may_have_clients=True):
            page = await stack.enter_async_context(browsing(f"http://localhost:{port}/"))
            await until(page, "player.connection === 'connected'")
        await until(page, "player.connection !== 'connected'")
        assert await page.is_disabled("#speak")
        await stack.enter_async_context(serving(port=port, may_have_clients=True))
        await speak(page, TEXT)
        await until(page, "player.state === 'idle' && player.done.length === 1")
        assert_heard_as_announced(await account(page), "opus")


async def test_a_key_is_asked_for_and_kept(tmp_path: Any) -> None:
    """If a key is needed, the page asks for it, and speaks once it has it."""
    keys = tmp_path / "keys"
    keys.write_text("open-sesame-1234567890\n")
    async with serving(api_keys_file=keys) as server, browsing(f"http://localhost:{server.port}/") as page:
        await page.fill("#key", "open-sesame-1234567890")
        await page.press("#key", "Enter")
        await speak(page, TEXT)
        await until(page, "player.state === 'idle' && player.done.length === 1")
        assert_heard_as_announced(await account(page), "opus")


async def test_the_page_is_whole_without_the_network() -> None:
    """Nothing is loaded from elsewhere, and every voice is on offer with the default chosen."""
    requested: list[str] = []
    async with serving() as server, browsing("about:blank") as page:
        page.on("request", lambda request: requested.append(request.url))
        await page.goto(f"http://localhost:{server.port}/")
        await until(page, "document.querySelectorAll('#voice option').length === 2")
        assert await page.input_value("#voice") == "tone"
        assert requested and all(url.startswith(f"http://localhost:{server.port}/") for url in requested)
        assert json.dumps(await account(page))


async def test_a_phone_sees_it_all() -> None:
    """On a narrow screen nothing is cut off at the side, and the buttons are big enough for a thumb."""
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
    async with serving() as server, browsing(f"http://localhost:{server.port}/", **phone) as page:
        assert await page.evaluate("() => document.documentElement.scrollWidth") <= 360
        for button in ("#listen", "#speak", "#stop"):
            box = await page.locator(button).bounding_box()
            assert box["height"] >= 44 and box["width"] >= 88


async def test_a_voice_is_listened_to_in_its_language() -> None:
    """Voices are listed by language; Listen has the chosen one say a sentence in it, and does not change the text."""
    synthesizer = FakeSynthesizer(
        speed=4.0,
        languages=("en", "de"),
        voices=("v2/en_speaker_6", "v2/de_speaker_3", "en_speaker_0", "marie"),
    )
    async with serving(synthesizer) as server, browsing(ADDRESSES["opus"].format(port=server.port)) as page:
        await until(page, "player.connection === 'connected' && document.querySelector('optgroup')")
        groups = await page.eval_on_selector_all(
            "#voice optgroup", "groups => groups.map(g => [g.label, ...[...g.children].map(o => o.value)])"
        )
        assert groups == [
            ["English", "v2/en_speaker_6", "en_speaker_0"],
            ["German", "v2/de_speaker_3"],
            ["Other voices", "marie"],
        ]
        assert await page.input_value("#voice") == "v2/en_speaker_6"
        await page.fill("#text", TEXT)
        for voice, word in (("v2/de_speaker_3", "Hallo"), ("marie", "Hello")):
            synthesizer.requests.clear()
            await page.select_option("#voice", voice)
            await page.click("#listen")
            await until(page, "player.state === 'idle' && player.done.length > 0")
            assert {request.voice for request in synthesizer.requests} == {voice}
            assert synthesizer.requests[0].text.startswith(word)
            stats = await account(page)
            assert_heard_as_announced(stats, "opus")
            await page.evaluate("() => (window.streamerPlayer.done.length = 0)")
        assert await page.input_value("#text") == TEXT


async def test_voices_of_one_language_stand_in_one_list() -> None:
    """Voices of a single language are not grouped."""
    async with serving() as server, browsing(ADDRESSES["opus"].format(port=server.port)) as page:
        await until(
            page, "player.connection === 'connected' && document.getElementById('voice').length === 2"
        )
        assert await page.locator("#voice optgroup").count() == 0
        await page.click("#listen")
        await until(page, "player.done.length === 1")
