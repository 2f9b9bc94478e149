"""The example page of `client_examples/browser` speaks when it is opened from another origin, as its README says."""

from __future__ import annotations

import contextlib
import functools
import http.server
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.browsing import browsing, serving

FOLDER = Path(__file__).parents[2] / "client_examples" / "browser"
LISTEN = """
    window.scheduled = [];
    const start = AudioBufferSourceNode.prototype.start;
    AudioBufferSourceNode.prototype.start = function (at) {
      const samples = this.buffer.getChannelData(0);
      window.scheduled.push({ at, seconds: this.buffer.duration, peak: Math.max(...samples) });
      start.call(this, at);
    };
"""


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


async def test_the_example_page_speaks() -> None:
    """The page connects, decodes and plays; the sound is not silent, has no gap, and is as long as announced."""
    with files_of(FOLDER) as port:
        origin = f"http://localhost:{port}"
        async with serving(allowed_origins=(origin,)) as server, browsing("about:blank") as page:
            await page.add_init_script(LISTEN)
            await page.goto(f"{origin}/speak.html?server=localhost:{server.port}")
            await page.click("#speak")
            await page.wait_for_function(
                "() => document.getElementById('status').value.endsWith('ms spoken')"
            )
            announced_ms = int((await page.inner_text("#status")).split()[0])
            scheduled = await page.evaluate("() => window.scheduled")
    assert max(piece["peak"] for piece in scheduled) > 0.2
    total_ms = 1000 * sum(piece["seconds"] for piece in scheduled)
    assert announced_ms - 1 <= total_ms <= announced_ms + 40
    for before, after in itertools.pairwise(scheduled):
        assert after["at"] == pytest.approx(before["at"] + before["seconds"])
