"""How a text is read: what a client may wish, and the splitter that follows it; used by `lookahead`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from streamer.errors import InvalidParameterError
from streamer.synthesis import ModelInfo
from streamer.text.language_detection import AUTO, language_detector
from streamer.text.plain import plain
from streamer.text.splitting.markdown import ChatSplitter
from streamer.text.splitting.sentences import SentenceSplitter
from streamer.text.verbalize.normalize import normalize

TextFormat = Literal["plain", "chat"]
TEXT_FORMATS: Final[tuple[str, ...]] = get_args(TextFormat)


@dataclass(frozen=True, slots=True)
class TextOptions:
    """`language`: one of the model's, or `auto`: found for each sentence. `text_format`: `chat` is Markdown.

    `normalizes`: whether numbers and the like are written out before they are spoken; None: as the model needs it.
    """

    language: str = AUTO
    normalizes: bool | None = None
    text_format: str = "plain"

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
) -> SentenceSplitter | ChatSplitter:
    """A splitter for one utterance; raises `InvalidParameterError` as `TextOptions.check` does."""
    options.check(info)
    languages = tuple(info.languages)
    does_normalize = info.normalizes_text if options.normalizes is None else options.normalizes

    def verbalize(text: str, language: str) -> str:
        text = plain(text)
        return normalize(text, language, keeps_directions=bool(info.tags)) if does_normalize else text

    language, find_language = options.language, None
    if language == AUTO:
        language = languages[0] if languages else "en"
        find_language = language_detector(languages).find if len(languages) > 1 else None
    splitter = SentenceSplitter(
        count_tokens, info.max_text_tokens, language, find_language=find_language, verbalize=verbalize
    )
    return ChatSplitter(splitter) if options.text_format == "chat" else splitter
