"""Reads how a word is pronounced, in a model's own phones or in IPA, and carries it through a text to the tokenizer.

A word with its phones is an interlinear annotation of Unicode's: the word, a separator and the phones stand between
an anchor and a terminator. `clean` drops these characters from what clients send.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

ANCHOR: Final = "\ufff9"
SEPARATOR: Final = "\ufffa"
TERMINATOR: Final = "\ufffb"
JOINT: Final = "·"
"""What stands between two phones: no space, so that nothing cuts the word."""
MAX_PHONES: Final = 60
"""The most phones of one word, or of the words that are pronounced as one."""
ANNOTATED: Final = re.compile(
    f"{ANCHOR}([^{ANCHOR}{TERMINATOR}]*){SEPARATOR}([^{ANCHOR}{TERMINATOR}]*){TERMINATOR}"
)
"""A word and its phones."""
IPA: Final = {
    "tʃ": "CH", "dʒ": "JH", "aɪ": "AY", "aʊ": "AW", "ɔɪ": "OY", "eɪ": "EY", "oʊ": "OW", "əʊ": "OW",
    "ɑ": "AA", "ɒ": "AA", "æ": "AE", "ʌ": "AH", "ə": "AH", "ɐ": "AH", "ɔ": "AO", "ɛ": "EH", "e": "EH",
    "ɝ": "ER", "ɚ": "ER", "ɜ": "ER", "ɪ": "IH", "ᵻ": "IH", "i": "IY", "o": "OW", "ʊ": "UH", "u": "UW", "a": "AA",
    "b": "B", "d": "D", "ð": "DH", "f": "F", "ɡ": "G", "g": "G", "h": "HH", "k": "K", "l": "L", "ɫ": "L",
    "m": "M", "n": "N", "ŋ": "NG", "p": "P", "ɹ": "R", "r": "R", "ɾ": "T", "s": "S", "ʃ": "SH", "t": "T", "θ": "TH",
    "v": "V", "w": "W", "j": "Y", "z": "Z", "ʒ": "ZH",
}  # fmt: skip
"""IPA's signs of English and ARPABET's: https://en.wikipedia.org/wiki/ARPABET."""
_STRESSES: Final = {"ˈ": "1", "'": "1", "ˌ": "2"}
_UNREAD: Final = str.maketrans(dict.fromkeys(".ːˑ‿|/[]( )\u0361\u035c\u0329"))
"""Lengths, borders of syllables and ties, which ARPABET has no sign for."""
_VOWEL: Final = re.compile("[AEIOU]")
_LONGEST_SIGN: Final = max(map(len, IPA))


def read_phones(text: str, known: Collection[str]) -> tuple[str, ...] | None:
    """Return `text` as phones among `known`; None if it is not made of these.

    It is a model's own phones with spaces between (a vowel of ARPABET may lack its stress), or English in IPA if the
    model's phones are ARPABET's.
    """
    if not known:
        return None
    phones = tuple(_with_stress(phone, known) for phone in text.split())
    if not phones or not set(phones) <= set(known):
        phones = _from_ipa(text, known)
    return phones if 0 < len(phones) <= MAX_PHONES and set(phones) <= set(known) else None


def annotated(written: str, phones: Collection[str]) -> str:
    """Return a word that is pronounced by these phones."""
    return f"{ANCHOR}{written}{SEPARATOR}{JOINT.join(phones)}{TERMINATOR}"


def without_phones(text: str) -> str:
    """Return the text with its words alone."""
    return ANNOTATED.sub(r"\1", text) if ANCHOR in text else text


def _with_stress(phone: str, known: Collection[str]) -> str:
    return phone if phone in known or f"{phone}0" not in known else f"{phone}0"


def _from_ipa(text: str, known: Collection[str]) -> tuple[str, ...]:
    """Return English IPA in ARPABET; nothing if a sign of it is unknown."""
    phones: list[str] = []
    stress, position = "0", 0
    text = text.translate(_UNREAD)
    while position < len(text):
        if text[position] in _STRESSES:
            stress = _STRESSES[text[position]]
            position += 1
            continue
        for length in range(_LONGEST_SIGN, 0, -1):
            phone = IPA.get(text[position : position + length])
            if phone is not None:
                break
        else:
            return ()
        position += length
        if _VOWEL.match(phone) and f"{phone}{stress}" in known:
            phone, stress = f"{phone}{stress}", "0"
        phones.append(phone)
    return tuple(phones)
