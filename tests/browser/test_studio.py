"""What the page offers beside Speak and Stop: marked words, settings, the same again, files, live typing, programs."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest

from streamer.sampling import CoarseLimits
from streamer.server.app import Server
from streamer.synthesis import ModelInfo
from tests.browser.browsing import account, browsing, serving, speak, until
from tests.fakes.synthesizer import FakeSynthesizer

TEXT = "Hello there, this is a first sentence. And this one is the second."


def address(server: Server, query: str = "") -> str:
    return f"http://localhost:{server.port}/{query}"


def sent(page: Any) -> list[dict[str, Any]]:
    """Return a list that grows by every message that the page sends."""
    messages: list[dict[str, Any]] = []

    def listen(socket: Any) -> None:
        socket.on("framesent", lambda payload: messages.append(json.loads(payload)))

    page.on("websocket", listen)
    return messages


def starts(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in messages if message["type"] == "start"]


async def spoken(page: Any, num_done: int = 1) -> None:
    await until(page, f"player.state === 'idle' && player.done.length === {num_done}")


async def test_words_are_marked_while_they_are_heard() -> None:
    """Each word is marked once, in order, in the text as it stands in the box, which can still be edited."""
    text = "Ça va, 😀 naïve Zoë? Yes,  two\nlines it is."
    async with serving(FakeSynthesizer(ms_per_char=60.0)) as server, browsing(address(server)) as page:
        await page.evaluate(
            """() => {
                window.marked = [];
                const { get, set } = Object.getOwnPropertyDescriptor(Node.prototype, "textContent");
                Object.defineProperty(document.querySelector("#reading .now"), "textContent", {
                  get,
                  set(word) {
                    if (word) window.marked.push(word);
                    set.call(this, word);
                  },
                });
            }"""
        )
        await speak(page, text)
        await until(page, "window.marked.length > 2")
        assert await page.text_content("#reading") == text
        await spoken(page)
        assert await page.evaluate("() => window.marked") == text.split()
        assert await page.is_hidden("#reading")
        await speak(page, text)
        await until(page, "!document.getElementById('reading').hidden")
        await page.type("#text", "!")
        assert await page.is_hidden("#reading")


async def test_the_same_again_has_the_same_seed() -> None:
    """Again speaks the same text with the seed that was drawn; Keep puts it into the box for other texts."""
    synthesizer = FakeSynthesizer()
    async with serving(synthesizer) as server, browsing(address(server)) as page:
        await speak(page, "Hello there.")
        await spoken(page)
        await page.fill("#text", "Something else.")
        await page.click("#again")
        await spoken(page, 2)
        await page.click("#keep-seed")
        await page.click("#speak")
        await spoken(page, 3)
    assert [request.text for request in synthesizer.requests] == [
        "Hello there.",
        "Hello there.",
        "Something else.",
    ]
    assert len({request.params.seed for request in synthesizer.requests}) == 1


async def test_settings_are_sent_if_they_were_changed() -> None:
    """An untouched page sends no setting at all; a changed one is sent, and after a reset it is not."""
    async with serving() as server, browsing("about:blank") as page:
        messages = sent(page)
        await page.goto(address(server))
        await speak(page, "Hello there.")
        await spoken(page)
        fields = {"type", "id", "encoding", "frame_ms"}
        assert starts(messages)[0].keys() == fields
        assert await page.is_hidden("#reset")
        await page.evaluate("() => { for (const d of document.querySelectorAll('details')) d.open = true; }")
        await page.select_option("#voice", "other")
        for name, value in {
            "text_temp": "0.9",
            "fine_temp": "0.3",
            "top_p": "0.5",
            "min_eos_p": "0.1",
        }.items():
            await page.locator(f"#{name}").fill(value)
        for name, value in {"top_k": "50", "max_gen_duration_s": "12.5", "max_coarse_history": "300"}.items():
            await page.fill(f"#{name}", value)
        await page.fill("#seed", "42")
        await page.select_option("#continuity", "chain")
        await page.select_option("#normalize", "false")
        await page.click("#speak")
        await spoken(page, 2)
        start = starts(messages)[1]
        assert start["voice"] == "other" and start["continuity"] == "chain" and start["normalize"] is False
        assert start["params"] == {
            "text_temp": 0.9,
            "fine_temp": 0.3,
            "top_p": 0.5,
            "min_eos_p": 0.1,
            "top_k": 50,
            "max_gen_duration_s": 12.5,
            "max_coarse_history": 300,
            "seed": 42,
        }
        await page.click("#reset")
        await page.select_option("#voice", "tone")
        await page.click("#speak")
        await spoken(page, 3)
        assert starts(messages)[2].keys() == fields


async def test_the_speed_is_sent_if_it_is_not_one() -> None:
    """The slider's value is sent as `speed`, and nothing is sent where it stands at 1."""
    async with serving() as server, browsing("about:blank") as page:
        messages = sent(page)
        await page.goto(address(server))
        await until(page, "player.connection === 'connected'")
        for number, speed in enumerate(("0.5", "1", "2"), 1):
            await page.locator("#speed").fill(speed)
            await speak(page, "Hello there.")
            await until(page, f"player.state === 'idle' && player.done.length === {number}")
    assert [start.get("speed") for start in starts(messages)] == [0.5, None, 2]


