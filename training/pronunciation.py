"""What the teacher is asked to say: the lexicon's phones in his own alphabet, so that what is read is what is heard.

The teacher has a dictionary of its own. Where it differs from the lexicon, text and speech would contradict each
other, and the semantic model would have to guess; so the teacher is handed the very phones that the model is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from streamer.text.tokens.tokenizer import word_phones

VOWEL_IPA = {
    "AA": "ɑː", "AE": "æ", "AH": "ʌ", "AO": "ɔː", "AW": "aʊ", "AY": "aɪ", "EH": "ɛ", "ER": "ɜː",
    "EY": "eɪ", "IH": "ɪ", "IY": "iː", "OW": "oʊ", "OY": "ɔɪ", "UH": "ʊ", "UW": "uː",
}  # fmt: skip
UNSTRESSED_IPA = VOWEL_IPA | {"AH": "ə", "ER": "ɚ", "IY": "i"}
CONSONANT_IPA = {
    "B": "b", "CH": "tʃ", "D": "d", "DH": "ð", "F": "f", "G": "ɡ", "HH": "h", "JH": "dʒ", "K": "k", "L": "l",
    "M": "m", "N": "n", "NG": "ŋ", "P": "p", "R": "ɹ", "S": "s", "SH": "ʃ", "T": "t", "TH": "θ", "V": "v",
    "W": "w", "Y": "j", "Z": "z", "ZH": "ʒ",
}  # fmt: skip
STRESS_IPA = {"0": "", "1": "ˈ", "2": "ˌ"}
PIECE = re.compile(r"[a-z']+|[^a-z']+")
STOPS, PAUSES = ".?!…", ",;:"


def is_vowel(phone: str) -> bool:
    """Of the lexicon's phones these alone end in a digit, their stress."""
    return phone[-1:] in STRESS_IPA


def word_sounds(phones: Sequence[str]) -> list[str]:
    """The teacher's phonemes for each of a word's phones.

    American habits that the lexicon leaves out are put in: the short t of "better", the lighter first a of "about".
    """
    made = []
    for index, phone in enumerate(phones):
        before = phones[index - 1] if index else ""
        after = phones[index + 1] if index + 1 < len(phones) else ""
        if is_vowel(phone):
            sounds = UNSTRESSED_IPA if phone[-1] == "0" else VOWEL_IPA
            vowel = "ɐ" if phone == "AH0" and not before else sounds[phone[:-1]]
            linking = "ɹ" if phone[:2] == "ER" and is_vowel(after) else ""
            made.append(STRESS_IPA[phone[-1]] + vowel + linking)
        elif phone == "T" and (is_vowel(before) or before == "R") and after[-1:] == "0":
            is_button = after == "AH0" and phones[index + 2 : index + 3] == ["N"]
            made.append("t" if is_button else "ɾ")
        else:
            made.append(CONSONANT_IPA[phone])
    return made


def sounds(text: str, lexicon: Mapping[str, str]) -> list[list[str] | None]:
    """For each of the text's `PIECE`s the teacher's phonemes, symbol by symbol; None for a word the lexicon lacks.

    `text` is of plain words, read as `PhonemeTokenizer` reads it.
    """
    pieces = PIECE.findall(text.lower())
    made: list[list[str] | None] = []
    for index, piece in enumerate(pieces):
        if piece.strip("'") and (piece[0] == "'" or piece[0].isalpha()):
            phones = word_phones(piece, lexicon)
            made.append(word_sounds(phones.split()) if phones else None)
        elif index == len(pieces) - 1:
            made.append([next((mark for mark in piece if mark in ".?!,"), "")])
        elif index == 0:
            made.append([""])
        else:
            is_pause = any(mark in piece for mark in STOPS + PAUSES) or " - " in piece
            made.append([", " if is_pause else " "])
    return made


def text_ipa(text: str, lexicon: Mapping[str, str], guess: Callable[[str], str]) -> str:
    """The teacher's phonemes for a text; `guess` gives those of a word that the lexicon lacks."""
    pairs = zip(PIECE.findall(text.lower()), sounds(text, lexicon), strict=True)
    return "".join(guess(piece.strip("'")) if made is None else "".join(made) for piece, made in pairs)


def symbol_of_sound(
    spoken: str, text: str, lexicon: Mapping[str, str], num_symbols: Sequence[int]
) -> list[int] | None:
    """For each character of the teacher's phonemes the place in the text's symbols of what it says.

    `num_symbols` are those of each `PIECE` as the model is given it; None where the two do not fit.
    """
    pieces = sounds(text, lexicon)
    pattern = "".join("(.+?)" if made is None else f"({re.escape(''.join(made))})" for made in pieces)
    found = re.fullmatch(pattern, spoken)
    if not found:
        return None
    places: list[int] = []
    first = 0
    for made, group, count in zip(pieces, found.groups(), num_symbols, strict=True):
        if made is not None and len(made) == count:
            inside = [symbol for symbol, sound in enumerate(made) for _ in sound]
        else:  # letters, whose sounds are about where they are
            inside = [number * count // len(group) for number in range(len(group))]
        places += [max(0, first + (symbol if count else -1)) for symbol in inside]
        first += count
    return places
