"""The listeners of the simulated engine: when they arrive, what they hear, and for how long they wait.

Used by `simulate.py`.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from benchmarks.simulated_machine import SAMPLE_RATE_HZ, Clock, Machine, Sentence
from streamer.engine.engine import Engine
from streamer.engine.request import Request
from streamer.errors import StreamerError
from streamer.stages.coarse_windows import CoarseWindows
from streamer.synthesis import PcmChunk

ARRIVALS: Final = ("closed", "poisson", "burst", "step")
SENTENCES_AT_ONCE: Final = 3
"""The sentences that `streamer.speech.lookahead` requests at once: one being heard, one waiting, one just requested."""
NUM_SENTENCES: Final = (1, 4)
SENTENCE_S: Final = (2.0, 9.0)
MEAN_UTTERANCE_S: Final = sum(NUM_SENTENCES) / 2 * sum(SENTENCE_S) / 2
LONG_UTTERANCE: Final = (9.0,) * 12
PAUSE_AFTER_S, PAUSE_S = 2.0, 15.0
MAX_WAIT_S: Final = 2.0
"""How long a listener waits for room, in the order of arrival, before they are refused (`max_start_wait_s`)."""
MEAN_THOUGHT_S: Final = 1.0
"""The mean time in seconds between the end of a listener's utterance and their next one."""


@dataclass(frozen=True, slots=True)
class Case:
    """The case that is simulated.

    `arrivals` is one of: closed, a constant number of listeners, each of whom starts another utterance a moment after
    the last one; poisson, this number at once on average, arriving at random; burst, all of them at one moment and no
    others; step, like closed, with a quarter of them from the start and the others together after a third of the time.
    `file_share` of them read as fast as sound is made, `pausing_share` stop reading for a while, and `long_share` hear
    two minutes. `lead_s`: how far ahead of playback sound is read.
    """

    streams: int
    seconds: float = 40.0
    seed: int = 0
    arrivals: str = "closed"
    max_load: float | None = None
    num_slots: int | None = None
    lead_s: float = 2.0
    generate_ahead_s: float = 8.0
    file_share: float = 0.0
    pausing_share: float = 0.0
    long_share: float = 0.0


@dataclass(slots=True, eq=False)
class Listening:
    """One utterance, and what its listener heard of it and when."""

    name: str
    start_s: float
    durations_s: tuple[float, ...]
    clock: Clock
    lead_s: float | None
    """How far ahead of playback it is read, in seconds; None: a file, taken as it comes."""
    pauses: bool = False
    first_s: float | None = None
    delivered_s: float = 0.0
    silent_s: float = 0.0
    longest_gap_s: float = 0.0
    retry_after_s: float | None = None
    """When a refused listener returns; None if the utterance was admitted or still waits."""
    num_asked: int = 0
    num_ended: int = 0
    num_read: int = 0
    untaken: dict[int, int] = field(default_factory=dict)
    """The number of samples of each sentence that were delivered and not read."""
    taken_s: float = 0.0
    requests: list[Request[Sentence]] = field(default_factory=list)

    @property
    def is_live(self) -> bool:
        """Whether a gap would be heard: not in a file, nor while the listener pauses."""
        return self.lead_s is not None and not self.pauses

    def deliver(self, sentence: int, chunk: PcmChunk | StreamerError) -> None:
        if isinstance(chunk, StreamerError):
            raise chunk
        now_s = self.clock.now_s
        duration_s = len(chunk.samples) / SAMPLE_RATE_HZ
        if self.first_s is None and duration_s:
            self.first_s = now_s
        elif sentence == self.num_ended:
            self.note_gap(now_s)
        self.delivered_s += duration_s
        self.untaken[sentence] += len(chunk.samples)
        self.num_ended += chunk.is_last

    def note_gap(self, now_s: float) -> None:
        """Count the gap until now, if one has begun and more sound is to come."""
        if self.first_s is None or self.num_ended == len(self.durations_s):
            return
        gap_s = now_s - (self.first_s + self.silent_s + self.delivered_s)
        if gap_s > 0:
            self.silent_s += gap_s
            self.longest_gap_s = max(self.longest_gap_s, gap_s)

    def read(self, engine: Engine[Sentence]) -> None:
        """Take the sound that may be sent by now, sentence after sentence."""
        if self.first_s is None or self._is_pausing:
            return
        allowed_s = float("inf")
        if self.lead_s is not None:
            allowed_s = self.clock.now_s - self.first_s - self.silent_s + self.lead_s
        while self.num_read < self.num_asked:
            samples = self.untaken[self.num_read]
            if self.taken_s < allowed_s and samples:
                part = (
                    min(samples, int((allowed_s - self.taken_s) * SAMPLE_RATE_HZ) + 1)
                    if self.lead_s
                    else samples
                )
                self.taken_s += part / SAMPLE_RATE_HZ
                self.untaken[self.num_read] -= part
                engine.consumed(self.requests[self.num_read], part)
            if self.untaken[self.num_read] or self.num_read >= self.num_ended:
                return
            self.num_read += 1

    @property
    def _is_pausing(self) -> bool:
        if not self.pauses or self.first_s is None:
            return False
        return PAUSE_AFTER_S < self.clock.now_s - self.first_s < PAUSE_AFTER_S + PAUSE_S

    def ask(self, engine: Engine[Sentence], machine: Machine, windows: CoarseWindows) -> None:
        """Request the next sentences, as far ahead as the server's pipeline does."""
        while self.num_asked < min(len(self.durations_s), self.num_read + SENTENCES_AT_ONCE):
            number = self.num_asked
            num_semantic = round(self.durations_s[number] * machine.config.semantic.rate_hz)
            sentence = Sentence(machine.config, windows, num_semantic, number)
            outlet = partial(self.deliver, number)
            request = Request(f"{self.name}.{number}", sentence, outlet, self.name, number)
            if number == 0 and (room := engine.capacity.room(self.clock.now_s)) and not room.is_enough():
                if self.clock.now_s >= self.start_s + MAX_WAIT_S:
                    self.retry_after_s = room.mean_stay_s
                return
            self.untaken[number] = 0
            engine.submit(request)
            self.requests.append(request)
            self.num_asked += 1

    @property
    def is_over(self) -> bool:
        """Whether the utterance was refused, or has been heard to its end."""
        if self.retry_after_s is not None:
            return True
        if self.num_read < len(self.durations_s):
            return False
        return (self.first_s or 0.0) + self.silent_s + self.delivered_s <= self.clock.now_s


