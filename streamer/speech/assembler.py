"""Makes one sound of an utterance's sentences and packets of the sound; `pipeline` feeds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from streamer.audio.packets import TIMESTAMP_HZ, Packet, PacketEncoder
from streamer.audio.pcm import SentenceJoiner
from streamer.audio.samples import Samples
from streamer.speech.events import SentenceEnded, SentenceStarted, SpeechEvent, WordTimes
from streamer.speech.sentence_stream import SentenceStream
from streamer.speech.speech_warnings import sentence_retried
from streamer.speech.word_times import SpokenWords
from streamer.synthesis import PcmChunk
from streamer.text.splitting.sentences import Sentence
from streamer.voices.voice import Voice

ENCODED_AT_ONCE_MS: Final = 200
"""How much sound is encoded without giving the event loop's other tasks a turn."""


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
        self._has_sound = False  # of the sentence
        self._unmarked_start: int | None = None  # where the sentence begins, until a packet of it was made
        self._is_finished = False

    @property
    def duration_ms(self) -> int:
        return round(self._num_samples * 1000 / self._input_hz)

    def is_longer_than(self, seconds: float) -> bool:
        """Whether this much sound was encoded."""
        return self._num_samples >= seconds * self._input_hz

    def begin_sentence(self, stream: SentenceStream) -> Iterator[SpeechEvent]:
        """Note that a sentence begins; a second call for the same one does nothing."""
        sentence = stream.sentence
        if self._sentence is sentence:
            return
        self._sentence, self._index, self._has_sound = sentence, stream.index, False
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

    def add(self, chunk: PcmChunk) -> Iterator[Packet]:
        """Take the next piece of the sentence's sound."""
        joined = self._joiner.push(chunk.samples)
        if self._words is not None:
            self._words.add(joined)
            if chunk.words is not None:
                self._words.tell(chunk.words, self._joiner.num_left_out / self._input_hz)
        self._has_sound |= joined.size > 0
        yield from self._encode(joined)

    def end_sentence(self, *, is_last: bool, is_cut: bool, spoken_as: Voice | None) -> Iterator[SpeechEvent]:
        """Close the sentence with its pause or, if it is known to be the last, with the sound's end.

        A sentence without sound has no packet and no pause.
        """
        sentence, words, self._sentence, self._words = self._sentence, self._words, None, None
        if sentence is None or words is None:
            return
        pause_s = sentence.pause_s if self._has_sound and not is_last else 0.0
        is_within_phrase = not sentence.pause_s and not is_last
        yield from self._encode(self._joiner.end_sentence(pause_s, is_within_phrase=is_within_phrase))
        if not self._has_sound:
            self._unmarked_start = None
        end_ms = self.duration_ms - round(pause_s * 1000)
        if is_last:
            yield from self.finish()
        found = words.until_cut(end_ms) if is_cut else words.whole(end_ms)
        yield WordTimes(self._index, found, is_estimated=words.is_estimated)
        yield SentenceEnded(self._index, end_ms, spoken_as)

    def finish(self) -> Iterator[Packet]:
        """The rest of the sound. The last packet is marked as the end, and is empty if nothing was left."""
        if self._is_finished or not self._num_samples:
            return
        self._is_finished = True
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
        if self._unmarked_start is None or packet.timestamp + packet.duration <= self._unmarked_start:
            return packet
        self._unmarked_start = None
        return replace(packet, is_first=True)
