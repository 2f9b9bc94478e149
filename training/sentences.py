"""The texts the teacher reads: WordNet's example sentences, generated conversation and replies, in a fixed order."""

from __future__ import annotations

import random
import re
from itertools import zip_longest
from pathlib import Path

from training.replies import rare_words, replies

PLAIN = re.compile(r"[A-Za-z][A-Za-z ,'\-]*[.?!]?")
QUOTED = re.compile(r'"([^"]+)"')
MIN_WORDS, MAX_WORDS = 3, 14
NUM_WITHOUT_REPLIES = 400
NUM_REPLIES = 16_000
FRAGMENT_WORDS = (2, 6)
EVALUATION = Path(__file__).with_name("eval_sentences.txt")

PEOPLE = (
    "Anna,Ben,Carlos,Diana,Emma,Frank,Grace,Henry,Julia,Kevin,Laura,Martin,Nina,Oscar,Paul,Rosa,Sam,Tom"
).split(",")
PLACES = "the station,the library,the office,the airport,the garden,the museum,the kitchen,London,Boston,Paris".split(
    ","
)
THINGS = (
    "meeting,package,appointment,train,flight,lesson,dinner,report,interview,concert,delivery,call".split(",")
)
DAYS = "Monday,Tuesday,Wednesday,Thursday,Friday,Saturday,Sunday,tomorrow,today,next week,this evening".split(
    ","
)
HOURS = "one,two,three,four,five,six,seven,eight,nine,ten,eleven,twelve".split(",")
MINUTES = "fifteen,twenty,thirty,forty five,ten,fifty".split(",")
MONTHS = "January,February,March,April,May,June,July,August,September,October,November,December".split(",")
ORDINALS = "first,second,third,fourth,fifth,tenth,twelfth,fifteenth,twentieth,twenty third,thirtieth".split(
    ","
)
NUMBERS = (
    "seven,eleven,thirteen,sixteen,eighteen,nineteen,twenty one,thirty four,forty two,fifty,sixty eight,"
    "seventy,eighty five,ninety nine,one hundred,two hundred and fifty,one thousand,three million"
).split(",")
UNITS = "dollars,minutes,hours,percent,miles,degrees,people,pages,kilograms,years,messages,seconds".split(",")
FOODS = "milk,bread,coffee,cheese,apples,rice,soup,butter,tea,sugar,eggs,tomatoes,chicken,salad".split(",")
VERBS = "open,close,read,send,check,start,stop,change,find,cancel,play,call,write,move,explain".split(",")
TEMPLATES = (
    "Sure, I can {verb} the {thing} for you.",
    "Your {thing} is on {day} at {hour} {minute}.",
    "Would you like me to {verb} the {thing}?",
    "I have added {food}, {food2} and {food3} to your list.",
    "It costs {number} {unit}.",
    "{person} is waiting at {place}.",
    "The {thing} starts on {month} the {ordinal}.",
    "Can you tell {person} about the {thing}?",
    "That is about {number} {unit} from {place}.",
    "Hello {person}, how can I help you {day}?",
    "Thank you, {person}!",
    "Sorry, I could not find the {thing}.",
    "Please {verb} the {thing} before {hour} o'clock.",
    "What time does the {thing} start?",
    "Where is {place}, and how do I get there?",
    "No, {person} did not {verb} the {thing}.",
    "Yes, of course.",
    "Watch out, the {food} is hot!",
    "{number} plus {number2} is not {number3}.",
    "Turn right after {number} {unit}, then walk to {place}.",
    "{food}, {food2}, {food3}.",
    "Let me {verb} that for you.",
    "The temperature in {place} is {number} degrees.",
    "Good morning, {person}. You have {number} new messages.",
    "I think the {food} is better than the {food2}.",
    "Why did {person} {verb} the {thing}?",
    "One moment please, I will {verb} it.",
    "{person} and {person2} will meet at {place} {day}.",
)


def wordnet_sentences(folder: Path) -> list[str]:
    """The quoted examples of WordNet's data files that are plain English of a few words, capitalised."""
    found: dict[str, None] = {}
    for name in ("data.adj", "data.adv", "data.noun", "data.verb"):
        for line in (folder / name).read_text(encoding="utf-8").splitlines():
            for quoted in QUOTED.findall(line):
                text = " ".join(quoted.split())
                if PLAIN.fullmatch(text) and MIN_WORDS <= len(text.split()) <= MAX_WORDS:
                    text = text[0].upper() + text[1:]
                    found[text if text[-1] in ".?!" else text + "."] = None
    return list(found)


def conversation(count: int, seed: int) -> list[str]:
    """`count` different assistant's lines from the templates above."""
    chance = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        foods, numbers, people = chance.sample(FOODS, 3), chance.sample(NUMBERS, 3), chance.sample(PEOPLE, 2)
        text = chance.choice(TEMPLATES).format(
            verb=chance.choice(VERBS), thing=chance.choice(THINGS), day=chance.choice(DAYS),
            hour=chance.choice(HOURS), minute=chance.choice(MINUTES), month=chance.choice(MONTHS),
            ordinal=chance.choice(ORDINALS), unit=chance.choice(UNITS), place=chance.choice(PLACES),
            food=foods[0], food2=foods[1], food3=foods[2], number=numbers[0], number2=numbers[1],
            number3=numbers[2], person=people[0], person2=people[1],
        )  # fmt: skip
        found[text[0].upper() + text[1:]] = None
        if chance.random() < 0.02:
            found[chance.choice(FOODS + THINGS + VERBS + NUMBERS).capitalize() + "."] = None
    return list(found)[:count]


def letters(text: str) -> str:
    """What two sentences are compared by."""
    return re.sub(r"[^a-z ]", "", text.lower())


def fragments(texts: list[str], seed: int) -> list[str]:
    """Their beginnings, a few words each with a comma behind: so speech begins whose text is still being written."""
    chance = random.Random(seed)
    shortest, longest = FRAGMENT_WORDS
    cut = (text.split()[: chance.randint(shortest, longest)] for text in texts if len(text.split()) > longest)
    return [" ".join(words).rstrip(",.?!") + "," for words in cut]


def sentences(wordnet_folder: Path, *, num_conversation: int = 4000, seed: int = 1) -> list[str]:
    """All texts in their reading order, none of the evaluation's.

    First three of WordNet's to one of conversation, which are held out; then of five two of these, two replies, and
    one fragment.
    """
    forbidden = {letters(line) for line in EVALUATION.read_text().splitlines()}
    chance = random.Random(seed)
    wordnet = wordnet_sentences(wordnet_folder)
    chance.shuffle(wordnet)
    talk = conversation(num_conversation, seed)
    rows = zip_longest(wordnet[0::3], wordnet[1::3], wordnet[2::3], talk)
    texts = [text for row in rows for text in row if text and letters(text) not in forbidden]
    held_out, rest = texts[:NUM_WITHOUT_REPLIES], texts[NUM_WITHOUT_REPLIES:]
    known = {letters(text) for text in texts} | forbidden
    said = [
        text
        for text in replies(NUM_REPLIES, rare_words(wordnet_folder), seed=seed)
        if letters(text) not in known
    ]
    begun = fragments(rest[::-1], seed)
    streams = zip_longest(rest[0::2], said[0::2], rest[1::2], said[1::2], begun)
    return held_out + [text for row in streams for text in row if text]
