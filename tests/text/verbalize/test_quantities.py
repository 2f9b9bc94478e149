"""Money and measures in words."""

from __future__ import annotations

import pytest

from streamer.text.verbalize.normalize import normalize
from streamer.text.verbalize.numbers import write_numbers


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("It costs -$5 today.", "It costs minus five dollars today."),
        ("−£3.50, $-5, -5 €", "minus three pounds and fifty pence, minus five dollars, minus five euros"),
        ("It costs €29,99 here.", "It costs twenty nine euros and ninety nine cents here."),
        ("29,99 €, 29.99€", "twenty nine euros and ninety nine cents, twenty nine euros and ninety nine cents"),
        ("€1.234,56", "one thousand two hundred and thirty four euros and fifty six cents"),
        ("€1.000", "one thousand euros"),
        ("$1,234.56", "one thousand two hundred and thirty four dollars and fifty six cents"),
        ("US$20, A$20, CHF 20, 20 EUR", "twenty u s dollars, twenty Australian dollars, "
         "twenty Swiss francs, twenty euros"),
        ("$5.3 billion, £1.2m, $2.5k, €3bn", "five point three billion dollars, one point two million pounds, "
         "two point five thousand dollars, three billion euros"),
        ("$1, $0.99, $.50, $1.00, $0.01", "one dollar, ninety nine cents, fifty cents, one dollar, one cent"),
        ("NT$300, MX$20", "three hundred New Taiwan dollars, twenty Mexican pesos"),
        ("¥500, ₹1,00,000, 50¢", "five hundred yen, one hundred thousand rupees, fifty cents"),
        ("$5-10, $5-$10", "five to ten dollars, five dollars to ten dollars"),
        ("$5/month, $3.50/gal", "five dollars per month, three dollars and fifty cents per gallon"),
        ("€.5, 5€.5", "point five euros, five euros point five"),
    ],
)  # fmt: skip
def test_money_in_english(written: str, said: str) -> None:
    """Signs before and behind, both decimal signs, scales, ranges and rates are read; no minus is lost."""
    assert normalize(written) == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("10K users", "ten thousand users"),
        ("5M, 2bn, 1.5B", "five million, two billion, one point five billion"),
        ("Y2K, 5G, 7m, 401k", "Y two K, five G, seven meters, four oh one k"),
        ("5 km, 1 km, 60 mph, 3 GB, 10 mg", "five kilometers, one kilometer, sixty miles per hour, three gigabytes, "
         "ten milligrams"),
        ("16 min, 1 hr, 98.6°F, −5°C", "sixteen minutes, one hour, ninety eight point six degrees Fahrenheit, "
         "minus five degrees Celsius"),
        ("40–60°C, 5-10%", "forty to sixty degrees Celsius, five to ten percent"),
        ("20 m², 5 km², 3 m³", "twenty square meters, five square kilometers, three cubic meters"),
        ("60 km/h, 5 mg/L, 10 m/s", "sixty kilometers per hour, five milligrams per liter, ten meters per second"),
        ("20 mg/dL, 9.8 m/s²", "twenty milligrams per deciliter, nine point eight meters per second squared"),
        ("5 l/100 km, 7.5 L/100km", "five liters per one hundred kilometers, "
         "seven point five liters per one hundred kilometers"),
        ("50%, 0.5 %, 5‰, -3%", "fifty percent, zero point five percent, five per mille, minus three percent"),
        ("5 in the morning, 5in", "five in the morning, five inches"),
    ],
)  # fmt: skip
def test_measures_in_english(written: str, said: str) -> None:
    """Units have the form that their number requires, and letters are scales only if they can be."""
    assert normalize(written) == said


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [
        ("de", "1.250,50 €, 0,99 €, -5 €", "eintausendzweihundertfünfzig Euro fünfzig, "
         "neunundneunzig Cent, minus fünf Euro"),
        ("de", "5,3 Mrd. €, 1 Mio. €, 5 Mio. Menschen", "fünf Komma drei Milliarden Euro, eine Million Euro, "
         "fünf Millionen Menschen"),
        ("de", "US$20, 20 CHF", "zwanzig US-Dollar, zwanzig Schweizer Franken"),
        ("de", "1 h, 21 s, 5 km/h, -3,5 %", "eine Stunde, einundzwanzig Sekunden, fünf Kilometer pro Stunde, "
         "minus drei Komma fünf Prozent"),
        ("es", "1.250,50 €, 21 km, 1 h", "mil doscientos cincuenta euros con cincuenta, veintiún kilómetros, una hora"),
        ("es", "5 millones €", "cinco millones de euros"),
        ("fr", "1 250,50 €, 5 M€, 1 h", "mille deux cent cinquante euros cinquante, cinq millions d'euros, une heure"),
        ("fr", "0,99 €, 12 %", "quatre-vingt-dix-neuf centimes, douze pour cent"),
        ("it", "12,50 €, 5,3 mld €, 21 km", "dodici euro e cinquanta, "
         "cinque virgola tre miliardi di euro, ventun chilometri"),
        ("pt", "R$ 1.250,50, -R$ 5, 2 h", "mil duzentos e cinquenta reais e cinquenta, menos cinco reais, duas horas"),
        ("pl", "1 zł, 2 zł, 5 zł, 22 zł", "jeden złoty, dwa złote, pięć złotych, dwadzieścia dwa złote"),
        ("pl", "2 mln zł, 1,5 km, 2 min", "dwa miliony złotych, jeden przecinek pięć kilometra, dwie minuty"),
        ("ru", "1 ₽, 2 ₽, 5 ₽, 21 ₽", "один рубль, два рубля, пять рублей, двадцать один рубль"),
        ("ru", "2 млн ₽, 5 км, 21 мин", "два миллиона рублей, пять километров, двадцать одна минута"),
        ("ru", "−15 °C, 3 %", "минус пятнадцать градусов Цельсия, три процента"),
        ("tr", "₺5, %50, %10-15, 80 km/sa", "beş lira, yüzde elli, yüzde on ila on beş, saatte seksen kilometre"),
        ("hi", "₹12,34,567.89", "बारह लाख चौंतीस हज़ार पाँच सौ सड़सठ रुपये नवासी पैसे"),
        ("hi", "₹5 करोड़, 50%, 5 किमी", "पाँच करोड़ रुपये, पचास प्रतिशत, पाँच किलोमीटर"),
        ("ja", "¥1,250と20-25℃", "千二百五十円と摂氏二十から二十五度"),
        ("ja", "80km/hで5kg", "時速八十キロメートルで五キログラム"),
        ("ko", "₩1,250, 5km, 50%", "천이백오십원, 오킬로미터, 오십 퍼센트"),
        ("zh", "¥1,250，10-15%，80km/h", "一千二百五十元，百分之十到十五，每小时八十公里"),
    ],
)  # fmt: skip
def test_money_and_measures_follow_the_language(language: str, written: str, said: str) -> None:
    """Separators, plural forms, genders of units, places of percent and degrees are the language's own."""
    assert write_numbers(written, language) == said


@pytest.mark.parametrize(
    ("one", "one_point_zero"),
    [
        ("1 km", "one point zero kilometers"),
        ("1 kg", "one point zero kilograms"),
        ("1 h", "one point zero hours"),
        ("1°C", "one point zero degrees Celsius"),
        ("1 GB", "one point zero gigabytes"),
        ("SEK 1", "one point zero Swedish kronor"),
    ],
)
def test_a_number_is_said_alike_whatever_was_said_before(one: str, one_point_zero: str) -> None:
    """What is remembered of `1` does not count for `1.0`, which is equal to it and asks for the plural."""
    assert normalize(one).startswith("one ")
    assert normalize(one.replace("1", "1.0")) == one_point_zero
    assert normalize(one).startswith("one ")
