"""Makes one sound of an utterance's sentences and packets of the sound; `pipeline` feeds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from streamer.audio.packets import TIMESTAMP_HZ, Packet, PacketEncoder
from streamer.audio.pcm import SentenceJoiner, faded_out
from streamer.audio.samples import Samples
from streamer.errors import AudioEncodeError
from streamer.speech.events import SentenceEnded, SentenceStarted, SpeechEvent, WordTimes
from streamer.speech.sentence_stream import SentenceStream
from streamer.speech.settings import MAX_TEMPO, MIN_TEMPO
from streamer.speech.speech_warnings import sentence_retried, speed_unavailable
from streamer.speech.word_times import SpokenWords
from streamer.synthesis import PcmChunk
from streamer.text.splitting.sentences import Sentence
from streamer.voices.voice import Voice

if TYPE_CHECKING:
    from streamer.audio.tempo import TempoFilter

ENCODED_AT_ONCE_MS: Final = 200
"""How much sound is encoded without giving the event loop's other tasks a turn."""


class AudioAssembler:
    """The utterance's sound: joins the sentences, encodes them with one encoder, and keeps the time.

    `speed` is how much faster than usual the sentences are spoken. Times are those of the sound as it comes out.
    """

    def __init__(self, input_hz: int, encoder: PacketEncoder, speed: float = 1.0) -> None:
        self.num_sentences = 0
        self._speed = speed
        self._tempo: TempoFilter | None = None  # of the sentence, if it is spoken at another speed
        self._has_tempo = True  # until it turns out that sound cannot be made faster or slower here
        self._input_hz = input_hz
        self._encoder = encoder
        self._joiner = SentenceJoiner(input_hz)
        self._num_samples = 0  # given to the encoder
        self._num_pause_samples = 0  # of these, the natural pause at their end
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
        tempo = min(max(self._speed * sentence.rate, MIN_TEMPO), MAX_TEMPO)
        if tempo != 1.0 and self._has_tempo:
            try:
                self._tempo = _tempo_filter(self._input_hz, tempo)
            except AudioEncodeError as error:
                self._has_tempo = False
                yield speed_unavailable(error)
        self._words = SpokenWords(sentence, start_ms, self._input_hz, tempo if self._tempo else 1.0)
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
        """Take the next piece of the sentence's sound; one that was cut is faded out."""
        samples = faded_out(chunk.samples, self._input_hz) if chunk.truncated else chunk.samples
        joined = self._joiner.push(samples)
        if self._words is not None:
            self._words.add(joined)
            if chunk.words is not None:
                self._words.tell(chunk.words, self._joiner.num_left_out / self._input_hz)
        if joined.size:
            self._has_sound, self._num_pause_samples = True, 0
        yield from self._encode(self._tempo.push(joined) if self._tempo else joined)

    def end_sentence(self, *, is_last: bool, is_cut: bool, spoken_as: Voice | None) -> Iterator[SpeechEvent]:
        """Close the sentence with its pause or, if it is known to be the last, with the sound's end.

        A sentence without sound has no packet and no pause.
        """
        sentence, words, self._sentence, self._words = self._sentence, self._words, None, None
        if sentence is None or words is None:
            return
        yield from self._encode_tail(is_within_phrase=not sentence.pause_s and not is_last)
        if not self._has_sound:
            self._unmarked_start = None
        end_ms = self.duration_ms
        if self._has_sound and not is_last:
            self._num_pause_samples = round(sentence.pause_s / self._speed * self._input_hz)
            yield from self._encode(np.zeros(self._num_pause_samples, np.float32))
        if is_last:
            yield from self.finish()
        found = words.until_cut(end_ms) if is_cut else words.whole(end_ms)
        yield WordTimes(self._index, found, is_estimated=words.is_estimated)
        yield SentenceEnded(self._index, end_ms, spoken_as)

    def pause(self, duration_s: float, max_audio_s: float) -> Iterator[Packet]:
        """Be silent between two sentences. The pause stands for the natural one, as far as that was made already.

        With it the sound is at most `max_audio_s` long.
        """
        num_wanted = round(duration_s * self._input_hz) - self._num_pause_samples
        num_left = max(0.0, max_audio_s * self._input_hz - self._num_samples)
        self._num_pause_samples = 0
        yield from self._encode(np.zeros(int(max(0, min(num_wanted, num_left))), np.float32))

    def finish(self) -> Iterator[Packet]:
        """The rest of the sound. The last packet is marked as the end, and is empty if nothing was left."""
        if self._is_finished or not self._num_samples:
            return
        self._is_finished = True
        rest = [*self._encode_tail(), *map(self._marked, self._encoder.finish())]
        if not rest:
            end = round(self._num_samples * TIMESTAMP_HZ / self._input_hz)
            rest = [Packet(b"", timestamp=end, duration=0)]
        yield from rest[:-1]
        yield replace(rest[-1], is_last=True)

    def _encode_tail(self, *, is_within_phrase: bool = False) -> Iterator[Packet]:
        """Encode the last moments of the sentence."""
        tail = self._joiner.end_sentence(is_within_phrase=is_within_phrase)
        if self._tempo is not None:
            tail = np.concatenate([self._tempo.push(tail), self._tempo.finish()])
            self._tempo = None
        yield from self._encode(tail)

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


def _tempo_filter(sample_rate_hz: int, tempo: float) -> TempoFilter:
    """Return a filter. Raises `AudioEncodeError` where FFmpeg does not have it."""
    from streamer.audio.tempo import (
        TempoFilter,
    )  # FFmpeg takes 20 MB and 0.1 s, and most speech is as fast as usual

    return TempoFilter(sample_rate_hz, tempo)
