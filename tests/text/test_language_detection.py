"""Which language a piece of text is in."""

from __future__ import annotations

import subprocess
import sys

import pytest

from streamer.text.language_detection import language_detector
from tests.text.sentences import LANGUAGES, SENTENCES


def test_sentences_of_13_languages() -> None:
    """At most one in a hundred is taken for another language, with no sentence before it."""
    detector = language_detector(LANGUAGES)
    wrong = [text for language, text in SENTENCES if detector.find(text, "") != language]
    assert len(wrong) <= 2, wrong


@pytest.mark.parametrize(
    ("text", "before", "language"),
    [
        ("Berlin", "de", "de"),
        ("ok", "pt", "pt"),
        ("[laughs] 3.14", "fr", "fr"),
        ("東京", "ja", "ja"),
        ("東京", "zh", "zh"),
        ("今天早上我们带着孩子们去海边", "ja", "zh"),
        ("Berlin", "ko", "en"),
        ("Ich mag 東京 und den Fuji sehr gern", "ja", "de"),
        ("我在用Huawei的耳机听音乐", "en", "zh"),
        ("MAN: [laughs] Добрый день", "en", "ru"),
        ("ﾊﾛｰ", "en", "ja"),
        ("ΑΒΓ", "de", "de"),
        ("", "tr", "tr"),
    ],
)
def test_what_does_not_say_is_as_before(text: str, before: str, language: str) -> None:
    """Names, numbers and tags go with the sentence before; letters decide, by how much of the sound they are."""
    assert language_detector(LANGUAGES).find(text, before) == language


@pytest.mark.parametrize(
    "text", ["ha ha ha", "Ha ha ha!", "Ha-ha-ha!", "Na na na na", "Je, je, je!", "Ho ho ho, ha ha ha!"]
)
def test_what_is_said_in_a_row_tells_no_more_than_once(text: str) -> None:
    """A laugh or a tune belongs to no language: it is in that of the sentence before."""
    detector = language_detector(LANGUAGES)
    assert [detector.find(text, before) for before in ("", "de", "ja")] == ["en", "de", "en"]


def test_a_repeated_word_hides_no_language() -> None:
    """The others of its sentence tell it."""
    assert language_detector(LANGUAGES).find("Ja, ja, ja, ich weiß das schon.", "en") == "de"


def test_only_the_models_languages_are_found() -> None:
    """A language that the model does not have is never the answer."""
    assert language_detector(("en", "de")).find("Où est la bibliothèque ?", "de") in ("en", "de")
    assert language_detector(("de", "ko")).find("Where is the library?", "ko") == "de"
    assert language_detector(("en", "ru")).find("圖書館在哪裡？", "ru") == "ru"


def test_one_latin_language_loads_no_tables() -> None:
    """The library is imported only if words have to be told apart."""
    code = (
        "import sys; from streamer.text.language_detection import language_detector; "
        "language_detector(('en', 'ru', 'ja')); sys.exit('py3langid' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
