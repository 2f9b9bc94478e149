"""The page of docs/integrations/webrtc.md plays the server's track in Chromium."""

from __future__ import annotations

import re
from pathlib import Path

from tests.browser.browsing import browsing, serving
from tests.browser.test_browser_example import files_of

PAGE = Path(__file__).parents[2] / "docs" / "integrations" / "webrtc.md"
KEEP_PEERS = """<script>
    window.peers = [];
    window.RTCPeerConnection = class extends RTCPeerConnection {
      constructor(...options) { super(...options); window.peers.push(this); }
    };
</script>"""
STATS = """async () => {
    const stats = [...(await window.peers[0].getStats()).values()];
    return stats.find(({ type }) => type === "inbound-rtp");
}"""


async def test_the_page_of_the_docs_is_heard(tmp_path: Path) -> None:
    """A click has the text spoken: packets of Opus arrive, are decoded to sound, and one `done` ends it."""
    (example,) = re.findall(r"^```html\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    with files_of(tmp_path) as port:
        origin = f"http://localhost:{port}"
        async with serving(allowed_origins=(origin,), may_have_clients=True) as server:
            text = KEEP_PEERS + example.replace("localhost:8765", f"localhost:{server.port}")
            (tmp_path / "page.html").write_text(text, encoding="utf-8")
            async with browsing(f"{origin}/page.html") as page:
                await page.click("#speak")
                await page.wait_for_function("() => document.getElementById('told').value === 'done'")
                stats = await page.evaluate(STATS)
    assert stats["packetsReceived"] > 10 and stats["packetsLost"] == 0
    assert stats["totalAudioEnergy"] > 0.001