class Crowd:
    """The listeners of a case. `present`: those who have arrived and have not heard everything yet."""

    def __init__(self, case: Case, clock: Clock) -> None:
        self.made: list[Listening] = []
        self.present: list[Listening] = []
        self._case = case
        self._clock = clock
        self._chance = random.Random(case.seed)
        self._names = itertools.count()
        self._coming: list[tuple[float, int]] = []
        for start_s in self._starts():
            self._expect(start_s)

    def _starts(self) -> Iterator[float]:
        case, chance = self._case, self._chance
        if case.arrivals == "closed":
            yield from (chance.uniform(0, 10) for _ in range(case.streams))
        elif case.arrivals == "burst":
            yield from [1.0] * case.streams
        elif case.arrivals == "step":
            yield from (chance.uniform(0, 5) for _ in range(case.streams // 4))
            yield from [case.seconds / 3] * (case.streams - case.streams // 4)
        else:
            start_s = 0.0
            while start_s < case.seconds:
                yield start_s
                start_s += chance.expovariate(case.streams / MEAN_UTTERANCE_S)

    def update(self) -> None:
        """Remove the listeners who have heard everything, and add those whose time has come."""
        asks_again = self._case.arrivals in ("closed", "step")
        for listening in [item for item in self.present if item.is_over]:
            self.present.remove(listening)
            if asks_again:
                thought_s = self._chance.uniform(0, 2 * MEAN_THOUGHT_S)
                self._expect(self._clock.now_s + (listening.retry_after_s or 0.0) + thought_s)
        while self._coming and self._coming[0][0] <= self._clock.now_s:
            start_s, number = heapq.heappop(self._coming)
            self.present.append(self._listening(start_s, number))
            self.made.append(self.present[-1])

    def _expect(self, start_s: float) -> None:
        heapq.heappush(self._coming, (start_s, next(self._names)))

    def _listening(self, start_s: float, number: int) -> Listening:
        case, chance = self._case, self._chance
        durations = tuple(chance.uniform(*SENTENCE_S) for _ in range(chance.randint(*NUM_SENTENCES)))
        if chance.random() < case.long_share:
            durations = LONG_UTTERANCE
        kind = chance.random()
        lead_s = None if kind < case.file_share else case.lead_s
        pauses = case.file_share <= kind < case.file_share + case.pausing_share
        return Listening(str(number), start_s, durations, self._clock, lead_s, pauses)
