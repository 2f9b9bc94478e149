"""How many listeners this machine can keep supplied, learnt from the steps it makes; pure Python."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.errors import OverloadedError

MIN_LISTENERS = 2
"""So many are always let in: whoever interrupts himself has two utterances for a moment."""
MIN_WINDOW_S = 3.0
"""Sound in a window of measurement; it arrives in chunks, so that less would say little."""
FORGETTING = 0.2
"""Weight of a new window in what is remembered."""
HICCUP = 4.0
"""A window counts as at most so many times as costly as those before: something else held it up."""
STIFFNESS = 0.02
"""How firmly the slope is held while all windows have the same number of rows and say nothing about it."""
FIRST_FIXED_SHARE = 0.5
"""Of a single row's cost, the part taken to be shared by all rows before anything else was measured."""
RETRY_RANGE_S = (0.5, 30.0)


@dataclass
class _Window:
    busy_s: float = 0.0
    sound_s: float = 0.0
    row_seconds: float = 0.0
    listener_seconds: float = 0.0


@dataclass
class _Presence:
    since_s: float
    num_sentences: int = 0


class Capacity:
    """Engine seconds per second of sound are `shared / rows + own`: what a step costs however many rows it has is
    shared by them, the rest is each row's own. Both are learnt by weighted regression over windows of work.

    N listeners at once then keep the engine busy for `shared / alignment + own * N` of the time, where alignment is
    the part of the listeners that a step serves on average. `max_load` is how much of the time that may be; None
    lets everybody in. Times in seconds.
    """

    def __init__(self, max_load: float | None) -> None:
        self._max_load = max_load
        self._present: dict[str, _Presence] = {}
        self._window = _Window()
        self._alignment = 1.0
        self._stay_s = 2.0
        # Weighted means of x = 1 / rows, of y = cost, and of their products.
        self._mean_x = self._mean_y = self._mean_xx = self._mean_xy = 0.0
        self._shared_s: float | None = None

    def arrive(self, listener_id: str, sentence_index: int, now_s: float) -> None:
        """A sentence of a listener is to be made. Raises `OverloadedError` where it is the first of one too many."""
        limit = self.num_listeners
        if sentence_index == 0 and listener_id not in self._present and limit is not None:
            num_present = len(self._present)
            if num_present >= limit:
                raise OverloadedError(
                    f"{num_present} listeners are being served, this machine keeps {limit} supplied: try later",
                    retry_after_s=self._retry_after_s(),
                )
        self._present.setdefault(listener_id, _Presence(now_s)).num_sentences += 1

    def leave(self, listener_id: str, now_s: float) -> None:
        """A sentence that had arrived is done, in whatever way."""
        presence = self._present[listener_id]
        presence.num_sentences -= 1
        if not presence.num_sentences:
            del self._present[listener_id]
            self._stay_s += FORGETTING * (now_s - presence.since_s - self._stay_s)

    def observe(self, duration_s: float, num_rows: int) -> None:
        """A step was made for so many requests."""
        window = self._window
        window.busy_s += duration_s
        window.row_seconds += duration_s * num_rows
        window.listener_seconds += duration_s * max(1, len(self._present))

    def delivered(self, sound_s: float) -> None:
        """So much sound left the engine."""
        self._window.sound_s += sound_s
        if self._window.sound_s >= MIN_WINDOW_S:
            self._close_window()

    def idle(self) -> None:
        """Nothing is in the making: all that was worked on has been delivered."""
        if self._window.sound_s > 0:
            self._close_window()
        self._window = _Window()

    def forget(self) -> None:
        """What was measured so far is not how it will be."""
        self._window, self._shared_s = _Window(), None

    @property
    def num_listeners(self) -> int | None:
        """As many as can be kept supplied at once; None while nothing was measured, or nothing is limited."""
        if self._max_load is None or self._shared_s is None:
            return None
        room = self._max_load - self._shared_s / self._alignment
        return max(MIN_LISTENERS, min(100_000, int(room / self._own_s)))

    def load(self, num_listeners: int) -> float | None:
        """Part of the time that so many keep the engine busy; above 1 they fall silent. None: nothing was measured."""
        if self._shared_s is None:
            return None
        return self._shared_s / self._alignment_of(num_listeners) + self._own_s * num_listeners

    @property
    def num_present(self) -> int:
        """Listeners who have sentences in the making."""
        return len(self._present)

    @property
    def _own_s(self) -> float:
        return max(1e-6, self._mean_y - (self._shared_s or 0.0) * self._mean_x)

    def _alignment_of(self, num_listeners: int) -> float:
        return 1.0 if num_listeners == 1 else self._alignment

    def _retry_after_s(self) -> float:
        """When one of those present will probably be done, if they stay as long as others did."""
        low, high = RETRY_RANGE_S
        return round(min(high, max(low, self._stay_s / max(1, len(self._present)))), 2)

    def _close_window(self) -> None:
        window, self._window = self._window, _Window()
        if window.busy_s <= 0:
            return
        rows = max(1.0, window.row_seconds / window.busy_s)
        x, y = 1 / rows, window.busy_s / window.sound_s
        alignment = min(1.0, max(0.2, window.row_seconds / window.listener_seconds))
        if self._shared_s is None:
            self._mean_x, self._mean_y, self._mean_xx, self._mean_xy = x, y, x * x, x * y
            self._shared_s, self._alignment = FIRST_FIXED_SHARE * y / x, alignment
            return
        y = min(y, HICCUP * self._mean_y)
        self._alignment += FORGETTING * (alignment - self._alignment)
        self._mean_x += FORGETTING * (x - self._mean_x)
        self._mean_y += FORGETTING * (y - self._mean_y)
        self._mean_xx += FORGETTING * (x * x - self._mean_xx)
        self._mean_xy += FORGETTING * (x * y - self._mean_xy)
        variance = max(0.0, self._mean_xx - self._mean_x**2)
        covariance = self._mean_xy - self._mean_x * self._mean_y
        slope = (covariance + STIFFNESS * self._shared_s) / (variance + STIFFNESS)
        self._shared_s = min(max(0.0, slope), self._mean_y / self._mean_x)
