"""Data of thirteen languages: separators, the order of a date, the words of a point, a range, a fraction.

Counting comes from CLDR's spell-out rules (`spelling`), the names of months and units from CLDR by Babel (`units`);
only what these two do not know is here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

NUMBERING: Final = "spellout-numbering"
MASCULINE: Final = "spellout-cardinal-masculine"
FEMININE: Final = "spellout-cardinal-feminine"
NATIVE_KOREAN: Final = "spellout-cardinal-native-attributive"

DateOrder = Literal["dmy", "mdy"]


@dataclass(frozen=True, slots=True)
class NumberWords:
    """`NumberWords` are the words and marks of one language.

    Forms of a name stand in CLDR's order: `one|other`, or `one|few|many|other`.
    """

    point: str
    """The word for the decimal sign."""
    dot: str
    """The word for the dots of a version or of an IP address."""
    to: str
    """The word in a range; it is empty if a range is two numbers side by side."""
    date: str
    time: str
    hour: str
    """The reading of a full hour; `{hours}` is the name in `hours` that fits the number."""
    currencies: str
    """The signs and the forms of their names; `*` marks a feminine name."""
    cents: str = ""
    """The hundredths of these currencies, for amounts below one."""
    cents_after: str | None = " "
    """The words between an amount and its hundredths; None if they are read as decimals."""
    names_cents: bool = False
    """Whether the hundredths are named behind a whole amount too (`and fifty cents`)."""
    seconds: str = "{} {}"
    """The template that joins a time of day and its seconds."""
    fraction: str = ""
    """The template for a fraction that `fractions` lacks: `{n}` over `{d}`."""
    fractions: dict[str, str] = field(default_factory=dict)
    ratio: str = ""
    """The word between the two numbers of `16:9`."""
    mixed: str = "{} {}"
    mixed_half: str = ""
    """The template for a whole number and a half; it is empty if `mixed` serves."""
    comma_groups: bool = False
    """Whether 1,250.5 is written as in English; the others write 1.250,5."""
    space_groups: bool = False
    """Whether a plain space may stand between groups of digits (1 250,5)."""
    has_spaces: bool = True
    date_order: DateOrder = "dmy"
    """The order of 03/04/2024; a part above 12 is the day in either order."""
    day_rules: tuple[tuple[str, str], ...] = (("", NUMBERING),)
    """Patterns of what stands before a date, and the rules by which its day is counted then."""
    first_day: str = ""
    year_rules: str = NUMBERING
    after_year: str = ""
    hours: str = ""
    hour_rules: str = NUMBERING
    time_marks: str = ":"
    after_time: str = ""
    at: str = r"(?!)"
    """A pattern for what shows, before h:mm:ss, a time of day rather than a duration."""
    ordinals: tuple[tuple[str, str], ...] = ()
    """Patterns with the number `n`, and the rules that count it."""
    scales: str = ""
    """A pattern for words between a number and a currency."""
    abbreviated_scales: dict[str, str] = field(default_factory=dict)
    """Their abbreviations and the forms of the words; `*` as in `currencies`."""
    of_scale: str = ""
    """The word between such a word and the currency (`cinq millions d'euros`)."""
    feminine_units: frozenset[str] = frozenset()
    unit_symbols: dict[str, str] = field(default_factory=dict)
    """Symbols in the language's own letters, and CLDR's names of their units."""


_ROMANCE_ORDINALS: Final = (
    (r"(?P<n>[0-9]{1,3})\.?º", "spellout-ordinal-masculine"),
    (r"(?P<n>[0-9]{1,3})\.?ª", "spellout-ordinal-feminine"),
)
_TIMES: Final = frozenset(["duration-hour", "duration-minute", "duration-second"])
_FEMININE: Final = frozenset(
    ["duration-week", "mass-tonne", "mass-ounce", "energy-calorie", "energy-kilocalorie"]
)
_MILES: Final = frozenset(["length-mile", "speed-mile-per-hour"])
_POUNDS: Final = frozenset(["mass-pound"])
_INCHES: Final = frozenset(["length-inch"])

WORDS: Final = {
    "en": NumberWords(
        "point", "dot", "to", "{month} {day}, {year}", "{h} {m}", "{h} {hours}",
        "$ dollar|dollars € euro|euros £ pound|pounds ¥ yen|yen ₹ rupee|rupees ₩ won|won ₽ ruble|rubles ¢ cent|cents",
        "$ cent|cents € cent|cents £ penny|pence ₹ paisa|paise", " and ", names_cents=True,
        seconds="{} and {}", fraction="{n} over {d}", ratio="to",
        fractions={"1/2": "one half", "1/4": "one quarter", "3/4": "three quarters"},
        mixed="{} and {}", mixed_half="{} and a half", comma_groups=True, date_order="mdy",
        day_rules=(("", "spellout-ordinal-verbose"),), year_rules="spellout-numbering-year",
        at=r"\b(?:at|until|till|by|since|from|before|after|around|about|is|to) $",
        ordinals=((r"\b(?P<n>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,15})(?:st|nd|rd|th)\b", "spellout-ordinal-verbose"),),
        unit_symbols={
            "fps": "frames-per-second", "rpm": "revolutions-per-minute", "bpm": "beats-per-minute",
            "kbps": "kilobits-per-second", "Mbps": "megabits-per-second", "Gbps": "gigabits-per-second",
            "dB": "decibels",
        },
        scales="hundred|thousand|million|billion|trillion|quadrillion|lakh|crore",
        abbreviated_scales={
            "k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million", "mln": "million",
            "mm": "million", "MM": "million", "b": "billion", "B": "billion", "bn": "billion", "Bn": "billion",
            "bln": "billion", "t": "trillion", "T": "trillion", "tn": "trillion", "trn": "trillion",
        },
    ),
    "de": NumberWords(
        "Komma", "Punkt", "bis", "{day} {month} {year}", "{h} Uhr {m}", "{h} Uhr",
        "€ Euro|Euro $ Dollar|Dollar £ Pfund|Pfund ¥ Yen|Yen", "€ Cent|Cent $ Cent|Cent £ Penny|Pence",
        ratio="zu", seconds="{} und {}", fraction="{n} {d}", fractions={
            "1/2": "ein halb", "1/3": "ein Drittel", "2/3": "zwei Drittel", "1/4": "ein Viertel", "3/4": "drei Viertel",
        },
        mixed_half="{}einhalb",
        day_rules=((r"\b[Dd](?:er|ie|as) $", "spellout-ordinal"), (r"\A$", "spellout-ordinal-r"),
                   ("", "spellout-ordinal-n")),
        year_rules="spellout-numbering-year", hour_rules=MASCULINE, after_time=" ?Uhr",
        at=r"\b[Uu]m |\b[Aa]b |\b[Bb]is ",
        ordinals=(
            (r"\b(?P<before>(?:[Aa]m|[Vv]om|[Zz]um|[Ii]m|[Bb]is|[Aa]b|de[mns]|\w{2,12}e[mnrs]) )"
             r"(?P<n>[0-9]{1,3})\.(?= \w)", "spellout-ordinal-n"),
            (r"\b(?P<before>(?:[Dd]er|[Dd]ie|[Dd]as) )(?P<n>[0-9]{1,3})\.(?= \w)", "spellout-ordinal"),
        ),
        scales="Tausend|Million(?:en)?|Milliarden?|Billion(?:en)?",
        abbreviated_scales={"Tsd.": "Tausend", "Mio.": "*Million|Millionen", "Mio": "*Million|Millionen",
                            "Mrd.": "*Milliarde|Milliarden", "Mrd": "*Milliarde|Milliarden",
                            "Bio.": "*Billion|Billionen"},
        feminine_units=_TIMES | _FEMININE | _MILES,
        unit_symbols={"Std.": "duration-hour", "Min.": "duration-minute", "Sek.": "duration-second"},
    ),
    "es": NumberWords(
        "coma", "punto", "a", "{day} de {month} de {year}", "{h} {m}", "{h} {hours}",
        "€ euro|euros $ dólar|dólares £ *libra|libras ¥ yen|yenes",
        "€ céntimo|céntimos $ centavo|centavos £ penique|peniques", " con ",
        ratio="a", seconds="{} y {}", fraction="{n} {d}", fractions={
            "1/2": "medio", "1/3": "un tercio", "2/3": "dos tercios", "1/4": "un cuarto", "3/4": "tres cuartos",
        },
        mixed="{} y {}", first_day="primero",
        hours="hora|horas", hour_rules=FEMININE, at=r"\blas? ", ordinals=_ROMANCE_ORDINALS,
        scales="mil|mil millones|mill(?:ón|ones)|bill(?:ón|ones)", abbreviated_scales={"mill.": "millón|millones"},
        of_scale=" de", feminine_units=_FEMININE | _MILES | _POUNDS | _INCHES | {"duration-hour"},
    ),
    "fr": NumberWords(
        "virgule", "point", "à", "{day} {month} {year}", "{h} {hours} {m}", "{h} {hours}",
        "€ euro|euros $ dollar|dollars £ *livre|livres ¥ yen|yens",
        "€ centime|centimes $ cent|cents £ penny|pence",
        ratio="à", seconds="{} et {}", fraction="{n} {d}", fractions={
            "1/2": "un demi", "1/3": "un tiers", "2/3": "deux tiers", "1/4": "un quart", "3/4": "trois quarts",
        },
        mixed="{} et {}", mixed_half="{} et demi", first_day="premier", space_groups=True,
        hours="heure|heures", hour_rules=FEMININE, time_marks="[:h]|[ \u00a0\u202f]h[ \u00a0\u202f]",
        at=r"\b(?:à|vers|dès) ",
        ordinals=((r"\b(?P<n>[0-9]{1,3})(?:er|e|ème)\b", "spellout-ordinal-masculine"),
                  (r"\b(?P<n>[0-9]{1,3})re\b", "spellout-ordinal-feminine")),
        scales="mille|millions?|milliards?",
        abbreviated_scales={"M": "million|millions", "Md": "milliard|milliards", "Mds": "milliard|milliards",
                            "Mio": "million|millions", "k": "mille"},
        of_scale=" de", feminine_units=_TIMES | _FEMININE | _POUNDS,
    ),
    "hi": NumberWords(
        "दशमलव", "डॉट", "से", "{day} {month} {year}", "{h} {m}", "{h}",
        "€ यूरो|यूरो $ डॉलर|डॉलर £ पाउंड|पाउंड ¥ येन|येन ₹ रुपया|रुपये", "$ सेंट|सेंट € सेंट|सेंट ₹ पैसा|पैसे",
        names_cents=True,
        fraction="{n} बटा {d}", fractions={
            "1/2": "आधा", "1/3": "एक तिहाई", "2/3": "दो तिहाई", "1/4": "एक चौथाई", "3/4": "तीन चौथाई",
            "1 1/2": "डेढ़", "2 1/2": "ढाई",
        },
        mixed="{} और {}", mixed_half="साढ़े {}", comma_groups=True,
        scales="हज़ार|हजार|लाख|करोड़|अरब|मिलियन|बिलियन",
        unit_symbols={"किमी": "length-kilometer", "मी": "length-meter", "सेमी": "length-centimeter",
                      "किग्रा": "mass-kilogram", "ग्रा": "mass-gram", "ली": "volume-liter"},
    ),
    "it": NumberWords(
        "virgola", "punto", "a", "{day} {month} {year}", "{h} e {m}", "{h}",
        "€ euro|euro $ dollaro|dollari £ *sterlina|sterline ¥ yen|yen",
        "€ centesimo|centesimi $ centesimo|centesimi £ penny|pence", " e ",
        ratio="a", seconds="{} e {}", fraction="{n} {d}", fractions={
            "1/2": "mezzo", "1/3": "un terzo", "2/3": "due terzi", "1/4": "un quarto", "3/4": "tre quarti",
        },
        mixed="{} e {}", first_day="primo", at=r"\b[Aa]lle |\b[Dd]alle ", ordinals=_ROMANCE_ORDINALS,
        scales="mila|milion[ei]|miliard[oi]",
        abbreviated_scales={"mln": "milione|milioni", "mld": "miliardo|miliardi"}, of_scale=" di",
        feminine_units=_FEMININE | _POUNDS | {"duration-hour"},
    ),
    "ja": NumberWords(
        "点", "点", "から", "{year}年{month}月{day}日", "{h}時{m}分", "{h}時",
        "€ ユーロ|ユーロ $ ドル|ドル £ ポンド|ポンド ¥ 円|円", cents_after=None,
        ratio="対", seconds="{}{}", fraction="{d}分の{n}", mixed="{}と{}",
        comma_groups=True, has_spaces=False, date_order="mdy",
        scales="[万億兆]",
    ),
    "ko": NumberWords(
        "점", "점", "에서", "{year}년 {month}월 {day}일", "{h} 시 {m} 분", "{h} 시",
        "€ 유로|유로 $ 달러|달러 £ 파운드|파운드 ¥ 엔|엔 ₩ 원|원", cents_after=None,
        ratio="대", seconds="{}{}", fraction="{d}분의 {n}", comma_groups=True, date_order="mdy", scales="[천만억조]",
    ),
    "pl": NumberWords(
        "przecinek", "kropka", "", "{day} {month} {year}", "{h} {m}", "{h}",
        "€ euro|euro|euro|euro $ dolar|dolary|dolarów|dolara £ funt|funty|funtów|funta ¥ jen|jeny|jenów|jena "
        "zł złoty|złote|złotych|złotego",
        "€ cent|centy|centów|centa $ cent|centy|centów|centa zł grosz|grosze|groszy|grosza £ pens|pensy|pensów|pensa",
        seconds="{} i {}", fraction="{n} przez {d}", fractions={
            "1/2": "pół", "1/3": "jedna trzecia", "2/3": "dwie trzecie", "1/4": "jedna czwarta", "3/4": "trzy czwarte",
        },
        mixed="{} i {}", space_groups=True, at=r"\b[Oo] ",
        day_rules=(("", "genitive"),), year_rules="genitive", after_year=" roku",
        scales="tysi[ąę]c[ey]?|milion(?:y|ów)?|miliard(?:y|ów)?",
        abbreviated_scales={
            "tys.": "tysiąc|tysiące|tysięcy|tysiąca", "mln": "milion|miliony|milionów|miliona",
            "mld": "miliard|miliardy|miliardów|miliarda",
        },
        feminine_units=_TIMES | _FEMININE | _MILES,
        unit_symbols={"godz.": "duration-hour", "godz": "duration-hour", "km/godz.": "speed-kilometer-per-hour",
                      "sek.": "duration-second"},
    ),
    "pt": NumberWords(
        "vírgula", "ponto", "a", "{day} de {month} de {year}", "{h} e {m}", "{h} {hours}",
        "R$ real|reais € euro|euros $ dólar|dólares £ *libra|libras ¥ iene|ienes",
        "R$ centavo|centavos € cêntimo|cêntimos $ centavo|centavos £ penny|pence", " e ",
        ratio="a", seconds="{} e {}", fraction="{n} {d}", fractions={
            "1/2": "meio", "1/3": "um terço", "2/3": "dois terços", "1/4": "um quarto", "3/4": "três quartos",
        },
        mixed="{} e {}", first_day="primeiro",
        hours="hora|horas", hour_rules=FEMININE, time_marks="[:h]", at=r"\b[àa]s? ", ordinals=_ROMANCE_ORDINALS,
        scales="mil|milh(?:ão|ões)|bilh(?:ão|ões)|mil milhões",
        abbreviated_scales={"mi": "milhão|milhões", "bi": "bilhão|bilhões"},
        of_scale=" de", feminine_units=_FEMININE | _MILES | _POUNDS | _INCHES | {"duration-hour"},
    ),
    "ru": NumberWords(
        "запятая", "точка", "", "{day} {month} {year}", "{h} {m}", "{h} {hours}",
        "€ евро|евро|евро|евро $ доллар|доллара|долларов|доллара £ фунт|фунта|фунтов|фунта "
        "¥ *иена|иены|иен|иены ₽ рубль|рубля|рублей|рубля",
        "€ цент|цента|центов|цента $ цент|цента|центов|цента ₽ *копейка|копейки|копеек|копейки",
        seconds="{} и {}", fraction="{n} {d}", fractions={
            "1/2": "половина", "1/3": "одна треть", "2/3": "две трети", "1/4": "одна четверть", "3/4": "три четверти",
        },
        mixed="{} и {}", mixed_half="{} с половиной", space_groups=True, at=r"\b[Вв] ",
        day_rules=(("", "spellout-ordinal-neuter-genitive"),),
        year_rules="spellout-ordinal-masculine-genitive", after_year=" года", hours="час|часа|часов|часа",
        scales="тысяч[аи]?|миллион(?:а|ов)?|миллиард(?:а|ов)?",
        abbreviated_scales={
            "тыс.": "*тысяча|тысячи|тысяч|тысячи", "млн": "миллион|миллиона|миллионов|миллиона",
            "млрд": "миллиард|миллиарда|миллиардов|миллиарда", "трлн": "триллион|триллиона|триллионов|триллиона",
        },
        feminine_units=_FEMININE | _MILES | {"duration-minute", "duration-second"},
        unit_symbols={
            "км/ч": "speed-kilometer-per-hour", "м/с": "speed-meter-per-second", "км": "length-kilometer",
            "м": "length-meter", "см": "length-centimeter", "мм": "length-millimeter", "кг": "mass-kilogram",
            "г": "mass-gram", "мг": "mass-milligram", "т": "mass-tonne", "л": "volume-liter", "мл": "volume-milliliter",
            "ч": "duration-hour", "мин": "duration-minute", "с": "duration-second", "сек": "duration-second",
            "ГБ": "digital-gigabyte", "МБ": "digital-megabyte", "КБ": "digital-kilobyte", "ТБ": "digital-terabyte",
            "Вт": "power-watt", "кВт": "power-kilowatt", "В": "electric-volt", "Гц": "frequency-hertz",
            "м^2": "area-square-meter", "км^2": "area-square-kilometer", "м^3": "volume-cubic-meter",
        },
    ),
    "tr": NumberWords(
        "virgül", "nokta", "ila", "{day} {month} {year}", "{h} {m}", "{h}",
        "€ euro|euro $ dolar|dolar £ sterlin|sterlin ¥ yen|yen ₺ lira|lira", "€ sent|sent $ sent|sent ₺ kuruş|kuruş",
        fraction="{d} {n}", fractions={"1/2": "yarım"}, mixed="{} tam {}", mixed_half="{} buçuk",
        at=r"\b[Ss]aat ", ordinals=((r"\b(?P<n>[0-9]{1,3})\.(?= [a-zçğıöşü])", "spellout-ordinal"),),
        scales="bin|milyon|milyar|trilyon", abbreviated_scales={"mn": "milyon", "mr": "milyar"},
        unit_symbols={"sa.": "duration-hour", "dk.": "duration-minute", "dk": "duration-minute",
                      "sn": "duration-second", "km/sa": "speed-kilometer-per-hour"},
    ),
    "zh": NumberWords(
        "点", "点", "到", "{year}年{month}月{day}日", "{h}点{m}分", "{h}点",
        "€ 欧元|欧元 $ 美元|美元 £ 英镑|英镑 ¥ 元|元", cents_after=None,
        ratio="比", seconds="{}{}", fraction="{d}分之{n}", mixed="{}又{}",
        comma_groups=True, has_spaces=False, date_order="mdy",
        scales="[百千万亿]",
    ),
}  # fmt: skip