@pytest.mark.parametrize(
    ("path", "kind"), [("opus", "ogg"), ("opus", "wav"), ("wasm", "ogg"), ("wasm", "wav"), ("pcm", "wav")]
)
async def test_what_was_heard_is_downloaded(tmp_path: Path, path: str, kind: str) -> None:
    """The file has all samples of the sound, and they are not silent."""
    async with serving() as server, browsing(address(server, f"?path={path}")) as page:
        assert await page.is_disabled(f"#download-{kind}")
        await speak(page, TEXT)
        await spoken(page)
        async with page.expect_download() as download:
            await page.click(f"#download-{kind}")
        await (await download.value).save_as(tmp_path / f"speech.{kind}")
        audio_ms = (await account(page))["done"][0]["audio_ms"]
    with av.open(str(tmp_path / f"speech.{kind}")) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    num_samples = sum(frame.shape[-1] for frame in frames)
    assert num_samples == pytest.approx(48 * audio_ms, abs=48)
    assert max(abs(frame.astype(float)).max() for frame in frames) > 0.2


async def test_it_speaks_while_one_types() -> None:
    """The first sentence is heard before the second is written; Stop ends it, and what is typed then is new."""
    synthesizer = FakeSynthesizer(speed=4.0)
    async with serving(synthesizer) as server, browsing(address(server)) as page:
        await until(page, "player.connection === 'connected'")
        await page.check("#live", force=True)
        assert await page.input_value("#text") == ""
        await page.type("#text", "This is the first sentence. And")
        await until(page, "player.state === 'playing' && player.playedMs > 100")
        assert synthesizer.requests[0].text == "This is the first sentence."
        await page.type("#text", " now the second. ")
        await until(page, "player.word === 'second.'")
        await page.click("#stop")
        await until(page, "player.state === 'idle' && player.rms < 0.001")
        synthesizer.requests.clear()
        await page.type("#text", "Then more. ")
        await until(page, "player.word === 'more.'")
        assert [request.text for request in synthesizer.requests] == ["Then more."]
        await page.uncheck("#live", force=True)
        await until(page, "player.state === 'idle'")
        assert (await account(page))["done"][-1]["reason"] == "completed"


async def test_keys_speak_stop_and_speak_again() -> None:
    """Ctrl+Enter speaks, Escape stops, and Ctrl+Shift+Enter speaks once more with the same seed."""
    synthesizer = FakeSynthesizer(speed=4.0)
    async with serving(synthesizer) as server, browsing(address(server)) as page:
        await until(page, "player.connection === 'connected'")
        await page.fill("#text", TEXT)
        await page.keyboard.press("Control+Enter")
        await until(page, "player.state === 'playing'")
        await page.keyboard.press("Escape")
        await until(page, "player.state === 'idle' && player.done.length === 1")
        await page.keyboard.press("Control+Shift+Enter")
        await spoken(page, 2)
    assert len({request.params.seed for request in synthesizer.requests}) == 1


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("language", ["curl", "python"])
async def test_the_program_that_it_shows_does_the_same(tmp_path: Path, language: str) -> None:
    """The copied program runs, and asks for the same text, voice and seed."""
    text = 'It\'s a "quoted" text; $HOME costs 5 \\ 2.'
    synthesizer = FakeSynthesizer()
    async with serving(synthesizer) as server, browsing(address(server)) as page:
        await until(
            page,
            "player.connection === 'connected' && document.querySelectorAll('#voice option').length === 2",
        )
        await page.fill("#text", text)
        await page.fill("#seed", "42")
        await page.select_option("#voice", "other")
        await page.click("#code summary")
        await page.click(f"[data-language={language}]")
        program = await page.text_content("#code-text")
        command = ("sh", "-c", program) if language == "curl" else (sys.executable, "-c", program)
        environment = {**os.environ, "NO_PROXY": "*", "no_proxy": "*"}
        process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=environment)
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    assert {(request.voice, request.params.seed) for request in synthesizer.requests} == {("other", 42)}
    assert " ".join(request.text for request in synthesizer.requests) == text
    with av.open(str(tmp_path / "speech.ogg")) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) > 10_000


