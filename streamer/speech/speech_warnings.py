"""What an utterance's client is warned of: the `SpeechWarning`s of `lookahead` and `pipeline`, in words."""

from __future__ import annotations

from collections.abc import Iterator

from streamer.errors import StreamerError
from streamer.speech.events import SpeechWarning
from streamer.speech.sentence_stream import SentenceStream
from streamer.synthesis import ModelInfo, PcmChunk
from streamer.text.capabilities import find_unsupported
from streamer.text.splitting.items import IgnoredMarkup


def voice_not_found(name: str) -> SpeechWarning:
    message = f"no voice is named {name!r}: the voice before continues"
    return SpeechWarning("voice_not_found", message, param=name)


def sentence_retried(index: int, seed: int) -> SpeechWarning:
    message = f"the model did not speak sentence {index} in full: it was made again with the seed {seed}"
    return SpeechWarning("sentence_retried", message, index=index, seed=seed)


def sentence_cut(index: int, unspoken: str = "") -> SpeechWarning:
    """`unspoken`: the words that were not spoken, if they are known."""
    message = f"sentence {index} was faded out at the longest time that it may take"
    if unspoken:
        message += f"; not spoken: {unspoken}"
    return SpeechWarning("sentence_cut", message, param=unspoken or None, index=index)


def sentence_lost(index: int) -> SpeechWarning:
    message = f"sentence {index} was cut in the middle, because the worker that spoke it is gone"
    return SpeechWarning("sentence_cut", message, index=index)


def sentence_silent(index: int) -> SpeechWarning:
    message = f"sentence {index} has less sound than its text takes: some or all of it was not spoken"
    return SpeechWarning("sentence_silent", message, index=index)


def chunk_warnings(stream: SentenceStream, chunk: PcmChunk) -> Iterator[SpeechWarning]:
    """What of the sentence is not spoken, which its last chunk shows."""
    if chunk.truncated:
        yield sentence_cut(stream.index, chunk.unspoken)
    if chunk.is_last and stream.lost_words:
        yield sentence_silent(stream.index)


def speed_unavailable(error: StreamerError) -> SpeechWarning:
    message = f"speech cannot be made faster or slower here, and is as fast as usual: {error.message}"
    return SpeechWarning("speed_unavailable", message, param="speed")


def ignored_markup(markup: IgnoredMarkup) -> SpeechWarning:
    return SpeechWarning(markup.code, markup.message, param=markup.name)


class UnsupportedText:
    """Finds what a model cannot say of an utterance's text, and tells each such thing once."""

    def __init__(self, info: ModelInfo) -> None:
        self._info = info
        self._told: set[str] = set()

    def warnings(self, text: str) -> Iterator[SpeechWarning]:
        """What is new in this sentence."""
        unsupported = find_unsupported(text, self._info.languages, self._info.tags)
        found = [("unsupported_tag", tag, f"this model does not know {tag}") for tag in unsupported.tags]
        found += [
            ("unsupported_language", script, f"this model does not read {script.capitalize()} letters")
            for script in unsupported.scripts
        ]
        if (language := unsupported.language) is not None:
            found.append(("unsupported_language", language, f"this model does not speak {language!r}"))
        for code, param, message in found:
            if param not in self._told:
                self._told.add(param)
                yield SpeechWarning(code, message, param=param)
