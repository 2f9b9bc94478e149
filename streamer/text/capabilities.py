"""Finds what a text asks for that a model cannot do; the server warns of it and refuses nothing."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Final

from streamer.text.language_detection import said_once
from streamer.text.scripts import LATIN, base_language, script_of, scripts_of
from streamer.text.splitting.languages import LANGUAGES
from streamer.text.tags import SONG, SOUND_TAG

_TAG: Final = re.compile(SOUND_TAG)
MIN_WORDS: Final = 5
"""A shorter text does not show its language: it may be a name, or a quoted word."""
MIN_FREQUENT_WORDS: Final = 3
_WORD: Final = re.compile(r"[^\W\d_]+")
_FREQUENT_WORDS: Final = {
    "de": "ist sind hat haben war mit dem bei uns mir mich sich zu zum zur vom wird kann sehr",
    "es": "de del y es en su sus con está hace como más muy fue son lo ha me ya todavía nadie",
    "fr": "de du a à au aux est et ne pas plus y il ce se sa son ses sont été était qu leur",
    "it": "di del della dei e è che ci si a al alla le hanno ho sono un della più anni fa mi",
    "pt": "de do da dos das em no na e um uma com é foi são às à não mais ficou já faz muito seu sua que",
    "pl": "się do z o w na po od za przez jest był nie by było ze już co",
    "tr": "bir ve da de mi çok en daha gibi kadar olan var yok değil",
    "nl": "de het een van en is dat niet ik je hij zij wij voor met op aan er ook maar naar bij uit als nog wel wat",
    "sv": "och att det som en är av för på den med inte har jag till var om han hon vi men ett så kan när från",
    "da": "og at det som en er af for på den med ikke har jeg til var om han hun vi men et så kan når fra",
    "cs": "a se v na je že to s z o do ale jako za jsem ve by si tak jeho když už jen bylo jsou po k jsme",
    "hu": "a az és hogy nem is egy ez de volt csak meg már mint van el ha azt még lesz vagy kell én mi ezt",
    "ro": "și în de la cu un o nu este pe că mai din care ce sunt să se pentru a fost dar au lui ea eu",
    "fi": "ja on ei se että hän oli mutta kun niin ovat minä sinä me he tämä joka mitä kuin ole vain nyt myös",
    "id": "yang dan di itu dengan untuk tidak ini dari dalam akan pada juga saya ke karena ada mereka kami bisa",
}  # fmt: skip
"""Words that come often: for the languages that `languages` knows, those that its tables lack."""


@dataclass(frozen=True, slots=True)
class Unsupported:
    """`tags`: such as `[laughter]`, and `♪`; `scripts`: such as `CYRILLIC`. Each once, as first met.

    `language`: the tag of the language that the words are in, such as `de`.
    """

    tags: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    language: str | None = None


def find_unsupported(text: str, languages: Collection[str], tags: Collection[str]) -> Unsupported:
    """What of `text` a model with these `languages` (`en`, …) and `tags` cannot say.

    Other letters are always noticed; words of another language if enough of them are frequent ones.
    """
    known = {tag.strip("[]").lower() for tag in tags}
    found = dict.fromkeys(tag for tag in _TAG.findall(text) if tag.strip("[]").lower() not in known)
    if SONG in text and SONG not in known and "music" not in known:
        found[SONG] = None
    if not languages:
        return Unsupported(tuple(found))
    # Names and signs in Latin letters stand in every language's text.
    known_scripts = {"", LATIN}.union(*map(scripts_of, languages))
    scripts = dict.fromkeys(map(script_of, dict.fromkeys(text)))
    unknown = tuple(script for script in scripts if script not in known_scripts)
    return Unsupported(tuple(found), unknown, _foreign_language(text, languages))


def _foreign_language(text: str, languages: Collection[str]) -> str | None:
    """The language that clearly more of the frequent words are in than in any of `languages`."""
    words = _WORD.findall(said_once(_TAG.sub(" ", text)))
    if len(words) < MIN_WORDS or 2 * sum(word[0].isupper() for word in words) >= len(words):
        return None  # too short, or names
    words = [word.lower() if len(word) > 1 else "" for word in words]  # a letter alone may be anything
    known = set(map(base_language, languages))
    counts = {language: sum(map(frequent.__contains__, words)) for language, frequent in _words_of().items()}
    own = max((counts.get(language, 0) for language in known), default=0)
    best = max(counts, key=lambda language: (counts[language], language in known))
    is_clear = counts[best] >= max(MIN_FREQUENT_WORDS, 2 * own + 1, len(words) / 4)
    return best if is_clear and best not in known else None


@cache
def _words_of() -> dict[str, frozenset[str]]:
    words = {language: table.starters | table.conjunctions for language, table in LANGUAGES.items()}
    for language, frequent in _FREQUENT_WORDS.items():
        words[language] = words.get(language, frozenset()) | frozenset(frequent.split())
    return words
