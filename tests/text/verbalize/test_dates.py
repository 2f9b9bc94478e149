"""Dates and times of day in words."""

from __future__ import annotations

import pytest

from streamer.text.verbalize.normalize import normalize
from streamer.text.verbalize.numbers import write_numbers


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("on 12/25/2024", "on December twenty fifth, twenty twenty four"),
        ("on 03/04/2024", "on March fourth, twenty twenty four"),
        ("on 25/12/2024", "on December twenty fifth, twenty twenty four"),
        ("on 12/25/24", "on December twenty fifth, twenty four"),
        ("on 25.12.2024", "on December twenty fifth, twenty twenty four"),
        ("on 3.4.2024", "on April third, twenty twenty four"),
        ("on 2024-12-25", "on December twenty fifth, twenty twenty four"),
        ("on 2024/12/25", "on December twenty fifth, twenty twenty four"),
        ("2024-12-25 10:30", "December twenty fifth, twenty twenty four, ten thirty"),
        ("2024-12-25T10:30:00Z", "December twenty fifth, twenty twenty four, ten thirty u t c"),
        (
            "2024-12-25T10:30:15-05:30",
            "December twenty fifth, twenty twenty four, ten thirty and fifteen seconds u t c minus five thirty",
        ),
        ("99/99/2024", "ninety nine slash ninety nine slash twenty twenty four"),
    ],
)
def test_dates_in_digits_are_read_as_dates(written: str, said: str) -> None:
    """The month comes first in English, unless it cannot be one; dots put the day first; 24/25/2024 is no date."""
    assert normalize(written) == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("The race took 1:05:30 in all.", "The race took one hour five minutes thirty seconds in all."),
        ("It took 1:00:30.", "It took one hour thirty seconds."),
        ("It took 36:15:00.", "It took thirty six hours fifteen minutes."),
        ("at 1:05:30", "at one oh five and thirty seconds"),
        ("14:05:30", "fourteen oh five and thirty seconds"),
        ("9:30PM, 9:30 a.m.", "nine thirty p m, nine thirty ay m."),
        ("14:05, 7:00, 14:00, 0:30", "fourteen oh five, seven o'clock, fourteen hundred, zero thirty"),
        ("at 5, at 5 pm, at 5 o'clock", "at five, at five p m, at five o'clock"),
        ("We met at 5 p.m.", "We met at five p m."),
        ("9am-5pm, 10:30-11:45", "nine ay m to five p m, ten thirty to eleven forty five"),
        ("10:30 EST, 10:30Z", "ten thirty e s t, ten thirty u t c"),
        ("1:02.5, 1:59.40", "one minute two point five seconds, one minute fifty nine point four zero seconds"),
        ("2:30 hours, 4:30 min", "two hours thirty minutes, four minutes thirty seconds"),
        ("2h 15m, 2h15m30s, 5m 30s, 1d 4h", "two hours fifteen minutes, two hours fifteen minutes thirty seconds, "
         "five minutes thirty seconds, one day four hours"),
    ],
)  # fmt: skip
def test_times_and_durations_are_told_apart(written: str, said: str) -> None:
    """h:mm:ss is a duration unless a word before it or a second digit of the hour says otherwise."""
    assert normalize(written) == said


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [
        ("de", "am 25.12.2024", "am fünfundzwanzigsten Dezember zweitausendvierundzwanzig"),
        ("de", "Heute ist der 3.4.2024", "Heute ist der dritte April zweitausendvierundzwanzig"),
        ("de", "25. Dezember 1999", "fünfundzwanzigster Dezember neunzehnhundertneunundneunzig"),
        ("de", "um 14:05:30 Uhr", "um vierzehn Uhr fünf und dreißig Sekunden"),
        ("de", "in 1:05:30", "in eine Stunde fünf Minuten dreißig Sekunden"),
        ("es", "el 25/12/2024", "el veinticinco de diciembre de dos mil veinticuatro"),
        ("es", "el 1 de enero de 2024", "el primero de enero de dos mil veinticuatro"),
        ("fr", "le 3/4/2024", "le trois avril deux mille vingt-quatre"),
        ("fr", "le 1er janvier 2024", "le premier janvier deux mille vingt-quatre"),
        ("fr", "à 14h30", "à quatorze heures trente"),
        ("it", "il 25/12/2024, 1 gennaio", "il venticinque dicembre duemilaventiquattro, primo gennaio"),
        ("pt", "em 25/12/2024, 1 de maio", "em vinte e cinco de dezembro de dois mil e vinte e quatro, "
         "primeiro de maio"),
        ("pl", "25.12.2024", "dwudziestego piątego grudnia dwa tysiące dwudziestego czwartego roku"),
        ("pl", "w 2024 roku", "w dwa tysiące dwudziestym czwartym roku"),
        ("pl", "3 maja 1999 roku", "trzeciego maja tysiąc dziewięćset dziewięćdziesiątego dziewiątego roku"),
        ("ru", "25.12.2024", "двадцать пятого декабря две тысячи двадцать четвертого года"),
        ("ru", "1 января", "первого января"),
        ("ru", "в 2024 году", "в две тысячи двадцать четвертом году"),
        ("tr", "25.12.2024", "yirmi beş Aralık iki bin yirmi dört"),
        ("hi", "25/12/2024", "पच्चीस दिसंबर दो हज़ार चौबीस"),
        ("ja", "2024/12/25", "二千二十四年十二月二十五日"),
        ("ko", "2024-06-10", "이천이십사년 유월 십일"),
        ("ko", "10월 3일", "시월 삼일"),
        ("zh", "2024-12-25", "二〇二四年十二月二十五日"),
    ],
)  # fmt: skip
def test_dates_follow_the_language(language: str, written: str, said: str) -> None:
    """The order of day and month, the first of a month, cases and the year's form are the language's own."""
    assert write_numbers(written, language) == said
