"""pipecat's serializers, untouched, read what the server sends into a call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.clients.driving import drive
from tests.server.speaking import running
from tests.server.telephony.phones import telnyx_start, twilio_start

TEXT = "One two three four five."


@pytest.mark.clients
@pytest.mark.parametrize(
    ("vendor", "encoding", "start"),
    [
        ("twilio", "PCMU", twilio_start(text=TEXT)),
        ("telnyx", "PCMU", telnyx_start(text=TEXT)),
        ("telnyx", "PCMA", telnyx_start(text=TEXT, encoding="PCMA")),
    ],
)
async def test_pipecat_reads_the_sound(vendor: str, encoding: str, start: dict[str, Any]) -> None:
    """Each piece becomes sound of the right length and loudness; the one other message is the mark at the end."""
    async with running() as speaking:
        orders = {"vendor": vendor, "encoding": encoding, "start": start}
        report = await drive("pipecat_telephony", "pipecat", speaking.server, **orders)
    samples = np.frombuffer(bytes.fromhex(report["pcm"]), "<i2") / 32_768
    assert len(samples) / 8000 == pytest.approx(0.02 * len(TEXT), abs=0.1)
    tone = samples[800:-800]
    assert 0.05 < float(np.sqrt(np.mean(tone**2))) < 0.9
    spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone))))
    assert spectrum.max() > 0.2 * spectrum.sum()  # a tone, and hardly any noise: the law is the right one
    assert len(report["others"]) == 1
