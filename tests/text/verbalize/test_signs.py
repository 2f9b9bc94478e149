"""Signs between numbers in words."""

from __future__ import annotations

import pytest

from streamer.text.verbalize.normalize import normalize
from streamer.text.verbalize.numbers import write_numbers


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("10 / 2, 5 * 3, 5*3, (2+3)*4", "ten divided by two, five times three, five times three, "
         "two plus three times four"),
        ("2 + 2 = 4, 3 × 4, 7 ÷ 2", "two plus two equals four, three times four, seven divided by two"),
        ("5 - 3 = 2, 10 − 4", "five minus three equals two, ten minus four"),
        ("x^2, x², 10⁶, 2^10, E=mc²", "x squared, x squared, ten to the power of six, two to the power of ten, "
         "E equals mc squared"),
        ("word² here", "word two here"),
        ("6.02×10^23", "six point zero two times ten to the power of twenty three"),
        ("1920×1080, 3x4, 2 x 4", "nineteen twenty by one thousand and eighty, three by four, two by four"),
        ("±5, ≈3, ~3, √16", "plus or minus five, about three, about three, square root of sixteen"),
        ("3 < 5, 5 > 3, 5 >= 4", "three less than five, five greater than three, five greater than or equal to four"),
        ("5-10, 3–2, 1990–95, 2019-2020", "five to ten, three to two, nineteen ninety to ninety five, "
         "twenty nineteen to twenty twenty"),
        ("16:9, 4:3, 1:50,000, 50:50", "sixteen to nine, four to three, one to fifty thousand, fifty fifty"),
        ("§ 5, 5+", "section five, five plus"),
    ],
)  # fmt: skip
def test_signs_in_english(written: str, said: str) -> None:
    """Operators, powers, ranges, ratios and comparisons are said; Markdown's stars between numbers are a product."""
    assert normalize(written) == said


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("de", "fünf bis zehn, minus fünf, sechzehn zu neun"),
        ("es", "cinco a diez, menos cinco, dieciséis a nueve"),
        ("fr", "cinq à dix, moins cinq, seize à neuf"),
        ("hi", "पाँच से दस, ऋण पाँच, सोलह नौ"),
        ("it", "cinque a dieci, meno cinque, sedici a nove"),
        ("ja", "五から十, マイナス五, 十六対九"),
        ("ko", "오에서 십, 마이너스 오, 십육대구"),
        ("pl", "pięć dziesięć, minus pięć, szesnaście dziewięć"),
        ("pt", "cinco a dez, menos cinco, dezesseis a nove"),
        ("ru", "пять десять, минус пять, шестнадцать девять"),
        ("tr", "beş ila on, eksi beş, on altı dokuz"),
        ("zh", "五到十, 负五, 十六比九"),
    ],
)
def test_ranges_minus_and_ratios_follow_the_language(language: str, said: str) -> None:
    """Two numbers stand side by side if a word between them would require a case."""
    assert write_numbers("5-10, -5, 16:9", language) == said
