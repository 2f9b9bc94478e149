"""Texts of and for an assistant: replies made from templates, and rare words in carrier sentences.

They are written with digits, signs and abbreviations, and spoken as the server's own normalization writes them out, so
that the model reads in training what it is given at run time.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path

from training.phrases import PHRASES

NAMES = (
    "Aaron,Abigail,Adele,Ahmed,Alice,Amara,Andrew,Angela,Anita,Anthony,Beatrice,Bianca,Brandon,Bruno,Camille,Cecilia,"
    "Charlotte,Chen,Chloe,Christopher,Claire,Daniel,David,Deborah,Dmitri,Edward,Elena,Elizabeth,Eric,Esther,Fatima,"
    "Felix,Fiona,Francesca,Gabriel,George,Hannah,Harold,Helen,Hiroshi,Hugo,Ibrahim,Ingrid,Isabel,Ivan,Jack,Jacob,"
    "James,Jasmine,Jennifer,Jessica,Joseph,Joshua,Judith,Karen,Katherine,Kenji,Leila,Leon,Liam,Linda,Lucas,Lucy,"
    "Margaret,Maria,Mark,Matthew,Maya,Michael,Miguel,Monica,Nadia,Natalie,Nathan,Nicholas,Noah,Olga,Olivia,Omar,"
    "Patricia,Peter,Philip,Priya,Rachel,Rebecca,Richard,Robert,Ruth,Samuel,Sandra,Sarah,Sofia,Stephen,Susan,Theresa,"
    "Thomas,Ursula,Valerie,Victor,Vincent,Walter,William,Yasmin,Zoe"
).split(",")
SURNAMES = (
    "Adams,Baker,Bennett,Brooks,Carter,Clark,Collins,Cooper,Davis,Edwards,Evans,Fischer,Fleming,Garcia,Gonzalez,Gray,"
    "Hall,Harris,Hughes,Jackson,Jensen,Johnson,Kim,King,Lee,Lewis,Lopez,Martinez,Miller,Mitchell,Morgan,Murphy,Nelson,"
    "Nguyen,Novak,Parker,Patel,Perez,Phillips,Reed,Roberts,Rogers,Russo,Sanders,Schmidt,Scott,Shaw,Silva,Singh,Smith,"
    "Stewart,Taylor,Thompson,Torres,Turner,Walker,Watson,White,Wilson,Wright,Young"
).split(",")
CITIES = (
    "Amsterdam,Athens,Atlanta,Bangkok,Barcelona,Beijing,Berlin,Brussels,Budapest,Cairo,Chicago,Copenhagen,Dallas,Delhi,"
    "Denver,Dublin,Edinburgh,Florence,Geneva,Hamburg,Helsinki,Istanbul,Jakarta,Kyoto,Lima,Lisbon,Madrid,Manchester,"
    "Melbourne,Miami,Milan,Montreal,Moscow,Mumbai,Munich,Nairobi,New York,Osaka,Oslo,Philadelphia,Prague,Rome,"
    "San Francisco,Seattle,Seoul,Singapore,Stockholm,Sydney,Toronto,Vancouver,Venice,Vienna,Warsaw,Washington,Zurich"
).split(",")
DAYS = "Monday,Tuesday,Wednesday,Thursday,Friday,Saturday,Sunday".split(",")
MONTHS = "January,February,March,April,May,June,July,August,September,October,November,December".split(",")
THINGS = (
    "account,address,alarm,appointment,battery,calendar,camera,contract,dishwasher,document,door,email,engine,file,"
    "flight,garage,headphones,heating,invoice,keyboard,light,luggage,machine,message,microphone,music,order,package,"
    "parcel,passport,password,phone,picture,playlist,printer,project,recipe,reminder,report,reservation,screen,"
    "subscription,suitcase,table,thermostat,ticket,timer,video,volume,wallet,washing machine,weather,window"
).split(",")
FOODS = (
    "avocados,bananas,basil,beans,blueberries,broccoli,carrots,cauliflower,cereal,cherries,chocolate,cinnamon,cucumbers,"
    "flour,garlic,ginger,grapes,honey,lemons,lettuce,mushrooms,mustard,noodles,oatmeal,olive oil,onions,"
    "oranges,parsley,pasta,peaches,peanuts,pepper,potatoes,raisins,salmon,sausages,spinach,strawberries,vinegar,walnuts,yogurt"
).split(",")
VERBS = (
    "arrange,book,bring,cancel,change,charge,check,choose,clean,close,compare,confirm,copy,delete,download,explain,"
    "find,finish,fix,forward,install,lock,measure,move,open,order,pause,postpone,prepare,print,record,remove,repair,"
    "replace,reserve,restart,return,save,schedule,search,send,share,show,sign,start,switch off,unlock,update,wash"
).split(",")
KINDS = (
    "bright,broken,cheap,cold,comfortable,dangerous,delicious,difficult,empty,enormous,excellent,expensive,fresh,friendly,"
    "gentle,heavy,important,interesting,loud,lovely,modern,narrow,noisy,old,peaceful,popular,quiet,rare,simple,slippery,"
    "small,smooth,strange,terrible,thick,tiny,useful,warm,wide,wonderful"
).split(",")
PLACES = (
    "airport,bakery,bank,beach,bridge,castle,church,cinema,city hall,clinic,embassy,forest,gallery,harbor,hospital,"
    "hotel,island,lake,laundry,library,lighthouse,market,mountain,museum,opera,palace,park,pharmacy,restaurant,"
    "river,school,square,stadium,station,supermarket,theater,tower,university,village,zoo"
).split(",")
TEMPLATES = (
    "It's {clock} right now in {city}.",
    "Your flight to {city} leaves at {clock} from gate {small}.",
    "The train from {city} to {city} takes about {small} hours and {minutes} minutes.",
    "That will be ${money}, please.",
    "The total comes to ${money}, including tax.",
    "{name} {surname} was born on {month} {day}, {year}.",
    "The meeting with Dr. {surname} is on {weekday}, {month} {day}, at {clock}.",
    "Okay, I've set a timer for {minutes} minutes.",
    "Sure! I'll {verb} the {thing} right away.",
    "Sorry, I didn't catch that. Could you say it again?",
    "Hmm, let me think about that for a moment.",
    "Do you want me to {verb} it now, or wait until {weekday}?",
    "You have {small} new messages from {name} and {name}.",
    "I couldn't {verb} the {thing}, because the {thing} is {kind}.",
    "What a {kind} {place}!",
    "How {kind} is the {thing}, really?",
    "I'd like {food}, {food}, {food} and some {food}.",
    "First, {verb} the {thing}; then, {verb} the {thing}.",
    "There are {big} people in {city}, and about {percent}% of them live near the {place}.",
    "The temperature in {city} is {temperature} degrees, with a {percent}% chance of rain.",
    "Take the second left after the {place}, and you'll see the {place} on your right.",
    "The {place} opens at {clock} and closes at {clock}.",
    "Would you rather visit the {place} or the {place}?",
    "My number is {phone}.",
    "Room {room} is on the {ordinal} floor, next to the {place}.",
    "Wait, are you sure that {name} said {weekday}?",
    "No problem, {name}. I can {verb} that for you.",
    "Congratulations, {name}! You finished {ordinal} out of {big}.",
    "In {year}, the {place} of {city} was {kind} and almost {kind}.",
    "According to Prof. {surname}, the {kind} {thing} costs less than ${money}.",
    "Why don't we {verb} the {thing} together?",
    "Don't forget the {food}!",
    "Well, that depends on how {kind} the {place} is.",
    "It was {kind}, {kind}, and a little {kind}.",
    "If the {thing} is {kind}, please {verb} it before {clock}.",
    "Here's what I found: {big} results for {kind} {food}.",
    "Let's meet at the {place} in {city} at {clock}.",
    "She's got {small} {kind} {food} and only one {thing}.",
    "Haven't you ever been to {city}?",
    "Version {decimal} of the {thing} is {decimal} times faster.",
    "They'll never {verb} a {thing} that {kind}.",
    "Mr. {surname} and Mrs. {surname} live at {big} {surname} Street.",
    "The recipe needs {small} cups of {food}, {minutes} grams of {food}, and a pinch of salt.",
    "Good evening, and welcome to {city}.",
    "Thanks for calling. How may I help you today?",
    "Is there anything else I can do for you?",
    "I'm afraid the {thing} won't arrive until {month} {day}.",
    "Once upon a time, a {kind} {thing} stood beside the {kind} {place}.",
    "{clock}, ${money}, Dr. {surname}, {percent}%.",
    "{small} {food}, {minutes} {food}, {percent}% {food}.",
    "Hello. This is {name} {surname}.",
    "Hello, {name}. How are you today?",
    "Hi there! I'm {name}, your {kind} assistant.",
    "Yes. The {place} is {kind}. It opens at {clock}.",
    "No! Don't {verb} the {thing}.",
    "{name}, {name}, {name} and {name}.",
)
CARRIERS = (
    "The word is {word}.",
    "She wrote {word} on the board.",
    "What does {word} mean?",
    "He said {word}, not {word}.",
    "{Word} and {word} are both on the list.",
    "I had never heard of {word} before.",
    "Is that a {word} or a {word}?",
    "They talked about {word} and {word} all evening.",
    "{Word}!",
    "{Word}, {word}, {word}.",
    "A {kind} {word} is hard to find in {city}.",
    "According to {name}, the {word} was {kind}.",
)
SHORT = (
    "Hello.",
    "Hello, {name}!",
    "Good morning.",
    "Good night, {name}.",
    "Goodbye!",
    "Yes.",
    "No.",
    "Yes, please.",
    "No, thanks.",
    "Okay, {name}.",
    "Of course!",
    "Really?",
    "Why not?",
    "Thank you.",
    "You're welcome.",
    "One moment.",
    "I see.",
    "{name}?",
    "{name} {surname}.",
    "{city}.",
    "{weekday}?",
    "{weekday}, {month} {day}.",
    "{clock}.",
    "{big}.",
    "${money}.",
    "{Kind}!",
    "{Kind} and {kind}.",
    "{Word}.",
    "{Word}?",
    "{Word}, {word}.",
    "{Kind} {word}.",
    "The {kind} {thing}.",
    "{Food}, please.",
    "In {city}.",
    "At the {place}.",
    "{Verb} it.",
)
LEMMA = re.compile(r"[a-z]{4,14}")


GAP = re.compile(r"\{(\w+)\}(s\b)?")
"""A pattern for a gap, with an `s` behind it if its value must be in the plural."""
MAX_TRIES = 4
"""The number of attempts to fill a gap with a value that the sentence does not contain yet."""
AN = re.compile(r"\b([Aa]) (?=[aeiou])(?!us[eu]|uni|eu|one?\b|once)")


def plural(noun: str) -> str:
    """Return the regular English plural of `noun`."""
    if re.search(r"(?:[sxz]|[cs]h)$", noun):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if re.search(r"[^aeiou]y$", noun) else f"{noun}s"


def reply(chance: random.Random, template: str, words: Sequence[str] = ()) -> str:
    """Return the template with every gap filled, written as a sentence."""
    used: set[str] = set()

    def value(name: str) -> str:
        if name in PHRASES:
            return GAP.sub(fill, chance.choice(PHRASES[name]))
        return str(_value(name, chance, words))

    def fill(gap: re.Match[str]) -> str:
        tries = (value(gap[1].lower()) for _ in range(MAX_TRIES))
        made = next((text for text in tries if text not in used), value(gap[1].lower()))
        used.add(made)
        made = plural(made) if gap[2] else made
        return made[0].upper() + made[1:] if gap[1][0].isupper() else made

    return AN.sub(r"\1n ", GAP.sub(fill, template))


def _value(name: str, chance: random.Random, words: Sequence[str]) -> object:
    lists = {
        "name": NAMES, "surname": SURNAMES, "city": CITIES, "weekday": DAYS, "month": MONTHS, "thing": THINGS,
        "food": FOODS, "verb": VERBS, "kind": KINDS, "place": PLACES, "word": words,
    }  # fmt: skip
    if name in lists:
        return chance.choice(lists[name])
    ordinal = chance.randint(1, 31)
    end = "th" if 10 < ordinal < 20 else {1: "st", 2: "nd", 3: "rd"}.get(ordinal % 10, "th")
    return {
        "clock": f"{chance.randint(1, 12)}:{chance.randrange(0, 60, 5):02d} {chance.choice(('am', 'pm'))}",
        "money": f"{chance.randint(1, 400)}.{chance.randint(1, 99):02d}" if chance.random() < 0.6
                 else str(chance.choice((chance.randint(1, 99), 100 * chance.randint(1, 90)))),
        "day": chance.randint(1, 31),
        "year": chance.randint(1780, 2030),
        "small": chance.randint(2, 19),
        "minutes": chance.choice((10, 15, 20, 25, 30, 40, 45, 50, chance.randint(2, 99))),
        "big": chance.choice((chance.randint(20, 999), 1000 * chance.randint(1, 90), chance.randint(1000, 9999))),
        "percent": chance.randint(1, 100),
        "temperature": chance.randint(-15, 38),
        "phone": "-".join(str(chance.randint(100, 999)) for _ in range(2)) + f"-{chance.randint(1000, 9999)}",
        "room": chance.randint(101, 999),
        "ordinal": f"{ordinal}{end}",
        "decimal": f"{chance.randint(0, 9)}.{chance.randint(1, 9)}",
    }[name]  # fmt: skip


def rare_words(wordnet_folder: Path) -> list[str]:
    """Return WordNet's lemmas that are one plain word, in their own order."""
    found: dict[str, None] = {}
    for name in ("index.adj", "index.adv", "index.noun", "index.verb"):
        for line in (wordnet_folder / name).read_text(encoding="utf-8").splitlines():
            lemma = line.partition(" ")[0]
            if LEMMA.fullmatch(lemma):
                found[lemma] = None
    return list(found)
