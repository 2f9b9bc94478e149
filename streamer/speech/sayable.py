"""Whether a text has anything to say, and whether a sound can be all of it; `sentence_stream` asks both."""

from __future__ import annotations

import re
from typing import Final

from streamer.audio.levels import FRAMES_PER_S, LevelMeter
from streamer.audio.pcm import SILENCE_PEAK
from streamer.text.phones import without_phones
from streamer.text.tags import TAG

MAX_LETTERS_PER_S: Final = 60
"""A sound that would have to be spoken faster than this has lost words; usual speech has some 15 letters a second."""
_TAG: Final = re.compile(rf"{TAG}(?!\()")


def is_sayable(text: str) -> bool:
    """Whether the text holds a letter or a number, be it in a tag such as `[laughs]`."""
    return any(map(_is_letter, text))


def is_too_short(meter: LevelMeter, text: str) -> bool:
    """Whether a sound is silent, or far too short for the text to have been spoken in full. Tags may take no time."""
    num_frames = int(meter.is_loud(SILENCE_PEAK).sum())
    num_letters = sum(map(_is_letter, _TAG.sub("", without_phones(text))))
    return num_frames == 0 or num_frames / FRAMES_PER_S < num_letters / MAX_LETTERS_PER_S


def _is_letter(character: str) -> bool:
    """A letter, a digit, or another number such as `½`; raised and circled digits are signs."""
    if character.isalpha():
        return True
    return character.isnumeric() and (character.isdecimal() or not character.isdigit())
