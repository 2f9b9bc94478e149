"""Text as it is said."""

from __future__ import annotations

import pytest

from streamer.text.verbalize.normalize import normalize


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("It costs $12.", "It costs twelve dollars."),
        ("$3.50 or £1.01", "three dollars and fifty cents or one pound and one penny"),
        ("$1.5 million", "one point five million dollars"),
        ("at 3:45 pm", "at three forty five p m"),
        ("at 10:00", "at ten o'clock"),
        ("Nov 23, 2026", "November twenty third, twenty twenty six"),
        ("2026-11-23", "November twenty third, twenty twenty six"),
        ("in 1905 or 2000 or the 1990s", "in nineteen oh five or two thousand or the nineteen nineties"),
        ("1,250 people", "one thousand two hundred and fifty people"),
        ("3.14 and -5°C", "three point one four and minus five degrees Celsius"),
        ("50% of 1 km", "fifty percent of one kilometer"),
        ("the 21st, 1,000,005", "the twenty first, one million and five"),
        ("v2.10.4", "v two point ten point four"),
        ("Dr. Smith, e.g. on Main St.", "Doctor Smith, for example on Main street"),
        ("milk, etc. Then", "milk, et cetera. Then"),
        ("A & B = C", "A and B equals C"),
        ("NASA, the FBI and GPUs", "NASA, the f b i and g p u's"),
        ("the U.S. army", "the u s army"),
        ("in the U.S.Her brother, e.g.There", "in the u s Her brother, e g There"),
        ("WAIT FOR ME", "WAIT FOR ME"),
        ("me@x.org, https://a.com/b", "me at x dot org, a dot com slash b"),
        ("# Title\n- **one** `two` [three](http://x.y)", "Title one two three"),
        ("Hi 😀👍🏽 there ♪ la ♪ [laughter] ok", "Hi there la ok"),
        ("No. 5 and 555-1234", "number five and five five five, one two three four"),
        ("Nothing to do here, is there?", "Nothing to do here, is there?"),
    ],
)
def test_english_is_written_out(written: str, said: str) -> None:
    """Numbers, amounts, dates, abbreviations, signs and acronyms become words; emoji and markup go."""
    assert normalize(written) == said


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [
        ("de", "Es kostet 12 Euro 😀", "Es kostet zwölf Euro"),
        ("fr-CA", "Il a 3 ans.", "Il a trois ans."),
        ("nl", "Het kost 12 euro 😀", "Het kost 12 euro"),
    ],
)
def test_other_languages(language: str, written: str, said: str) -> None:
    """The numbers of other languages are written out if there are rules for them, and emoji are dropped."""
    assert normalize(written, language) == said


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [
        (
            "en",
            "MAN: It costs $12 [laughs] — well, 3:45 pm… ♪ 2 be or not 2 be ♪ THAT is it.",
            "MAN: It costs twelve dollars [laughs] — well, three forty five p m… "
            "♪ two be or not two be ♪ THAT is it.",
        ),
        ("de", "[sighs] Ich habe 5 [gasps], ja?", "[sighs] Ich habe fünf [gasps], ja?"),
        ("en", "See [the 2 docs](http://x.y).", "See the two docs."),
        ("ru", "МУЖЧИНА: 5 ₽", "МУЖЧИНА: пять рублей"),
        ("ko", "제3장: 5 달러", "제삼장: 오 달러"),
    ],
)
def test_directions_may_stay(language: str, written: str, said: str) -> None:
    """For a model that knows them, tags, notes, labels and capitals are passed through."""
    assert normalize(written, language, keeps_directions=True) == said


def test_long_numbers_are_read_by_digits() -> None:
    """No number is too long to be said."""
    assert normalize("9" * 200) == " ".join(["nine"] * 200)


@pytest.mark.parametrize("digit", ["²", "①", "٣", "१", "Ⅷ", "½"])
def test_digits_of_every_kind_are_taken(digit: str) -> None:
    """No digit makes an error, not even in an address."""
    for text in (
        digit,
        f"http://a.com/{digit}",
        f"http://¥{digit}😀.x",
        f"{digit}@x.org",
        f"5{digit} km",
        f"${digit}",
    ):
        assert isinstance(normalize(text), str)
