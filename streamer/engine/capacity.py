"""How many listeners this machine can keep supplied with audio, learnt from the steps it runs; pure Python."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

from streamer.engine.online_line import OUTLIER_FACTOR, OnlineLine
from streamer.synthesis import Room

MIN_LISTENERS = 2
"""Listeners for whom there always is room: a client that interrupts itself has two utterances for a moment."""
MAX_LISTENERS = 100_000
"""The limit before anything was measured."""
SAFE_LEAD_S = 0.75
"""Seconds of sound that a listener must have ahead so that a new one cannot make their playback underrun, at most."""
SAFE_FIRST_SOUNDS = 4.0
"""The same in units of the time that a first sound takes, for the listener with the least sound ahead: the new one's is
made, then their own next chunk, and both may take twice as long beside others."""
SAFE_FIRST_SOUNDS_EACH = 2.0
"""What is added for each listener with less sound ahead, whose next chunk is made before theirs."""
BEGINNERS_SHARE = 16
"""One listener in this many may be without a safe lead while another one is admitted."""
MIN_WINDOW_S = 3.0
"""Seconds of audio in a measurement; audio arrives in chunks, so that a shorter measurement would say little."""
EMA_WEIGHT = 0.2
"""Weight of a new measurement in the moving averages."""
FIRST_SHARED_SHARE = 0.5
"""The part of a first measurement that is attributed to the cost shared by all rows."""
MAX_EXTRAPOLATION = 2
"""The limit is at most this many times the listeners that were measured together: one bad measurement of a small crowd
would otherwise let in a crowd of any size."""
MIN_ALIGNMENT = 0.2
MIN_OWN_S = 1e-6


@dataclass
class _Window:
    busy_s: float = 0.0
    audio_s: float = 0.0
    row_seconds: float = 0.0
    listener_seconds: float = 0.0


@dataclass
class _Presence:
    since_s: float
    num_sentences: int = 0
    underrun_at_s: float | None = None
    """When playback will underrun if nothing more is delivered; None before the first sound."""
    buffered_s: float = 0.0

    def lead_s(self, now_s: float) -> float:
        """How much sound is ahead of the playback."""
        if self.underrun_at_s is None:
            return 0.0
        return max(self.underrun_at_s - now_s, self.buffered_s)


class Capacity:
    """Knows whether another listener can be supplied. Times in seconds.

    A second of audio costs `shared / rows + own` seconds of the engine: what a step costs whatever its rows is shared
    by them, and the rest is each row's own. A regression over windows of work learns both. N listeners then keep the
    engine busy for this part of its time:

        load(N) = shared / alignment + own * N

    `alignment` is the part of the listeners that an average step serves. There is no room for a listener with whom the
    load would exceed `max_load`; None: there always is. The engine itself refuses nobody: a server asks for `room`
    (`server/start_queue`). A listener is named by any hashable key.
    """

    def __init__(self, max_load: float | None) -> None:
        self._max_load = max_load
        self._present: dict[Hashable, _Presence] = {}
        self._mean_stay_s = 2.0
        self.reset()

    def reset(self) -> None:
        """Forget what was measured."""
        self._window = _Window()
        self._alignment = 1.0
        self._most_measured = 1.0
        self._first_sound_s = math.inf  # until one was measured
        # x = 1 / rows, y = engine seconds per second of audio: the slope is the shared cost, the intercept a row's own.
        self._costs = OnlineLine(ema_weight=EMA_WEIGHT, first_slope_share=FIRST_SHARED_SHARE)

    def arrive(self, listener: Hashable, now_s: float) -> None:
        """Count a sentence of a listener."""
        self._present.setdefault(listener, _Presence(now_s)).num_sentences += 1

    def leave(self, listener: Hashable, now_s: float) -> None:
        """Count a sentence that had arrived as done, however it ended."""
        presence = self._present[listener]
        presence.num_sentences -= 1
        if not presence.num_sentences:
            del self._present[listener]
            self._mean_stay_s += EMA_WEIGHT * (now_s - presence.since_s - self._mean_stay_s)

    def heard(self, listener: Hashable, underrun_at_s: float, buffered_s: float) -> None:
        """Note how far ahead of a listener's playback the sound is, and how much of it was not consumed yet."""
        presence = self._present.get(listener)
        if presence is not None and underrun_at_s < math.inf:
            presence.underrun_at_s, presence.buffered_s = underrun_at_s, buffered_s

    def observe(self, duration_s: float, num_rows: int) -> None:
        """Measure a step that was run for `num_rows` requests."""
        window = self._window
        window.busy_s += duration_s
        window.row_seconds += duration_s * num_rows
        window.listener_seconds += duration_s * max(1, len(self._present))

    def begun(self, waited_s: float) -> None:
        """Measure how long an utterance waited for its first sound."""
        if self._first_sound_s == math.inf:
            self._first_sound_s = waited_s
        waited_s = min(waited_s, OUTLIER_FACTOR * self._first_sound_s)
        self._first_sound_s += EMA_WEIGHT * (waited_s - self._first_sound_s)
        self._first_sound_s = max(MIN_OWN_S, self._first_sound_s)

    def delivered(self, audio_s: float) -> None:
        """Measure audio that left the engine."""
        self._window.audio_s += audio_s
        if self._window.audio_s >= MIN_WINDOW_S:
            self._close_window()

    def idle(self) -> None:
        """End the measurement, because all audio that was worked on has been delivered."""
        if self._window.audio_s > 0:
            self._close_window()
        self._window = _Window()

    @property
    def num_listeners(self) -> int | None:
        """The listeners that can be kept supplied at once; None if nothing was measured or nothing is limited."""
        if self._max_load is None or not self._costs.is_known:
            return None
        room = self._max_load - self._costs.slope / self._alignment
        most = round(MAX_EXTRAPOLATION * self._most_measured)
        return max(MIN_LISTENERS, min(most, int(room / self._own_s)))

    @property
    def num_present(self) -> int:
        """The listeners that have unfinished sentences."""
        return len(self._present)

    def room(self, now_s: float) -> Room | None:
        """Return what is known of the room for another listener; None if none is refused.

        Listeners that begin together share the engine just when each needs all of it, and underrun together.
        """
        if self._max_load is None:
            return None
        present = list(self._present.values())  # at once: other threads add and remove
        limit = self.num_listeners
        max_short = max(1, (limit or 0) // BEGINNERS_SHARE)
        leads_s = sorted(presence.lead_s(now_s) for presence in present)
        return Room(
            num_listeners=len(present),
            max_listeners=MAX_LISTENERS if limit is None else limit,
            num_unheard=sum(presence.underrun_at_s is None for presence in present),
            num_short=sum(
                lead_s < self._safe_lead_s(place, max_short) for place, lead_s in enumerate(leads_s)
            ),
            max_short=max_short,
            mean_stay_s=self._mean_stay_s,
        )

    def _safe_lead_s(self, num_before: int, max_short: int) -> float:
        """Return what a listener must have ahead beside others of whom `num_before` have less.

        Where several may begin at once, each new one waits for others that are not known yet.
        """
        if max_short > 1:
            return SAFE_LEAD_S
        num_first_sounds = SAFE_FIRST_SOUNDS + SAFE_FIRST_SOUNDS_EACH * num_before
        return min(SAFE_LEAD_S, num_first_sounds * self._first_sound_s)

    def load(self, num_listeners: int) -> float | None:
        """The part of its time that the engine is busy with `num_listeners`; None if nothing was measured.

        Above 1 their playback underruns.
        """
        if not self._costs.is_known:
            return None
        alignment = 1.0 if num_listeners == 1 else self._alignment
        return self._costs.slope / alignment + self._own_s * num_listeners

    @property
    def _own_s(self) -> float:
        return max(MIN_OWN_S, self._costs.intercept)

    def _close_window(self) -> None:
        window, self._window = self._window, _Window()
        if window.busy_s <= 0:
            return
        num_rows = max(1.0, window.row_seconds / window.busy_s)
        cost = window.busy_s / window.audio_s
        self._most_measured = max(self._most_measured, window.listener_seconds / window.busy_s)
        alignment = min(1.0, max(MIN_ALIGNMENT, window.row_seconds / window.listener_seconds))
        if self._costs.is_known:
            cost = min(cost, OUTLIER_FACTOR * self._costs.mean_y)
            self._alignment += EMA_WEIGHT * (alignment - self._alignment)
        else:
            self._alignment = alignment
        self._costs.add(1 / num_rows, cost)
