"""Numbers in words: what is plain, and what holds for all kinds together."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.text_kinds import KINDS, text_of
from streamer.text.verbalize import numbers
from streamer.text.verbalize.languages import WORDS
from streamer.text.verbalize.normalize import normalize
from streamer.text.verbalize.numbers import plain_digits, write_numbers
from streamer.text.verbalize.spelling import speller

SAID = {
    "1:05:30": "one hour five minutes thirty seconds",
    "-$5": "minus five dollars",
    ".5": "point five",
    "2024-12-25": "December twenty fifth, twenty twenty four",
    "12/25/2024": "December twenty fifth, twenty twenty four",
    "1/2": "one half",
    "1½": "one and a half",
    "1 000 000": "one million",
    "€29,99": "twenty nine euros and ninety nine cents",
    "US$20": "twenty u s dollars",
    "10 / 2": "ten divided by two",
    "5-10%": "five to ten percent",
    "16:9": "sixteen to nine",
    "10K": "ten thousand",
    "the 1990s": "the nineteen nineties",
    "A320": "A three twenty",
    "Chapter IV": "Chapter four",
    "−5°C": "minus five degrees Celsius",
    "24th": "twenty fourth",
    "7:45 pm": "seven forty five p m",
    "192.168.0.1": "one nine two dot one six eight dot zero dot one",
    "1e-5": "one times ten to the power of minus five",
    "2h 15m": "two hours fifteen minutes",
    "x²": "x squared",
    "007": "zero zero seven",
}
PIECES = st.sampled_from(
    [
        *"0 1 2 7 12 31 100 747 2024 1,000 1.5 .5 007 ½ ² ₂ ४ $ € £ US$ ¢ % ‰ ° °C km kg km/h K M Mio. USD zł".split(),
        *"- – − + * × / : . , ; ^ = < ~ ( ) ' \" ′ th st e E x h min pm AD II XIV I King Henry May Dec.".split(),
        *"the of on at T Z v A # No. 年 月 시 г".split(),
        *(" ", " ", " ", " ", "\u202f", "\n"),
    ]
)
UNITS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9}
TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "quadrillion": 10**15}


def value(words: str) -> int:
    """Return what a cardinal in English words is worth."""
    total = group = 0
    for word in words.split():
        if word in UNITS:
            group += UNITS[word]
        elif word in TEENS:
            group += 10 + TEENS.index(word)
        elif word in TENS:
            group += 20 + 10 * TENS.index(word)
        elif word == "hundred":
            group *= 100
        elif word in SCALES:
            total += group * SCALES[word]
            group = 0
        else:
            assert word in ("and", "zero"), words
    return total + group


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Add .5 of a cup.", "Add point five of a cup."),
        ("1 000 000, 1.000.000, 1,000,000", "one million, one million, one million"),
        ("1,00,000, 1'000'000, 10\u202f000", "one hundred thousand, one million, ten thousand"),
        ("1.234.567,89", "one million two hundred and thirty four thousand "
         "five hundred and sixty seven point eight nine"),
        ("2024 100", "twenty twenty four one hundred"),
        ("1,2,3 and 3.14", "one, two, three and three point one four"),
        ("007, 1905, 2001, 1st, 1,000th", "zero zero seven, nineteen oh five, two thousand one, "
         "first, one thousandth"),
        ("-5, (-5), -.5", "minus five, minus five, minus point five"),
        ("mid-1990s, a-5, 5-a", "mid nineteen nineties, a five, five-a"),
        ("1,503,000,627,000,496", "one quadrillion five hundred and three trillion "
         "six hundred and twenty seven million four hundred and ninety six"),
        ("9" * 20, " ".join(["nine"] * 20)),
        ("४५ and ①", "forty five and one"),
    ],
)  # fmt: skip
def test_plain_numbers_in_english(written: str, said: str) -> None:
    """Decimals, all ways to group digits, years, leading zeros, negatives and digits of every script are read."""
    assert normalize(written) == said


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [
        ("de", "1.200.000 und 3,14", "eine Million zweihunderttausend und drei Komma eins vier"),
        ("de", "1 Tag, Kapitel 1 und 2", "ein Tag, Kapitel eins und zwei"),
        ("de", "am 3. Oktober 1990, der 2. Tag", "am dritten Oktober neunzehnhundertneunzig, der zweite Tag"),
        ("de", "1 Million, A7x", "eine Million, A sieben x"),
        ("es", "1.000.000 y la 2ª", "un millón y la segunda"),
        ("fr", "1 234,5 et le 2e", "mille deux cent trente-quatre virgule cinq et le deuxième"),
        ("hi", "1,25,000, ४५", "एक लाख पच्चीस हज़ार, पैंतालीस"),
        ("it", "1.250,5", "milleduecentocinquanta virgola cinque"),
        ("ja", "3.14と1,250", "三点一四と千二百五十"),
        ("ko", "3시간, 5명, 3.14", "세시간, 다섯명, 삼점일사"),
        ("pl", "1 250,5", "tysiąc dwieście pięćdziesiąt przecinek pięć"),
        ("pt", "1.250,5", "mil duzentos e cinquenta vírgula cinco"),
        ("ru", "1 250,5", "одна тысяча двести пятьдесят запятая пять"),
        ("tr", "1.250,5, 3. perondan", "bin iki yüz elli virgül beş, üçüncü perondan"),
        ("zh", "2026年，3.14", "二〇二六年，三点一四"),
    ],
)  # fmt: skip
def test_plain_numbers_follow_the_language(language: str, written: str, said: str) -> None:
    """Groups and decimals are separated as the language does it; ordinals and counters have their forms."""
    assert write_numbers(written, language) == said


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [
        ("zh", "下午3:30在这里", "下午三点三十分在这里"),
        ("zh", "2024年12月25日10:30开会", "二〇二四年十二月二十五日十点三十分开会"),
        ("zh", "在2024-12-25见", "在二〇二四年十二月二十五日见"),
        ("zh", "加1/2杯，比分是3:1", "加二分之一杯，比分是三比一"),
        ("ja", "午後3:30に", "午後三時三十分に"),
        ("ja", "砂糖を1/2杯", "砂糖を二分の一杯"),
        ("ja", "比率は16:9です", "比率は十六対九です"),
        ("ko", "오후3:30에", "오후세 시 삼십 분에"),
    ],
)
def test_a_number_may_touch_the_words_of_its_language(language: str, written: str, said: str) -> None:
    """Where no spaces part words, times, dates, fractions and ratios are read all the same."""
    assert write_numbers(written, language) == said


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(sorted(SAID)), min_size=1, max_size=6), st.sampled_from([" and ", ", ", "; "])
)
def test_kinds_do_not_disturb_each_other(numbers: list[str], joint: str) -> None:
    """Numbers side by side are read as each is alone."""
    assert normalize(f"see {joint.join(numbers)}") == f"see {joint.join(SAID[number] for number in numbers)}"


@settings(deadline=None)
@given(st.lists(st.integers(0, 999 * 10**15).filter(lambda number: not 1100 <= number < 2100), max_size=5))
def test_every_digit_counts(numbers: list[int]) -> None:
    """The words of a number are worth what its digits are."""
    words = normalize("; ".join(f"{number:,}" for number in numbers)).split("; ")
    assert [value(word) for word in words if word] == numbers


@settings(deadline=None)
@given(st.lists(PIECES, max_size=14).map("".join))
def test_no_digit_is_left(text: str) -> None:
    """Every digit becomes a word in every language, whatever stands around it, and nothing raises."""
    for language in WORDS:
        assert not any(character.isdecimal() for character in write_numbers(text, language))
    assert not any(character.isdecimal() for character in normalize(text))


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(SAID)), max_size=6).map(", ".join))
def test_what_is_in_words_stays(text: str) -> None:
    """A text that is in words already is not changed."""
    once = normalize(text)
    assert normalize(once) == once


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(["5", "1.5", "$5", "5%", "1/2", "-5", "½", "5 km", "€5", ".5"]),
        min_size=2,
        max_size=5,
    )
)
def test_nothing_is_glued(numbers: list[str]) -> None:
    """Words of numbers that touch each other are words of numbers side by side."""
    known = set(re.findall("[a-z]+", " ".join(normalize(f"a {number} b, {number}") for number in numbers)))
    known |= {
        "minus",
        "to",
        "slash",
        "over",
        "out",
        "of",
        "half",
        "halves",
        "fifths",
        "divided",
        "by",
        "dollars",
        "euros",
    }
    known |= {
        *UNITS,
        *TEENS,
        *TENS,
        *SCALES,
        "hundred",
        "and",
        "point",
        "cents",
        "percent",
        "cent",
        "dollar",
        "euro",
    }
    words = set(re.findall("[a-z]+", normalize("".join(numbers))))
    assert not {word for word in words - known if any(word.startswith(part) and part != word for part in UNITS)} - {
        "fourth", "fourths", "sixth", "sixths", "seventh", "sevenths", "eighth", "eighths", "ninth", "ninths",
        "sixteenth", "sixteenths", "seventeenth", "fourteenth", "eighteenth", "nineteenth",
        "fourteen", "sixteen", "seventeen", "eighteen", "nineteen", "sixty", "seventy", "eighty", "ninety",
        "sixtieth", "seventieth", "eightieth", "ninetieth",
    }  # fmt: skip


@pytest.mark.parametrize(
    "unit", ["1", "1,", "1.", "1 ", "1-", "1/", "1:", "+1 ", "$", "-", "½", "X", "May ", "x^", "a"]
)
@pytest.mark.parametrize("language", ["en", "fr", "ja"])
def test_long_rows_are_taken(unit: str, language: str) -> None:
    """Thousands of characters of anything come out: no pattern goes back over what it has read."""
    assert write_numbers((unit * 4000)[:4000], language)


def texts_with_numbers(language: str) -> list[str]:
    """Return texts of all kinds, and numbers of `SAID` behind and beside each other."""
    written = [*SAID]
    pairs = [
        f"{first} {second} {first}{second}"
        for distance in (1, 5, 11)
        for first, second in zip(written, written[distance:] + written[:distance], strict=True)
    ]
    texts = [*pairs, *(text_of(kind, 100) for kind in KINDS)]
    return [plain_digits(text) for text in (texts if language == "en" else texts[::7])]


@pytest.mark.parametrize("language", WORDS)
def test_no_kind_is_passed_over_that_fits(language: str) -> None:
    """At every place the kinds that are tried have the same first one that fits as the whole table has."""
    table = numbers._kinds(speller(language))
    writer = numbers._writer(language)
    for text in texts_with_numbers(language):
        for start in {match.start() for match in numbers._START.finditer(text)}:
            tried = [kind.pattern for kind in writer._kinds_at(text, start)]
            for is_behind_amount in (False, True):
                fits = [
                    kind.pattern
                    for kind in table
                    if (is_behind_amount or not kind.needs_amount) and kind.regex.match(text, start)
                ]
                assert not fits or fits[0] in tried, (text, start, fits[0])


@pytest.mark.parametrize(
    "number", [1000, 1005, 4823, 1_000_000, 1_000_100, 12_345_678, 10**15 - 1, 10**17 + 99]
)
def test_large_english_numbers_are_those_of_the_rules(number: int) -> None:
    """They are put together from smaller ones, and are the words that CLDR's rules give."""
    words = speller("en")._engine.format_number(number, ruleset_names=["spellout-numbering-verbose"]).text
    assert speller("en").cardinal(number) == words.replace("-", " ").replace(",", "")


@pytest.mark.parametrize("language", WORDS)
@pytest.mark.parametrize("digits", ["9" * 15, "9" * 16, "9" * 17, "9" * 18, "9" * 19, "99999999999999950"])
def test_a_number_beyond_the_precision_of_floats_is_said(language: str, digits: str) -> None:
    """The rules know no words for some of them: these are read digit by digit, and never end the utterance."""
    said = write_numbers(digits, language)
    assert said and not re.search("[0-9]", said)
