"""Dates and measures that only English has, in words."""

from __future__ import annotations

import pytest

from streamer.text.verbalize.normalize import normalize


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("On the 24th of May we left.", "On the twenty fourth of May we left."),
        ("On 24 May 2024 we left.", "On the twenty fourth of May, twenty twenty four we left."),
        ("the 4th July 1776", "the fourth of July, seventeen seventy six"),
        ("Dec. 25, 2024", "December twenty fifth, twenty twenty four"),
        ("May 24, May 24th", "May twenty fourth, May twenty fourth"),
        ("May 3-5, 24–26 May", "May third to fifth, the twenty fourth to twenty sixth of May"),
        ("May 2024, Sept 2001", "May twenty twenty four, September two thousand one"),
        ("by 12/25, on 9/11", "by December twenty fifth, on nine eleven"),
        ("May 5,000 come", "May five thousand come"),
        ("1990s, the '60s, mid-80s", "nineteen nineties, the sixties, mid eighties"),
        ("the 2020s, the 1800s, in his 30s", "the twenty twenties, the eighteen hundreds, in his thirties"),
        ("a 30s timeout", "a thirty seconds timeout"),
        ("1493 to 1479 BC", "fourteen ninety three to fourteen seventy nine b c"),
        ("AD 79, 1066 A.D., 500 BCE", "ay d seventy nine, ten sixty six ay d, five hundred b c e"),
    ],
)
def test_dates_keep_their_order(written: str, said: str) -> None:
    """A day before its month stays before it; decades and eras are said as such."""
    assert normalize(written) == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("5'11\", 5'11 and 6 ft 2 in", "five foot eleven, five foot eleven and six foot two"),
        ("a 27\" monitor, it is 6 ft. tall", "a twenty seven inch monitor, it is six feet tall"),
        ("a 12\" pizza, my 10\" pan", "a twelve inch pizza, my ten inch pan"),
        ("8\" x 10\" prints, 8\"x10\"", "eight inch by ten inch prints, eight inch by ten"),
        ('he was "12" then, "I was 12" he said', "he was twelve then, I was twelve he said"),
        ('"in 2012" they said', "in twenty twelve they said"),
        ("40°26′", "forty degrees twenty six minutes"),
        ("a 5-km run, a 10-year-old", "a five kilometer run, a ten-year-old"),
        ("1e-5, 3.2e8", "one times ten to the power of minus five, "
         "three point two times ten to the power of eight"),
        ("10x faster, a 4K video", "ten times faster, a four k video"),
    ],
)  # fmt: skip
def test_measures_of_english(written: str, said: str) -> None:
    """Feet and inches, angles, units before nouns and powers of ten are read; a quotation mark is no inch."""
    assert normalize(written) == said
