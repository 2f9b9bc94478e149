"""The example page of `client_examples/browser` speaks when it is opened from another origin, as its README says."""

from __future__ import annotations

import contextlib
import functools
import http.server
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.browsing import browsing, needs_firefox, serving

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "client_examples" / "browser" / "speak.html").read_text(encoding="utf-8")
CLIENT = ROOT / "streamer" / "server" / "player" / "streamer-client.js"
LISTEN = """
    const connect = AudioNode.prototype.connect;
    AudioNode.prototype.connect = function (node, ...rest) {
      if (node === this.context.destination) window.heard = this;
      return connect.call(this, node, ...rest);
    };
"""
LOUDEST = """() => {
    const samples = new Float32Array(window.heard.fftSize);
    window.heard.getFloatTimeDomainData(samples);
    return Math.max(...samples);
}"""


class _QuietFiles(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@contextlib.contextmanager
def files_of(folder: Path) -> Iterator[int]:
    """Run a plain web server for a folder, like `python -m http.server`; yield its port."""
    serve = functools.partial(_QuietFiles, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as files:
        thread = threading.Thread(target=files.serve_forever)
        thread.start()
        try:
            yield files.server_port
        finally:
            files.shutdown()
            thread.join()


async def speak(page: Any) -> None:
    """Press the button, and check that something is heard, and how much at the end."""
    await page.click("#speak")
    await page.wait_for_function(f"() => window.heard !== undefined && ({LOUDEST})() > 0.2")
    await page.wait_for_function("() => document.getElementById('status').value.endsWith('ms spoken')")
    assert int((await page.inner_text("#status")).split()[0]) > 500


def test_the_script_has_ten_lines() -> None:
    """The example's script, with its tags, is ten lines long."""
    (script,) = re.findall(r'<script type="module">.*?</script>', EXAMPLE, flags=re.DOTALL)
    assert len([line for line in script.splitlines() if line.strip()]) == 10


@pytest.mark.parametrize("browser", ["chromium", pytest.param("firefox", marks=needs_firefox)])
async def test_the_example_page_speaks(tmp_path: Path, browser: str) -> None:
    """The page loads the client from the server, which is another origin, and is heard."""
    with files_of(tmp_path) as port:
        origin = f"http://localhost:{port}"
        async with serving(allowed_origins=(origin,)) as server:
            example = EXAMPLE.replace("localhost:8765", f"localhost:{server.port}")
            listening = example.replace(
                '<script type="module">', f'<script>{LISTEN}</script><script type="module">'
            )
            (tmp_path / "speak.html").write_text(listening, encoding="utf-8")
            async with browsing(f"{origin}/speak.html", browser) as page:
                await speak(page)


async def test_a_copy_of_the_client_speaks(tmp_path: Path) -> None:
    """A page with its own copy of the one file, and nothing else, speaks with a server elsewhere, by each path."""
    shutil.copy(CLIENT, tmp_path)
    with files_of(tmp_path) as port:
        origin = f"http://localhost:{port}"
        async with serving(allowed_origins=(origin,)) as server:
            for path in ("opus", "wasm", "pcm"):
                arguments = f'"http://localhost:{server.port}/", {{ paths: ["{path}"] }}'
                example = re.sub(r'from "[^"]*"', 'from "./streamer-client.js"', EXAMPLE)
                example = example.replace("new StreamerClient()", f"new StreamerClient({arguments})")
                listening = example.replace(
                    '<script type="module">', f'<script>{LISTEN}</script><script type="module">'
                )
                (tmp_path / f"{path}.html").write_text(listening, encoding="utf-8")
                async with browsing(f"{origin}/{path}.html") as page:
                    await speak(page)


async def test_a_page_of_an_origin_that_is_not_allowed_gets_nothing(tmp_path: Path) -> None:
    """A copy of the client on an origin that the server does not know stays without a connection."""
    shutil.copy(CLIENT, tmp_path)
    page_text = """<script type="module">
        import { StreamerClient } from "./streamer-client.js";
        window.client = new StreamerClient("http://localhost:PORT/");
        client.connect();
    </script>"""
    with files_of(tmp_path) as port:
        async with serving() as server:
            (tmp_path / "index.html").write_text(
                page_text.replace("PORT", str(server.port)), encoding="utf-8"
            )
            async with browsing(f"http://localhost:{port}/") as page:
                await page.wait_for_function("() => window.client?.state === 'lost'")
                assert await page.evaluate("() => window.client.session") is None
