"""A page in Debian's Firefox, driven by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/).

Playwright's own driver needs a Firefox that it has built itself; the names here are Playwright's.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

PATIENCE_S = 40
ADDRESS = re.compile(r"WebDriver BiDi listening on (ws://\S+)$", re.MULTILINE)
PREFERENCES = {
    "network.dns.localDomains": "gpu-box",
    "network.dns.disableIPv6": True,
    "media.autoplay.default": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "extensions.update.enabled": False,
}


class FirefoxPage:
    """The part of Playwright's `Page` that the tests need in both browsers. Every call counts as a person's action."""

    def __init__(self, connection: ClientConnection) -> None:
        self.errors: list[str] = []
        self._connection = connection
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._context = ""

    async def read(self) -> None:
        """Hand out the browser's answers until it is gone."""
        async for text in self._connection:
            message = json.loads(text)
            if message.get("method") == "log.entryAdded":
                entry = message["params"]
                if entry["type"] == "javascript" and entry["level"] == "error":
                    self.errors.append(str(entry["text"]))
            elif message.get("id") in self._waiting:
                self._waiting.pop(message["id"]).set_result(message)

    async def open(self) -> None:
        await self._ask("session.new", capabilities={})
        await self._ask("session.subscribe", events=["log.entryAdded"])
        tree = await self._ask("browsingContext.getTree")
        self._context = tree["contexts"][0]["context"]

    async def goto(self, url: str) -> None:
        await self._ask("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def evaluate(self, function: str) -> Any:
        """Call a JavaScript function and return its result, which travels as JSON."""
        declaration = f"async () => JSON.stringify((await ({function})()) ?? null)"
        result = await self._ask(
            "script.callFunction",
            functionDeclaration=declaration,
            target={"context": self._context},
            awaitPromise=True,
            userActivation=True,
        )
        if result["type"] != "success":
            raise AssertionError(result["exceptionDetails"]["text"])
        return json.loads(result["result"]["value"])

    async def wait_for_function(self, function: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not await self.evaluate(function):  # noqa: ASYNC110
                await asyncio.sleep(0.03)

    async def wait_for_timeout(self, ms: float) -> None:
        await asyncio.sleep(ms / 1000)

    async def fill(self, selector: str, text: str) -> None:
        event = "new InputEvent('input', { bubbles: true })"
        await self._with(selector, f"element.value = {json.dumps(text)}; element.dispatchEvent({event});")

    async def click(self, selector: str) -> None:
        await self._with(selector, "element.click();")

    async def inner_text(self, selector: str) -> str:
        return str(await self._with(selector, "return element.innerText;"))

    async def is_disabled(self, selector: str) -> bool:
        return bool(await self._with(selector, "return element.disabled;"))

    async def is_enabled(self, selector: str) -> bool:
        return not await self.is_disabled(selector)

    async def _with(self, selector: str, code: str) -> Any:
        return await self.evaluate(
            f"() => {{ const element = document.querySelector({json.dumps(selector)}); {code} }}"
        )

    async def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._connection.send(json.dumps({"id": number, "method": method, "params": params}))
        async with asyncio.timeout(PATIENCE_S):
            answer = await self._waiting[number]
        if answer["type"] == "error":
            raise AssertionError(f"{answer['error']}: {answer['message']}")
        result: dict[str, Any] = answer["result"]
        return result


@contextlib.asynccontextmanager
async def firefox_page(executable: str, url: str) -> AsyncIterator[FirefoxPage]:
    """Yield a page in a fresh Firefox, which plays into a loudspeaker that nobody hears."""
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        preferences = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()
        ]
        Path(folder, "user.js").write_text("\n".join(preferences), encoding="utf-8")
        socket = Path(folder, "pulse", "native")
        modules = ("--load=module-null-sink", "--load=module-native-protocol-unix")
        environment = {**os.environ, "XDG_RUNTIME_DIR": folder}
        flags = ("-n", "--daemonize=no", "--exit-idle-time=-1", *modules)
        await stack.enter_async_context(
            _running(Path(folder, "pulse.log"), environment, "pulseaudio", *flags)
        )
        await _until(socket.exists)
        log = Path(folder, "firefox.log")
        flags = ("--headless", "--no-remote", "--remote-debugging-port", "0", "--profile", folder)
        await stack.enter_async_context(_running(log, environment, executable, *flags))
        await _until(lambda: ADDRESS.search(log.read_text(encoding="utf-8")) is not None)
        (address,) = ADDRESS.findall(log.read_text(encoding="utf-8"))
        connection = await stack.enter_async_context(connect(f"{address}/session", proxy=None, max_size=None))
        page = FirefoxPage(connection)
        reading = asyncio.create_task(page.read())
        stack.callback(reading.cancel)
        await page.open()
        await page.goto(url)
        yield page
    assert not page.errors


@contextlib.asynccontextmanager
async def _running(
    log: Path, environment: dict[str, str], program: str, *arguments: str
) -> AsyncIterator[None]:
    """Run a program meanwhile. It writes into a file: a pipe that nobody reads would stop it in the end."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            program, *arguments, env=environment, stdout=output, stderr=output
        )
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.03)
