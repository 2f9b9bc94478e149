"""What the symbols of the text sound like in the teacher's phones: the path that the model's tokens are kept to.

A phone has more variants here than `pronunciation` gives it, because the path must allow whatever the teacher said:
`the` before a vowel, a weak vowel, the short t of "better". A consonant may stand behind the pause that it begins,
since a token of it is kept there where `features` finds silence.
"""

from __future__ import annotations

import string

from streamer.models.config import PathConfig
from training.features import NUM_PITCH_LEVELS, PAUSES, PHONES
from training.pronunciation import CONSONANT_SIGNS, FLAP, VOWEL_SIGNS

PAUSE_NAMES = dict(
    zip(PAUSES, ("beginning", "space", "comma", "stop", "question", "exclamation"), strict=True)
)
VOWEL_VARIANTS = {"AH": "ə|ʌ|ˈʌ|i|ʊ", "ER": "ɜ|ˈɜ|ə ɹ", "IH": "ɪ|ˈɪ|ə", "UW": "u|ˈu|ʊ"}
MAX_PHONE_TOKENS, MAX_LONG_TOKENS, MAX_SILENCE_TOKENS = 13, 20, 20
"""The teacher speaks slowly. In 2,000 of its lines 999 in 1,000 of each phone last no longer, pauses were cut to 20."""
MAX_LAST_SILENCE_TOKENS = 5
"""A sentence's last sound has ended 20 ms after the last phone's token, and 60 ms of silence are kept behind it."""
LONG_PHONES = ("s", "z", "n", "m", "ŋ", "i", "u", *(f"ˈ{vowel}" for vowel in "AIOWYiuæɑɔɛ"))
"""The phones that are held for long at the end of a sentence."""


def path_config() -> PathConfig:
    """The path of the model that is being trained."""
    phones = [PAUSE_NAMES.get(phone, phone) for phone in PHONES]
    pauses = [name for name in PAUSE_NAMES.values() if name != "beginning"]
    pause = "|".join(pauses) + "?"
    sounds = dict.fromkeys((" ", *",.?!;:-…"), pause)
    sounds |= dict.fromkeys(string.ascii_lowercase, "*")
    for symbol, sign in CONSONANT_SIGNS.items():
        sounds[symbol] = f"{pause} {sign}|{FLAP}" if symbol == "T" else f"{pause} {sign}"
    for vowel, sign in VOWEL_SIGNS.items():
        stressed = f"ˈ{sign}"
        plain = f"{sign}|{stressed}" if stressed in phones else sign
        sounds |= dict.fromkeys((vowel + stress for stress in "012"), VOWEL_VARIANTS.get(vowel, plain))
    return PathConfig(
        phones=tuple(phones),
        silences=("beginning", *pauses),
        sounds=sounds,
        tokens_per_phone=NUM_PITCH_LEVELS,
        beginning="beginning?",
        max_phone_tokens=MAX_PHONE_TOKENS,
        max_silence_tokens=MAX_SILENCE_TOKENS,
        max_last_silence_tokens=MAX_LAST_SILENCE_TOKENS,
        max_tokens_of=dict.fromkeys(LONG_PHONES, MAX_LONG_TOKENS),
    )
