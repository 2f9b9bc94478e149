"""One utterance, from text to packets. READ THIS FIRST: everything else serves these few steps.

    text pieces -> sentences -> the synthesizer (the port) -> one joined sound -> packets

`speak` is the whole story. The server runs it once per utterance and sends what it yields; in process the
same iterator is the library. It knows no model, no socket and no back end.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from streamer.audio.packets import INPUT_HZ, PacketEncoder
from streamer.errors import ConfigError, WorkerLostError
from streamer.speech.assembler import AudioAssembler
from streamer.speech.events import Flushed, SpeechEnded, SpeechEvent, SpeechWarning
from streamer.speech.lookahead import SentencesAhead
from streamer.speech.settings import SpeechSettings
from streamer.speech.speech_warnings import chunk_warnings, sentence_lost
from streamer.speech.text_feed import TextFeed, TextFlush
from streamer.synthesis import Synthesizer
from streamer.text.reading import AS_IT_IS, create_splitter
from streamer.text.splitting.items import Pause


def prepare(synthesizer: Synthesizer) -> None:
    """Load what the first utterance would wait for: the splitter's library takes a second or more.

    Raises `ConfigError` for a model whose sound the encoders cannot take.
    """
    if synthesizer.info.sample_rate_hz != INPUT_HZ:
        raise ConfigError(f"the model speaks at {synthesizer.info.sample_rate_hz} Hz; it must be {INPUT_HZ}")
    splitter = create_splitter(synthesizer.info, synthesizer.count_tokens, AS_IT_IS)
    list(splitter.feed("One sentence. And another."))


async def speak(
    feed: TextFeed,
    synthesizer: Synthesizer,
    settings: SpeechSettings,
    encoder: PacketEncoder,
    utterance_id: str,
) -> AsyncGenerator[SpeechEvent, None]:
    """Speak what is written into `feed`, sentence by sentence, while it is still being written.

    `utterance_id` is the caller's name for it, unique within the process; it is in every log line about its sentences.
    Yields events in the order of the sound, with packets as `encoder` makes them, and `SpeechEnded` last. Close the
    iterator (`aclosing`) to cancel: sentences in the making are given up. Raises what the synthesizer raises; in place
    of `SpeechEnded` if a sentence was lost while it was heard, because the others are spoken.
    """
    sound = AudioAssembler(synthesizer.info.sample_rate_hz, encoder, settings.speed)
    truncated = is_cut = False
    loss: WorkerLostError | None = None
    async with contextlib.aclosing(SentencesAhead(feed, synthesizer, settings, utterance_id)) as sentences:
        while not is_cut and (item := await sentences.next()) is not None:
            if isinstance(item, TextFlush | SpeechWarning):
                yield Flushed(item.ref) if isinstance(item, TextFlush) else item
                continue
            if isinstance(item, Pause):
                for packet in sound.pause(item.duration_s, settings.max_audio_s):
                    yield packet
                continue
            if item.is_sayable and (is_cut := sound.is_longer_than(settings.max_audio_s)):
                break
            spoken_as = None
            async for chunk in item:
                spoken_as = chunk.history
                if chunk.samples.size or chunk.is_last:
                    for event in sound.begin_sentence(item):
                        yield event
                for warning in chunk_warnings(item, chunk):
                    truncated = True
                    yield warning
                for packet in sound.add(chunk):
                    yield packet
                if is_cut := sound.is_longer_than(settings.max_audio_s) and not chunk.is_last:
                    break
            for event in sound.begin_sentence(item):
                yield event
            if item.loss is not None:
                loss = item.loss
                yield sentence_lost(item.index)
            is_last, is_lost = is_cut or sentences.is_exhausted, item.loss is not None
            for event in sound.end_sentence(is_last=is_last, is_cut=is_cut or is_lost, spoken_as=spoken_as):
                yield event
        for packet in sound.finish():
            yield packet
    if loss is not None:
        raise loss
    yield SpeechEnded(
        audio_ms=sound.duration_ms,
        num_sentences=sound.num_sentences,
        truncated=truncated or is_cut,
        generation_s=sentences.waiting.total_s,
    )
