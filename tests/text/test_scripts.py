"""Letters and the languages written in them."""

from __future__ import annotations

import pytest

from streamer.text.scripts import script_of, scripts_of, written_in


@pytest.mark.parametrize(
    ("letters", "script"),
    [
        ("aÉß", "LATIN"),
        ("Ａｂ", "LATIN"),
        ("Дж", "CYRILLIC"),
        ("字語", "CJK"),
        ("あゝ", "HIRAGANA"),
        ("カﾊー", "KATAKANA"),
        ("한ᄀ", "HANGUL"),
        ("हम", "DEVANAGARI"),
        ("λ", "GREEK"),
        ("1.♪ \n😊\u0301", ""),
        ("ᏣᎳ", ""),
    ],
)
def test_a_letter_has_a_script(letters: str, script: str) -> None:
    """By its name in Unicode, wide and narrow forms included; other signs and rare scripts have none."""
    assert {script_of(letter) for letter in letters} == {script}


def test_languages_have_scripts() -> None:
    """A region does not matter, and a language that is not known is written in Latin letters."""
    assert scripts_of("zh-TW") == scripts_of("ZH_cn") == ("CJK",)
    assert scripts_of("en") == scripts_of("xx") == ("LATIN",)
    assert written_in("CJK", ["ko", "ja", "zh", "en"]) == ["zh", "ja", "ko"]
    assert written_in("CYRILLIC", ["en"]) == []
