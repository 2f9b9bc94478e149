"""Fractions in words."""

from __future__ import annotations

import pytest

from streamer.text.verbalize.normalize import normalize
from streamer.text.verbalize.numbers import write_numbers


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Use 1/2 cup, 3/4 tsp", "Use one half cup, three quarters teaspoon"),
        ("Take 1½ cups", "Take one and a half cups"),
        (
            "1 1/2 km, 3½ miles, 2¾",
            "one and a half kilometers, three and a half miles, two and three quarters",
        ),
        (
            "2/3 of it, ⅓, 5/8, 1/10, -1/2",
            "two thirds of it, one third, five eighths, one tenth, minus one half",
        ),
        ("7/4, 3/2, 1/3rd", "seven quarters, three halves, one third"),
        ("24/7, 9/11, 50/50", "twenty four seven, nine eleven, fifty fifty"),
        (
            "10/10, 5/5, 100/100, 20/20",
            "ten out of ten, five out of five, one hundred out of one hundred, twenty twenty",
        ),
        ("8/10, 120/80", "eight out of ten, one hundred and twenty over eighty"),
        ("2024/25", "twenty twenty four twenty five"),
        ("km/h, and/or, w/ me", "km h, and or, with me"),
    ],
)
def test_fractions_in_english(written: str, said: str) -> None:
    """Halves, mixed numbers, shares and ratios are said as such; what only looks like a fraction is none."""
    assert normalize(written) == said


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("de", "ein halb, drei Viertel, eineinhalb, fünf Achtel"),
        ("es", "medio, tres cuartos, uno y medio, cinco octavos"),
        ("fr", "un demi, trois quarts, un et demi, cinq huitièmes"),
        ("hi", "आधा, तीन चौथाई, डेढ़, पाँच बटा आठ"),
        ("it", "mezzo, tre quarti, uno e mezzo, cinque ottavi"),
        ("ja", "二分の一, 四分の三, 一と二分の一, 八分の五"),
        ("ko", "이분의 일, 사분의 삼, 일 이분의 일, 팔분의 오"),
        ("pl", "pół, trzy czwarte, jeden i pół, pięć przez osiem"),
        ("pt", "meio, três quartos, um e meio, cinco oitavos"),
        ("ru", "половина, три четверти, один с половиной, пять восьмых"),
        ("tr", "yarım, dörtte üç, bir buçuk, sekizde beş"),
        ("zh", "二分之一, 四分之三, 一又二分之一, 八分之五"),
    ],
)
def test_fractions_follow_the_language(language: str, said: str) -> None:
    """Each language names a half, three quarters, one and a half, and five eighths in its own way."""
    assert write_numbers("1/2, 3/4, 1½, 5/8", language) == said
