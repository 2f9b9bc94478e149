"""With a safe start nothing plays before it can play to the end; on a fast machine it changes nothing."""

import asyncio
from dataclasses import replace

import pytest

from streamer.audio.packets import Packet
from streamer.speech.events import PlaybackDelayed, SentenceEnded, SentenceStarted, SpeechEnded
from streamer.speech.safe_start import start_safely
from streamer.speech.text_feed import TextFeed

TEXT = "x" * 100
PACKET_S = 0.02


class Machine:
    """Makes an utterance at a given speed, in chunks, on a clock of its own; notes when what was let through."""

    def __init__(self, *, speed, sentences_s, chunk_s, seconds_per_character=0.075):
        self.now_s = 0.0
        self.speed = speed
        self.sentences_s = sentences_s
        self.chunk_s = chunk_s
        self.num_chars = round(sum(sentences_s) / seconds_per_character)
        self.is_closed = False

    async def events(self):
        try:
            made_s, chars = 0.0, 0
            for index, sentence_s in enumerate(self.sentences_s):
                end = chars + round(self.num_chars * sentence_s / sum(self.sentences_s))
                yield SentenceStarted(index, "", chars, end, round(made_s * 1000))
                left_s = sentence_s
                while left_s > 1e-9:
                    part_s = min(left_s, self.chunk_s)
                    self.now_s += part_s / self.speed
                    for _ in range(round(part_s / PACKET_S)):
                        yield Packet(b"sound", round(made_s * 48_000), round(PACKET_S * 48_000))
                        made_s += PACKET_S
                    left_s -= part_s
                chars = end
                yield SentenceEnded(index, round(made_s * 1000))
            yield SpeechEnded(round(made_s * 1000), len(self.sentences_s), False, self.now_s)
        finally:
            self.is_closed = True

    async def play(self, expected_speed):
        """The events as they come out, each with its time."""
        feed = TextFeed("x" * self.num_chars)
        return [
            (self.now_s, event)
            async for event in start_safely(self.events(), feed, expected_speed, lambda: self.now_s)
        ]


def longest_gap_s(played):
    """Of a player that starts with the first packet and never waits otherwise."""
    gap_s, end_s = 0.0, None
    for now_s, event in played:
        if isinstance(event, Packet):
            end_s = now_s if end_s is None else end_s
            gap_s, end_s = max(gap_s, now_s - end_s), max(end_s, now_s) + PACKET_S
    return gap_s


@pytest.mark.parametrize("speed", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("chunk_s", [0.1, 1.0, 6.8])
@pytest.mark.parametrize("sentences_s", [(8.0,), (3.0, 5.0, 2.0), (1.0,) * 20])
async def test_on_a_slow_machine_play_never_stops(speed, chunk_s, sentences_s):
    """Whatever the chunks and sentences: once begun it does not stop, and that it will take a while is told once."""
    machine = Machine(speed=speed, sentences_s=sentences_s, chunk_s=chunk_s)
    played = await machine.play(expected_speed=speed)
    assert longest_gap_s(played) < 0.03
    told = [event for _, event in played if isinstance(event, PlaybackDelayed)]
    assert len(told) <= 1
    if told:
        assert isinstance(played[0][1], PlaybackDelayed)
        assert told[0].wait_ms > 0


async def test_it_does_not_wait_for_all_of_a_long_text():
    """At nine tenths of real time a minute of speech begins long before its end is made."""
    machine = Machine(speed=0.9, sentences_s=(3.0,) * 20, chunk_s=0.5)
    played = await machine.play(expected_speed=0.9)
    first_s = next(now_s for now_s, event in played if isinstance(event, Packet))
    assert first_s < 30


async def test_on_a_fast_machine_nothing_is_held():
    """The events pass as they are made, with nothing between them."""
    machine = Machine(speed=3.0, sentences_s=(2.0, 2.0), chunk_s=0.1)
    played = await machine.play(expected_speed=3.0)
    plain = Machine(speed=3.0, sentences_s=(2.0, 2.0), chunk_s=0.1)
    expected = [(plain.now_s, event) async for event in plain.events()]
    assert [event for _, event in played] == [event for _, event in expected]
    assert played[1:] == expected[1:]  # the sentence is announced with its first packet


async def test_an_unknown_speed_is_measured():
    """Without an expectation the utterance's own speed decides: a slow one never stops."""
    machine = Machine(speed=0.5, sentences_s=(8.0,), chunk_s=0.5)
    assert longest_gap_s(await machine.play(expected_speed=None)) < 0.03


async def test_an_utterance_without_sound_ends():
    """Nothing to play is nothing to wait for."""
    machine = Machine(speed=0.5, sentences_s=(), chunk_s=0.5, seconds_per_character=1)
    played = await machine.play(expected_speed=0.5)
    assert [type(event) for _, event in played] == [SpeechEnded]


async def test_closing_it_closes_what_it_wraps():
    """A cancel reaches the sentences in the making."""
    machine = Machine(speed=0.1, sentences_s=(8.0,), chunk_s=0.5)
    events = start_safely(machine.events(), TextFeed(TEXT), 0.1, lambda: machine.now_s)
    assert isinstance(await anext(events), PlaybackDelayed)
    await events.aclose()
    assert machine.is_closed


async def test_what_the_writer_has_not_finished_is_not_waited_for():
    """A sentence that waits for its writer holds nothing back, once what can be spoken has been made."""
    machine = Machine(speed=0.5, sentences_s=(3.0,), chunk_s=0.5)
    feed = TextFeed()
    feed.append("x" * (machine.num_chars + 200))
    await feed.next(None)
    reading = asyncio.create_task(feed.next(None, num_held_chars=200))
    await asyncio.sleep(0)
    played = [event async for event in start_safely(machine.events(), feed, 0.5, lambda: machine.now_s)]
    reading.cancel()
    assert isinstance(played[0], PlaybackDelayed) and played[0].wait_ms < 10_000


async def test_the_writers_time_is_not_the_machines():
    """Text that came half a minute after the start is spoken at once if the machine is quick."""
    machine = Machine(speed=3.0, sentences_s=(8.0,), chunk_s=0.5)
    machine.now_s = 30.0

    async def late_events():
        async for event in machine.events():
            yield replace(event, text_ready_s=30.0) if isinstance(event, SentenceStarted) else event

    feed = TextFeed("x" * machine.num_chars)
    started_s = None
    async for event in start_safely(late_events(), feed, None, lambda: machine.now_s):
        assert not isinstance(event, PlaybackDelayed)
        if started_s is None and isinstance(event, Packet):
            started_s = machine.now_s
    assert started_s < 30.5
