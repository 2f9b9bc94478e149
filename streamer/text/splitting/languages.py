"""What Punkt has to know of each language, in our own short tables, because nltk ships no data for it.

Words are in lower case and without their final stop, as in Punkt's `PunktParameters`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from streamer.text.scripts import base_language


@dataclass(frozen=True, slots=True)
class LanguageTable:
    """One language."""

    titles: frozenset[str]
    """Abbreviations that stand before a name and so never end a sentence."""
    abbreviations: frozenset[str]
    before_numbers: frozenset[str]
    """Words that are abbreviations only before a number: `No. 5`."""
    before_letters: frozenset[str]
    """Words after which a single letter is a name and no initial: `vitamin C`."""
    starters: frozenset[str]
    """Frequent words whose capital shows that a sentence begins."""
    conjunctions: frozenset[str]
    """Words before which a sentence that is too long is best cut."""
    has_ordinal_stops: bool = False
    """Whether `3.` before a word is usually an ordinal."""


def _table(
    *,
    titles: str = "",
    abbreviations: str = "",
    before_numbers: str = "",
    before_letters: str = "",
    starters: str = "",
    conjunctions: str = "",
    has_ordinal_stops: bool = False,
) -> LanguageTable:
    return LanguageTable(
        titles=frozenset(titles.split()),
        abbreviations=frozenset(abbreviations.split()),
        before_numbers=frozenset(before_numbers.split()),
        before_letters=frozenset(before_letters.split()),
        starters=frozenset(starters.split()),
        conjunctions=frozenset(conjunctions.split()),
        has_ordinal_stops=has_ordinal_stops,
    )


ENGLISH: Final = _table(
    titles=(
        "mr mrs ms dr prof rev gen col capt lt sgt cmdr adm maj sen rep gov pres hon mx messrs mme mlle fr"
    ),
    abbreviations=(
        "e.g i.e etc vs cf viz al a.m p.m u.s u.k u.n u.s.a e.u d.c b.c a.d ph.d m.d b.a m.a b.sc "
        "m.sc ph.d.s "
        "jr sr st ave blvd rd mt ft inc ltd co corp bros assn dept univ est approx appt ext min max misc tel "
        "jan feb apr jun jul aug sept sep oct nov dec mon tue tues wed thu thur thurs fri "
        "ca calif mass fla ariz conn ill mich minn okla tex wash eq ed eds esp incl oz lb lbs hr hrs mph w/o"
    ),
    before_numbers="no nos vol vols fig figs p pp ch sec art para pt op mar sat sun v",
    before_letters=(
        "vitamin plan option type grade class group section part team hepatitis appendix point step gate terminal "
        "drive letter exhibit schedule size block building platform answer choice column row track bus channel model"
    ),
    starters=(
        "the a an this that these those there here he she it we you they his her its our your their my "
        "what when where who whom whose why how which while if although though because since after before "
        "as at by for from in on to with and but or so then however also still now yes no not in nor once "
        "let please thanks are is was were do does did can could will would should has have had don't is "
        "some many most all both each every any one two another such today tomorrow yesterday finally first "
        "second next instead meanwhile perhaps maybe actually well"
    ),
    conjunctions=(
        "and but or nor so yet because although though while when where which who that if as than then"
    ),
)
GERMAN: Final = _table(
    titles="hr fr frl dr prof dipl ing med phil st sr jun sen",
    abbreviations=(
        "z.b d.h u.a u.s.w usw bzw ca etc evtl ggf inkl exkl vgl z.t z.zt o.ä u.ä i.d.r s.o s.u v.a m.e "
        "n.chr v.chr str tel abs art bd jh jhdt mio mrd min max geb gest sog allg bes dt engl ehem "
        "jan feb apr jun jul aug sept okt nov dez mo di mi do fr zzgl abb anm aufl hrsg kap"
    ),
    before_numbers="nr s abs art",
    starters=(
        "der die das den dem des ein eine einen er sie es wir ihr ich du man dies diese dieser dieses "
        "und aber oder denn doch so dann danach deshalb trotzdem auch nur noch wenn weil da als wie "
        "was wer wo "
        "warum wann ja nein nicht in im am an auf mit von zu bei nach vor für aus über hier dort heute morgen"
    ),
    conjunctions="und aber oder denn weil dass wenn als ob während obwohl sondern damit die der das welche",
    has_ordinal_stops=True,
)
SPANISH: Final = _table(
    titles="sr sra srta sres dr dra d dña prof profa lic ing arq gral cap tte sto sta excmo",
    abbreviations=(
        "etc ej p.ej ee.uu s.a s.l a.m p.m a.c d.c aprox art avda av c/ cía tel ud uds vd vds ene "
        "feb mar abr "
        "jun jul ago sept oct nov dic"
    ),
    before_numbers="núm nº no pág págs p pp vol cap fig art",
    starters=(
        "el la los las un una unos unas este esta esto estos estas ese esa eso yo tú él ella ellos nosotros "
        "pero y o si no sí que qué quién cuándo cómo dónde por porque para en con de a al del cuando aunque "
        "después antes luego también ahora hoy mañana además entonces se me te le lo"
    ),
    conjunctions="y e o u pero sino porque aunque cuando que si mientras donde como",
)
FRENCH: Final = _table(
    titles="m mm mme mmes mlle mlles dr pr me mgr st ste",
    abbreviations=(
        "etc p.ex c.-à-d cf env av apr j.-c s.a janv févr avr juil sept oct nov déc tél bd éd hab max min ap"
    ),
    before_numbers="no n p pp vol chap fig art",
    starters=(
        "le la les un une des ce cet cette ces il elle ils elles nous vous je tu on mais et ou donc "
        "or ni car "
        "si non oui que qui quand comment où pourquoi parce pour dans en sur avec sans par puis "
        "ensuite alors "
        "après avant aussi ainsi maintenant demain hier"
    ),
    conjunctions="et ou mais donc car ni que qui quand si comme lorsque puisque tandis où",
)
ITALIAN: Final = _table(
    titles="sig sigg sig.ra sig.na dott dott.ssa dr prof prof.ssa ing avv arch on rag geom mons",
    abbreviations=(
        "ecc es p.es a.c d.c s.p.a s.r.l c.a tel ca gen feb mar apr mag giu lug ago sett ott nov dic "
        "cfr min max"
    ),
    before_numbers="n nn p pp pag vol cap fig art",
    starters=(
        "il lo la i gli le un una uno questo questa questi quello quella io tu lui lei noi voi loro "
        "ma e o se "
        "no sì che chi quando come dove perché per in con di da su non poi dopo prima anche ora oggi domani"
    ),
    conjunctions="e ed o ma però perché che quando se mentre dove come anche",
)
PORTUGUESE: Final = _table(
    titles="sr sra srta dr dra prof profa eng exmo exma d",
    abbreviations="etc ex p.ex a.c d.c s.a ltda av tel aprox jan fev mar abr mai jun jul ago set out nov dez",
    before_numbers="n nº núm p pp pág vol cap fig art",
    starters=(
        "o a os as um uma este esta isto esse essa isso eu tu ele ela nós vós eles elas você mas e ou se não "
        "sim que quem quando como onde porque por para em com de do da no na depois antes também agora hoje"
    ),
    conjunctions="e ou mas porque que quando se enquanto onde como embora",
)
POLISH: Final = _table(
    titles="dr mgr inż prof hab ks św płk gen",
    abbreviations="np itd itp tzn tj m.in ok ul al pl godz min max tel r w wg zob por im ang niem łac tzw pn",
    before_numbers="nr s str t rozdz",
    starters=(
        "to ten ta te ja ty on ona ono my wy oni a ale i lub czy jak kiedy gdzie kto co dlaczego nie "
        "tak w we "
        "na z ze do po od dla przed jednak potem teraz dzisiaj jutro jest są było"
    ),
    conjunctions="i a ale oraz lub albo że bo ponieważ gdy kiedy jeśli który która które",
    has_ordinal_stops=True,
)
RUSSIAN: Final = _table(
    titles="г-н г-жа гр акад проф доц им ген",
    abbreviations=(
        "т.е т.к т.д т.п т.н и.о н.э др пр см ср напр гл обл ул пер пл руб коп тыс млн млрд мин сек гг вв "
        "янв февр апр авг сент окт нояб дек"
    ),
    before_numbers="стр с рис п пп ст гл д кв",
    starters=(
        "это этот эта эти он она оно они мы вы я ты но и а или да нет не что кто как когда где "
        "почему если в во "
        "на с со по от для до после потом теперь сегодня завтра так там здесь"
    ),
    conjunctions="и а но или что чтобы если когда потому который которая которые где как",
)
TURKISH: Final = _table(
    titles="dr prof doç av sn yrd öğr",
    abbreviations="vb vs örn bkz yy tel cad sok mah apt yak a.ş ltd şti",
    before_numbers="no s sf c",
    starters=(
        "bu şu o ben sen biz siz onlar ve ama fakat ancak çünkü eğer ne nasıl neden nerede kim evet "
        "hayır bir "
        "sonra şimdi bugün yarın her için"
    ),
    conjunctions="ve veya ama fakat çünkü ancak ki eğer",
    has_ordinal_stops=True,
)
OTHER: Final = _table(abbreviations="etc dr", starters="")

LANGUAGES: Final = {
    "en": ENGLISH,
    "de": GERMAN,
    "es": SPANISH,
    "fr": FRENCH,
    "it": ITALIAN,
    "pt": PORTUGUESE,
    "pl": POLISH,
    "ru": RUSSIAN,
    "tr": TURKISH,
}


def language_table(language: str) -> LanguageTable:
    """The table of a language tag such as `en` or `en-GB`; unknown languages share a nearly empty one."""
    return LANGUAGES.get(base_language(language), OTHER)