async def test_the_theme_is_the_readers() -> None:
    """The page is dark if the system is, and as the reader says from then on, also after it was loaded again."""
    async with serving() as server, browsing(address(server), color_scheme="dark") as page:
        theme = "() => document.documentElement.dataset.theme"
        assert await page.evaluate(theme) == "dark"
        await page.click("#theme")
        assert await page.evaluate(theme) == "light"
        await page.reload()
        assert await page.evaluate(theme) == "light"
        await page.click("#theme")
        await page.click("#theme")
        assert await page.evaluate(theme) == "dark"


async def test_sound_that_is_held_back_is_heard_after_a_click() -> None:
    """If the browser stops the sound, for a call or for want of a click, a click continues it, and nothing is lost."""
    async with serving() as server, browsing("about:blank") as page:
        await page.add_init_script(
            "const Context = AudioContext;"
            "window.AudioContext = class extends Context { constructor(o) { super(o); window.context = this; } };"
        )
        await page.goto(address(server))
        await speak(page, TEXT)
        await until(page, "player.playedMs > 100")
        await page.evaluate("() => window.context.suspend()")
        await page.wait_for_selector("#blocked:not([hidden])")
        stopped = await account(page)
        await page.wait_for_timeout(300)
        assert (await account(page))["playedSamples"] == pytest.approx(stopped["playedSamples"], abs=2000)
        await page.click("h1")
        await spoken(page)
        stats = await account(page)
        assert stats["playedMs"] == pytest.approx(stats["done"][0]["audio_ms"], abs=1)
        assert await page.is_hidden("#blocked")


class SmallWindows(FakeSynthesizer):
    """A fake whose model has less room for coarse tokens than Bark."""

    @property
    def info(self) -> ModelInfo:
        return replace(super().info, coarse_limits=CoarseLimits(90, 60, 151))


async def test_coarse_windows_have_the_ranges_of_the_model() -> None:
    """The page has them from the server, and what is within them is sent."""
    async with serving(SmallWindows()) as server, browsing("about:blank") as page:
        messages = sent(page)
        await page.goto(address(server))
        await until(page, "player.connection === 'connected'")
        await page.evaluate("() => { for (const d of document.querySelectorAll('details')) d.open = true; }")
        for name, wrong, words, right in (
            ("max_coarse_history", "91", "Coarse history is a whole number from 60 to 90", "60"),
            ("sliding_window_len", "92", "Coarse window is a whole number from 10 to 91", "91"),
        ):
            await page.fill(f"#{name}", wrong)
            await page.click("#speak")
            assert words in await page.inner_text("#error")
            await page.fill(f"#{name}", right)
        await page.click("#speak")
        await spoken(page)
        assert starts(messages)[0]["params"] == {"max_coarse_history": 60, "sliding_window_len": 91}


async def test_a_wrong_setting_is_named() -> None:
    """A value out of range is not sent and not passed over: the page says which one it is, and what it may be."""
    async with serving() as server, browsing("about:blank") as page:
        messages = sent(page)
        await page.goto(address(server))
        await until(page, "player.connection === 'connected'")
        for name, wrong, words in (
            ("sliding_window_len", "1", "Coarse window is a whole number from 10 to 708"),
            ("top_k", "many", "Top k is a whole number from 1 to 100000"),
            ("top_k", "1.5", "Top k is a whole number"),
            ("seed", "-1", "Seed is a whole number from 0"),
            ("seed", "1e99", "Seed is a whole number from 0"),
            ("max_gen_duration_s", "61", "from 0.2 to 60"),
        ):
            await page.locator(f"#{name}").evaluate(
                "(box, value) => { box.value = value; box.dispatchEvent(new Event('input', {bubbles: true})); }",
                wrong,
            )
            await page.click("#speak")
            assert words in await page.inner_text("#error")
            await page.locator(f"#{name}").evaluate(
                "(box) => { box.value = ''; box.dispatchEvent(new Event('input', {bubbles: true})); }"
            )
        assert starts(messages) == []
        await page.click("#speak")
        await spoken(page)
        assert await page.is_hidden("#error")


async def test_the_page_is_kept_to_its_own_files() -> None:
    """The policy names no other place, no inline style and no blob, and nothing that the page does offends it."""
    violations: list[str] = []
    async with serving() as server, browsing("about:blank") as page:
        page.on(
            "console", lambda line: violations.append(line.text) if "Content Security" in line.text else None
        )
        response = await page.goto(address(server, "?path=wasm"))
        policy = response.headers["content-security-policy"]
        await speak(page, "Hello there.")
        await spoken(page)
    assert "unsafe-inline" not in policy and "blob:" not in policy and "ws" not in policy.replace("wasm", "")
    assert policy.startswith("default-src 'none'") and violations == []
