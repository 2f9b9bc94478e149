"""Slows down those who guess keys: wrong ones are counted by the client's address; for `keys`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)
MAX_ADDRESSES: Final = 10_000
"""The most addresses whose wrong keys are remembered."""
MAX_KNOWN: Final = 10_000
"""The most pairs of an address and a key that it has used, of right keys and of wrong ones."""
LOG_INTERVAL_S: Final = 60.0
_Known = tuple[str, bytes]


class WrongKeys:
    """How many wrong keys came from each address lately, and which right ones came from there before.

    An address may give `max_per_min` wrong keys at once, and as many each minute. Beyond that no key from there is
    looked at, right or wrong: if right ones were answered all the same, every refusal would tell a guesser as much as
    before, and nothing would be slowed. The exception are keys that the same address has used before. Behind a proxy
    all clients have one address, and without the exception any of them could lock out the others by guessing. A client
    whose key is new there, or whose server was just started again, has to wait while somebody guesses: each of the
    minute's attempts goes to the one who asks first.

    A wrong key that is given again from the same address tells nobody anything and does not count, nor does one that
    was right there before: clients that still use a key that was taken away lock out nobody.

    The price of the exception: behind the same proxy somebody may guess, at full speed, at the keys that others have
    used there. That is hopeless for keys of `streamer keys new`, which have 256 random bits. The limit is for keys that
    the operator has chosen, and for the log. Only wrong keys count, so that no number of right ones is ever slowed.
    """

    def __init__(self, max_per_min: int | None, now_s: Callable[[], float] = time.monotonic) -> None:
        """`max_per_min`: None for any number. `now_s` returns the time of a monotonic clock in s."""
        self._max_per_min = max_per_min
        self._now_s = now_s
        # By address, of IPv6 by network (`Connection.address`): until when its wrong keys are paid for.
        self._spent_until_s: dict[str, float] = {}
        self._known: dict[_Known, None] = {}  # the one that was used last is the last
        self._refused: dict[_Known, None] = {}  # the same of wrong keys
        self._logged_s = -LOG_INTERVAL_S

    def wait_s(self, address: str, digest: bytes) -> float:
        """Return how long a client of this address has to wait before this key is looked at; 0 if it need not."""
        if self._max_per_min is None:
            return 0.0
        # The last wrong key that is allowed fills up the minute, but for rounding.
        full_s = 60.0 - 60.0 / self._max_per_min
        wait_s = self._spent_until_s.get(address, 0.0) - self._now_s() - full_s - 1e-6
        pair = (address, digest)
        return 0.0 if wait_s <= 0 or pair in self._known or pair in self._refused else wait_s

    def note_wrong(self, address: str, digest: bytes) -> None:
        """Count a key that was looked up and is wrong, unless it was given from there before."""
        if self._max_per_min is None:
            return
        now_s, pair = self._now_s(), (address, digest)
        was_given_before = pair in self._known or pair in self._refused
        self._known.pop(pair, None)
        _remember(self._refused, pair)
        if was_given_before:
            return
        if address not in self._spent_until_s and len(self._spent_until_s) >= MAX_ADDRESSES:
            self._make_room(now_s)
        begin_s = max(now_s, self._spent_until_s.pop(address, now_s))
        self._spent_until_s[address] = min(begin_s + 60.0 / self._max_per_min, now_s + 60.0)
        if self.wait_s(address, b"") and now_s >= self._logged_s + LOG_INTERVAL_S:
            self._logged_s = now_s
            logger.warning("too many wrong keys: they are refused for a while", extra={"address": address})

    def note_right(self, address: str, digest: bytes) -> None:
        """Remember that this key is used from this address."""
        _remember(self._known, (address, digest))

    def _make_room(self, now_s: float) -> None:
        """Forget the addresses that owe nothing, or the one whose wrong key is the longest ago."""
        owing = {place: until_s for place, until_s in self._spent_until_s.items() if until_s > now_s}
        if len(owing) >= MAX_ADDRESSES:
            del owing[next(iter(owing))]
        self._spent_until_s = owing


def _remember(pairs: dict[_Known, None], pair: _Known) -> None:
    """Make it the last of these, and forget the first if there are too many."""
    pairs.pop(pair, None)
    pairs[pair] = None
    if len(pairs) > MAX_KNOWN:
        del pairs[next(iter(pairs))]
