"""What a tag, a note and a speaker's label are, wherever they are asked for."""

from __future__ import annotations

import pytest

from streamer.text.capabilities import find_unsupported
from streamer.text.language_detection import language_detector
from streamer.text.splitting.sentences import SentenceSplitter
from streamer.text.tags import BARK_DIRECTION, DIRECTION
from streamer.text.verbalize.normalize import normalize


@pytest.mark.parametrize(
    "tag", ["[laughter]", "[laughs]", "[sighs]", "[music]", "[gasps]", "[clears throat]"]
)
def test_the_tags_of_barks_guide_are_tags_everywhere(tag: str) -> None:
    """Tags are not cut, not read aloud, no words of a language, and cause a warning if a model lacks them."""
    assert DIRECTION.fullmatch(tag) and BARK_DIRECTION.fullmatch(tag.upper())
    splitter = SentenceSplitter(len, 256)
    texts = [sentence.text for sentence in [*splitter.feed(f"{tag} Well, I never."), *splitter.end()]]
    assert texts == [f"{tag} Well, I never."]
    assert normalize(f"{tag} Well.") == "Well."
    assert normalize(f"{tag} Well.", keeps_directions=True) == f"{tag} Well."
    assert language_detector(("en", "ru")).find(f"{tag} Да", "en") == "ru"
    assert find_unsupported(tag, ["en"], []).tags == (tag,)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("MAN: Hi.", "MAN:"),
        ("OLD WOMAN 2: Hi.", "OLD WOMAN 2:"),
        ("МУЖЧИНА: Привет.", "МУЖЧИНА:"),
        ("la ♪ la", "♪"),
        ("see [the docs](http://a.b)", None),
        ("Alice: Hi.", None),
        ("It is 5 PM: late.", None),
        ("[" + "x" * 41 + "]", None),
    ],
)
def test_directions(text: str, found: str | None) -> None:
    """Labels in capitals at the beginning of a line, and notes; links and long brackets are text."""
    match = DIRECTION.search(text)
    assert (match and match.group()) == found
