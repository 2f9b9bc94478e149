"""One utterance, from text to packets. READ THIS FIRST: everything else serves these few steps.

    text pieces -> sentences -> the synthesizer (the port) -> one joined sound -> packets

`speak` is the whole story. The server runs it once per utterance and sends what it yields; in process the
same iterator is the library. It knows no model, no socket and no back end.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from typing import Final

from streamer.audio.packets import INPUT_HZ, TIMESTAMP_HZ, Packet, PacketEncoder
from streamer.audio.pcm import SentenceJoiner, faded_out
from streamer.audio.samples import Samples
from streamer.errors import ConfigError
from streamer.speech.events import (
    Flushed,
    SentenceEnded,
    SentenceStarted,
    SpeechEnded,
    SpeechEvent,
    SpeechWarning,
    WordTimes,
)
from streamer.speech.lookahead import SentencesAhead
from streamer.speech.sentence_stream import SentenceStream
from streamer.speech.settings import SpeechSettings
from streamer.speech.speech_warnings import sentence_cut, sentence_retried
from streamer.speech.text_feed import TextFeed, TextFlush
from streamer.speech.word_times import SpokenWords
from streamer.synthesis import Synthesizer
from streamer.text.reading import AS_IT_IS, create_splitter
from streamer.text.splitting.sentences import Sentence
from streamer.voices.voice import Voice

ENCODED_AT_ONCE_MS: Final = 200
"""Sound encoded without giving the event loop's other tasks a turn."""


def prepare(synthesizer: Synthesizer) -> None:
    """Load what the first utterance would wait for: the splitter's library takes a second or more.

    Raises `ConfigError` for a model whose sound the encoders do not take.
    """
    if synthesizer.info.sample_rate_hz != INPUT_HZ:
        raise ConfigError(f"the model speaks at {synthesizer.info.sample_rate_hz} Hz; it must be {INPUT_HZ}")
    create_splitter(synthesizer.info, synthesizer.count_tokens, AS_IT_IS).feed("One sentence. And another.")


async def speak(
    feed: TextFeed,
    synthesizer: Synthesizer,
    settings: SpeechSettings,
    encoder: PacketEncoder,
) -> AsyncGenerator[SpeechEvent, None]:
    """Speak what is written into `feed`, sentence by sentence, while it is still being written.

    Yields events in the order of the sound, with packets as `encoder` makes them, and `SpeechEnded` last. Close the
    iterator (`aclosing`) to cancel: sentences in the making are given up. Raises what the synthesizer raises.
    """
    sound = AudioAssembler(synthesizer.info.sample_rate_hz, encoder)
    truncated = is_cut = False
    async with contextlib.aclosing(SentencesAhead(feed, synthesizer, settings)) as sentences:
        while not is_cut and (item := await sentences.next()) is not None:
            if isinstance(item, TextFlush):
                yield Flushed(item.ref)
                continue
            if isinstance(item, SpeechWarning):
                yield item
                continue
            if is_cut := sound.is_longer_than(settings.max_audio_s):
                break
            spoken_as = None
            async for chunk in item:
                spoken_as = chunk.history
                if chunk.samples.size or chunk.is_last:
                    for event in sound.begin_sentence(item):
                        yield event
                samples = chunk.samples
                if chunk.truncated:
                    truncated = True
                    samples = faded_out(samples, synthesizer.info.sample_rate_hz)
                    yield sentence_cut(item.index)
                for packet in sound.add(samples):
                    yield packet
                if is_cut := sound.is_longer_than(settings.max_audio_s) and not chunk.is_last:
                    break
            is_last = is_cut or sentences.is_exhausted
            for event in sound.end_sentence(is_last=is_last, is_cut=is_cut, spoken_as=spoken_as):
                yield event
        for packet in sound.finish():
            yield packet
    yield SpeechEnded(
        audio_ms=sound.duration_ms,
        num_sentences=sound.num_sentences,
        truncated=truncated or is_cut,
        generation_s=sentences.waiting.total_s,
    )


class AudioAssembler:
    """The utterance's sound: joins the sentences, encodes them with one encoder, and keeps the time."""

    def __init__(self, input_hz: int, encoder: PacketEncoder) -> None:
        self.num_sentences = 0
        self._input_hz = input_hz
        self._encoder = encoder
        self._joiner = SentenceJoiner(input_hz)
        self._num_samples = 0  # given to the encoder
        self._sentence: Sentence | None = None
        self._index = 0
        self._words: SpokenWords | None = None
        self._unmarked_start: int | None = None  # where the sentence begins, until a packet of it was made
        self._finished = False

    @property
    def duration_ms(self) -> int:
        return round(self._num_samples * 1000 / self._input_hz)

    def is_longer_than(self, seconds: float) -> bool:
        return self._num_samples >= seconds * self._input_hz

    def begin_sentence(self, stream: SentenceStream) -> Iterator[SpeechEvent]:
        sentence = stream.sentence
        if self._sentence is sentence:
            return
        self._sentence, self._index = sentence, stream.index
        start_ms = self.duration_ms
        self._words = SpokenWords(sentence, start_ms, self._input_hz)
        self._unmarked_start = round(self._num_samples * TIMESTAMP_HZ / self._input_hz)
        self.num_sentences += 1
        if stream.retry_seed is not None:
            yield sentence_retried(stream.index, stream.retry_seed)
        yield SentenceStarted(
            stream.index,
            sentence.text,
            sentence.char_start,
            sentence.char_end,
            start_ms,
            stream.text_ready_s,
            stream.voice,
            self._words.expected,
        )

    def add(self, samples: Samples) -> Iterator[Packet]:
        joined = self._joiner.push(samples)
        if self._words is not None:
            self._words.add(joined)
        yield from self._encode(joined)

    def end_sentence(self, *, is_last: bool, is_cut: bool, spoken_as: Voice | None) -> Iterator[SpeechEvent]:
        """Close the sentence with its pause or, if it is known to be the last, with the sound's end."""
        sentence, words, self._sentence, self._words = self._sentence, self._words, None, None
        if sentence is None or words is None:
            return
        pause_s = 0.0 if is_last else sentence.pause_s
        yield from self._encode(self._joiner.end_sentence(pause_s))
        end_ms = self.duration_ms - round(pause_s * 1000)
        if is_last:
            yield from self.finish()
        yield WordTimes(self._index, words.until_cut(end_ms) if is_cut else words.whole(end_ms))
        yield SentenceEnded(self._index, end_ms, spoken_as)

    def finish(self) -> Iterator[Packet]:
        """The rest of the sound; the last packet is marked as the end, and empty where nothing was left."""
        if self._finished or not self.num_sentences:
            return
        self._finished = True
        rest = [*self._encode(self._joiner.finish()), *map(self._marked, self._encoder.finish())]
        if not rest:
            end = round(self._num_samples * TIMESTAMP_HZ / self._input_hz)
            rest = [Packet(b"", timestamp=end, duration=0)]
        yield from rest[:-1]
        yield replace(rest[-1], is_last=True)

    def _encode(self, samples: Samples) -> Iterator[Packet]:
        step = self._input_hz * ENCODED_AT_ONCE_MS // 1000
        for start in range(0, len(samples), step):
            piece = samples[start : start + step]
            self._num_samples += len(piece)
            yield from map(self._marked, self._encoder.encode(piece))

    def _marked(self, packet: Packet) -> Packet:
        is_first = (
            self._unmarked_start is not None and packet.timestamp + packet.duration > self._unmarked_start
        )
        if is_first:
            self._unmarked_start = None
        return replace(packet, is_first=True) if is_first else packet
