"""Writes the lexicon's phones in Kokoro's signs for the teacher, so that what is read is what is heard.

The teacher's own front end would pronounce some words differently from the lexicon. Text and speech would then
contradict each other, and the semantic model would have to guess, so the teacher is given the same phones as the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from streamer.text.tokens.phonemes import word_phones

VOWEL_SIGNS = {
    "AA": "ɑ", "AE": "æ", "AH": "ʌ", "AO": "ɔ", "AW": "W", "AY": "I", "EH": "ɛ", "ER": "ɜɹ",
    "EY": "A", "IH": "ɪ", "IY": "i", "OW": "O", "OY": "Y", "UH": "ʊ", "UW": "u",
}  # fmt: skip
"""Kokoro's sign of each vowel; a diphthong is one capital letter (the signs are those of misaki, its front end)."""
UNSTRESSED_SIGNS = VOWEL_SIGNS | {"AH": "ə", "ER": "əɹ"}
CONSONANT_SIGNS = {
    "B": "b", "CH": "ʧ", "D": "d", "DH": "ð", "F": "f", "G": "ɡ", "HH": "h", "JH": "ʤ", "K": "k", "L": "l",
    "M": "m", "N": "n", "NG": "ŋ", "P": "p", "R": "ɹ", "S": "s", "SH": "ʃ", "T": "t", "TH": "θ", "V": "v",
    "W": "w", "Y": "j", "Z": "z", "ZH": "ʒ",
}  # fmt: skip
STRESS_SIGNS = {"0": "", "1": "ˈ", "2": "ˌ"}
FLAP = "T"
"""The sign of the short t in American "better"."""
BEFORE_VOWELS = {"the": ["ð", "i"], "to": ["t", "ʊ"]}
"""The signs of these words before a word that begins with a vowel."""
ARTICLE = {"a": ["ɐ"]}
"""The signs of the article "a": Kokoro's front end has a sign of its own for it."""
ESPEAK_SIGNS = (
    ("aɪ", "I"), ("aʊ", "W"), ("eɪ", "A"), ("oʊ", "O"), ("ɔɪ", "Y"), ("tʃ", "ʧ"), ("dʒ", "ʤ"),
    ("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɚ", "əɹ"), ("n̩", "ᵊn"), ("l̩", "ᵊl"), ("ɐ", "ə"), ("ɾ", FLAP),
    ("ʔ", "t"), ("r", "ɹ"), ("x", "k"), ("ç", "k"), ("e", "A"), ("o", "O"), ("a", "æ"), ("ɬ", "l"),
    ("ʲ", ""), ("ː", ""), ("̃", ""),
)  # fmt: skip
"""Replacements of espeak's American phonemes by Kokoro's signs, applied in this order."""
PIECE = re.compile(r"[a-z']+|[^a-z']+")
SENTENCE_MARKS, INNER_MARKS = ".?!…", ",;:"


def is_vowel(phone: str) -> bool:
    """Return whether a phone of the lexicon is a vowel: only vowels end in a digit, their stress."""
    return phone[-1:].isdigit()


def word_signs(phones: Sequence[str]) -> list[str]:
    """Return the teacher's signs for each of a word's phones.

    They include American habits that the lexicon leaves out: the short t of "better", the weak last vowel of "people".
    """
    made: list[str] = []
    for index, phone in enumerate(phones):
        before = phones[index - 1] if index else ""
        after = phones[index + 1] if index + 1 < len(phones) else ""
        if is_vowel(phone):
            signs = UNSTRESSED_SIGNS if phone[-1] == "0" else VOWEL_SIGNS
            is_weak = (
                phone == "AH0" and before and not is_vowel(before) and phones[index + 1 :] in (["L"], ["N"])
            )
            made.append("ᵊ" if is_weak else STRESS_SIGNS[phone[-1]] + signs[phone[:-1]])
            # The sign of this vowel already ends in an r.
            if made[-1].endswith("ɹ") and after == "R":
                made[-1] = made[-1][:-1]
        elif phone == "T" and (is_vowel(before) or before == "R") and after[-1:] == "0":
            is_button = after == "AH0" and phones[index + 2 : index + 3] == ["N"]
            made.append("t" if is_button else FLAP)
        else:
            made.append(CONSONANT_SIGNS[phone])
    return made


def text_signs(text: str, lexicon: Mapping[str, str], guess: Callable[[str], str]) -> list[list[str]]:
    """Return the teacher's signs for each `PIECE` of the text: a string per phone, or one for a punctuation mark.

    `text` has plain words, read as `PhonemeTokenizer` reads it. `guess` gives the signs of a word that the lexicon
    lacks and that is not made of its words; they are one string, because its letters are not aligned with signs.
    """
    pieces = PIECE.findall(text.lower())
    phones = [_phones(piece, lexicon) for piece in pieces]
    made: list[list[str]] = []
    for index, piece in enumerate(pieces):
        if not _is_word(piece):
            made.append([_mark(piece, is_first=index == 0, is_last=index == len(pieces) - 1)])
        elif not phones[index]:
            made.append([guess(piece.strip("'"))])
        else:
            is_close = pieces[index + 1 : index + 2] == [" "]
            following = phones[index + 2] if is_close and index + 2 < len(pieces) else []
            changed = BEFORE_VOWELS.get(piece) if following and is_vowel(following[0]) else ARTICLE.get(piece)
            made.append(changed or word_signs(phones[index]))
    return made


def _is_word(piece: str) -> bool:
    return piece.strip("'") != "" and (piece[0] == "'" or piece[0].isalpha())


def _phones(piece: str, lexicon: Mapping[str, str]) -> list[str]:
    return (word_phones(piece, lexicon) or "").split() if _is_word(piece) else []


def _mark(piece: str, *, is_first: bool, is_last: bool) -> str:
    """Return what stands between two words: a mark with a space, or a space."""
    mark = next((character for character in piece if character in SENTENCE_MARKS + INNER_MARKS), "")
    if "..." in piece:
        mark = "…"
    elif not mark and re.search(r"\s[-–—]+\s|—|--", piece):
        mark = "—"
    if is_first:
        return ""
    return mark if is_last else mark + " "


def espeak_signs(phonemes: str) -> str:
    """Return espeak's phonemes of a word in the teacher's signs."""
    for espeak, sign in ESPEAK_SIGNS:
        phonemes = phonemes.replace(espeak, sign)
    return phonemes


def symbol_of_sign(pieces: Sequence[Sequence[str]], num_symbols: Sequence[int]) -> list[int]:
    """Return for each of the teacher's signs the place of what it says among the text's symbols.

    `num_symbols` is the number of symbols of each `PIECE` for the model: one per phone, or one per letter if spelled.
    """
    places: list[int] = []
    first = 0
    for made, count in zip(pieces, num_symbols, strict=True):
        signs = "".join(made)
        if len(made) == count:
            inside = [symbol for symbol, sound in enumerate(made) for _ in sound]
        else:  # letters: each sound is near its letter
            inside = [number * count // len(signs) for number in range(len(signs))]
        places += [max(0, first + (symbol if count else -1)) for symbol in inside]
        first += count
    return places
