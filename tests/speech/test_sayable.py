"""What has words, and what sound can be all of them."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.audio.levels import LevelMeter
from streamer.speech.sayable import is_sayable, is_too_short

RATE_HZ = 24_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "...",
        "!!!",
        "***",
        "-",
        "—",
        "😊",
        "()",
        "♪",
        "#",
        "™",
        "²",
        "\u200b",
        "\u2060",
        "?!" * 40,
        "٪",
    ],
)
def test_signs_are_nothing_to_say(text: str) -> None:
    """Marks, emoji, notes without a song, invisible characters."""
    assert not is_sayable(text)


@pytest.mark.parametrize("text", ["a", "7", "½", "好", "é", "[laughs]", "♪ la ♪", "😊 Hi", "(x)", "٣", "か"])
def test_letters_and_numbers_are_something_to_say(text: str) -> None:
    """In every script, and the names in tags, which a model may know."""
    assert is_sayable(text)


def heard(tone_s: float, silence_s: float = 0.0, level: float = 0.3) -> LevelMeter:
    meter = LevelMeter(RATE_HZ)
    tone = level * np.sin(np.arange(round(tone_s * RATE_HZ)) / 10, dtype=np.float32)
    meter.add(tone.astype(np.float32))
    meter.add(np.zeros(round(silence_s * RATE_HZ), np.float32))
    return meter


@pytest.mark.parametrize(
    ("text", "meter"),
    [
        ("I went home.", heard(0.0)),
        ("I went home.", heard(0.0, 2.0)),
        ("I went home.", heard(1.0, 0.0, level=0.0005)),
        ("I went home.", heard(0.1, 2.0)),
        ("No, I did not say that you should take it with you.", heard(0.5)),
        ("A", heard(0.0, 0.1)),
    ],
)
def test_what_cannot_be_all_of_the_text(text: str, meter: LevelMeter) -> None:
    """No sound, silence, hiss, or a moment of sound for many words."""
    assert is_too_short(meter, text)


@pytest.mark.parametrize(
    ("text", "meter"),
    [
        ("I went home.", heard(0.8)),
        ("I went home.", heard(0.4, 2.0)),
        ("Oh!", heard(0.12)),
        ("A", heard(0.05)),
        ("[clears throat] Hm.", heard(0.1)),
        ("No, I did not say that you should take it with you.", heard(2.5, 1.0)),
    ],
)
def test_what_can_be_all_of_it(text: str, meter: LevelMeter) -> None:
    """Fast speech, short words, and tags that take no time."""
    assert not is_too_short(meter, text)
