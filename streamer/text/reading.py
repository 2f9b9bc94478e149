"""How a text is read: what a client may wish, and the splitter that follows it; used by `lookahead`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from streamer.errors import InvalidParameterError
from streamer.synthesis import ModelInfo
from streamer.text.language_detection import AUTO, language_detector
from streamer.text.lexicon import Lexicon
from streamer.text.phones import ANCHOR, ANNOTATED, annotated, read_phones
from streamer.text.plain import plain
from streamer.text.splitting.markdown import ChatSplitter
from streamer.text.splitting.markup import MarkupSplitter
from streamer.text.splitting.sentences import FindLanguage, SentenceSplitter
from streamer.text.verbalize.normalize import normalize
from streamer.text.verbalize.say_as import say_as

TextFormat = Literal["plain", "chat"]
TEXT_FORMATS: Final[tuple[str, ...]] = get_args(TextFormat)


@dataclass(frozen=True, slots=True)
class TextOptions:
    """`language`: one of the model's, or `auto`: found for each sentence. `text_format`: `chat` is Markdown.

    `normalizes`: whether numbers and the like are written out before they are spoken; None: as the model needs it.
    `markup`: whether pauses and tags of SSML are followed; without it they are text. `lexicon`: how words are said.
    """

    language: str = AUTO
    normalizes: bool | None = None
    text_format: str = "plain"
    markup: bool = True
    lexicon: Lexicon | None = None

    def check(self, info: ModelInfo) -> None:
        """Raises `InvalidParameterError` for a language that the model does not have, or an unknown format."""
        if self.language != AUTO and self.language not in info.languages:
            raise InvalidParameterError(
                f"this model does not speak {self.language!r}: use one of {', '.join((AUTO, *info.languages))}",
                param="language",
            )
        if self.text_format not in TEXT_FORMATS:
            raise InvalidParameterError(
                f"there is no text format {self.text_format!r}: use one of {', '.join(TEXT_FORMATS)}",
                param="text_format",
            )


AS_IT_IS: Final = TextOptions()


def create_splitter(
    info: ModelInfo, count_tokens: Callable[[str], int], options: TextOptions
) -> SentenceSplitter | MarkupSplitter | ChatSplitter:
    """A splitter for one utterance; raises `InvalidParameterError` as `TextOptions.check` does."""
    options.check(info)
    languages = tuple(info.languages)
    language, find_language = options.language, None
    if language == AUTO:
        language = languages[0] if languages else "en"
        find_language = language_detector(languages).find if len(languages) > 1 else None
    sentences = SentenceSplitter(
        count_tokens,
        info.max_text_tokens,
        language,
        find_language=find_language,
        verbalize=_verbalizer(info, options),
    )
    splitter = _with_markup(sentences, info, language, find_language) if options.markup else sentences
    return ChatSplitter(splitter) if options.text_format == "chat" else splitter


def _verbalizer(info: ModelInfo, options: TextOptions) -> Callable[[str, str], str]:
    """Return what makes the words of a sentence: the lexicon first, so that it counts more than any other rule."""
    does_normalize = info.normalizes_text if options.normalizes is None else options.normalizes

    def in_words(text: str, language: str) -> str:
        text = plain(text)
        return normalize(text, language, keeps_directions=bool(info.tags)) if does_normalize else text

    def verbalize(text: str, language: str) -> str:
        if options.lexicon is not None:
            text = options.lexicon.write(text, info.phones)
        if ANCHOR not in text:
            return in_words(text, language)
        pieces, end = [], 0
        for word in ANNOTATED.finditer(text):  # what is given in phones is not read any more
            pieces += [_between(in_words, text[end : word.start()], language), word.group()]
            end = word.end()
        return "".join([*pieces, _between(in_words, text[end:], language)]).strip()

    return verbalize


def _between(in_words: Callable[[str, str], str], text: str, language: str) -> str:
    """Return the words of a stretch that touches others, with the space at its ends."""
    words = in_words(text, language)
    if not words:
        return " " if text[:1].isspace() else ""
    return f"{' ' * text[0].isspace()}{words}{' ' * text[-1].isspace()}"


def _with_markup(
    splitter: SentenceSplitter, info: ModelInfo, language: str, find_language: FindLanguage | None
) -> MarkupSplitter:
    def language_of(text: str) -> str:
        return find_language(text, language) if find_language else language

    def pronounce(text: str, phones: str) -> str | None:
        found = read_phones(phones, info.phones)
        return annotated(" ".join(text.split()), found) if found and text.strip() else None

    return MarkupSplitter(
        splitter,
        say_as=lambda text, attributes, before: say_as(text, attributes, language_of(f"{before} {text}")),
        pronounce=pronounce,
    )
