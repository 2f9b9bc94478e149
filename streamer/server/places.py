"""The connections of a server, counted: each has a place from its first byte to its end, and a budget of requests.

An address has such a budget, too, and one of connections. Those that have shown no key have a share of their own, in
which new ones take the place of old ones: sockets that say nothing cannot use up the places of clients that hold keys.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final, Literal

from streamer.config import LimitsConfig
from streamer.server.flow_control import Budget, Clock

UNPROVEN: Final = 512
"""How many connections there may be that have shown no key, or, where none is needed, have asked for nothing yet."""
MIN_UNPROVEN_PER_ADDRESS: Final = 16
"""How many of them one address may have, if no more than these may be let in."""
KEYLESS_FRACTION: Final = 0.5
"""The part of all places that clients of ports without keys may take where other clients need keys."""
REQUESTS_PER_S: Final = 50
REQUESTS_BURST: Final = 100
"""How many requests of one connection are answered at once, after which they are answered at the rate."""
ADDRESS_REQUESTS_PER_S: Final = 4
ADDRESS_REQUESTS_BURST: Final = 8
"""The same for an address, times the connections that it may have, by which an operator tells of proxies. As often it
may connect; connections beyond it are dropped."""
PROXIES: Final = "proxies"
"""Whom the connections of trusted proxies are counted as between two requests; as many as all may have are theirs."""
_MAX_BUDGETS: Final = 10_000
Full = Literal["server_full", "address_full"]
"""Why there is no place for a connection."""
FULL_MESSAGES: Final[dict[Full, str]] = {
    "server_full": "the server is full",
    "address_full": "too many connections from this address",
}
"""The same for its client."""


class Place:
    """One connection's place among all."""

    __slots__ = ("_address", "_has_key", "_is_shared", "_places", "_requests", "evict", "is_claimed")
    is_claimed: bool
    """Whether the client was let in; before, a newer connection may take the place."""
    evict: Callable[[], object]
    """Ends the connection, whose place is needed for a newer one; what accepted it sets this."""

    def __init__(self, places: Places, address: str) -> None:
        self.is_claimed = False
        self.evict = _do_nothing
        self._places = places
        self._address = address
        self._has_key = False
        self._is_shared = False
        self._requests: Budget | None = None

    def claim(self, *, has_key: bool = True) -> Full | None:
        """Take a place among the clients that were let in, unless done already; returns why there is none, or None.

        `has_key`: False for a client without a key at a server where others need one.
        """
        if self.is_claimed:
            return None
        if (reason := self._places.check(self._address, has_key=has_key)) is not None:
            return reason
        self._places.remove_unproven(self, self._address)
        self._places.claimed[has_key][self._address] += 1
        self.is_claimed, self._has_key = True, has_key
        if not self._is_shared:
            self.evict = _do_nothing
        return None

    def share(self) -> None:
        """Belong to a proxy that is trusted: each request is another client's, as `count_as` says."""
        self._is_shared = True
        self.rest()

    def count_as(self, address: str) -> None:
        """Count the connection as this client's from now on, who has still to be let in."""
        self.leave()
        self.is_claimed, self._address, self._requests = False, address, None
        self._places.add_unproven(self, address)

    def rest(self) -> None:
        """Be nobody's until the next request, if the connection is a proxy's."""
        if self._is_shared:
            self.count_as(PROXIES)
            self.claim()

    def spend(self, num_requests: float = 1.0) -> float:
        """Count requests, or parts of one; returns for how many seconds no other is to be answered here."""
        if self._requests is None:
            self._requests = Budget(REQUESTS_PER_S, REQUESTS_BURST, self._places.now_s)
        of_address = self._places.requests_of(self._address)
        return max(self._requests.spend(num_requests), of_address.spend(num_requests))

    def forget_requests(self) -> None:
        """Keep nothing of the requests, because no other comes: a session may last for an hour."""
        self._requests = None

    def leave(self) -> None:
        """Give the place back."""
        if not self.is_claimed:
            self._places.remove_unproven(self, self._address)
            return
        counts = self._places.claimed[self._has_key]
        counts[self._address] -= 1
        if not counts[self._address]:
            del counts[self._address]


def _do_nothing() -> None:
    """There is nothing to be ended, or it is not to be ended any more."""


class Budgets:
    """A budget for each address. Those of addresses that do nothing are kept until there are too many."""

    def __init__(self, per_s: float, burst: float, now_s: Clock) -> None:
        self._per_s = per_s
        self._burst = burst
        self._now_s = now_s
        self._budgets: dict[str, Budget] = {}

    def __len__(self) -> int:
        return len(self._budgets)

    def of(self, address: str) -> Budget:
        """Return the budget of an address, of which no more than a burst is ever owed."""
        budget = self._budgets.get(address)
        if budget is None:
            if len(self._budgets) >= _MAX_BUDGETS:
                self._budgets = {name: kept for name, kept in self._budgets.items() if not kept.is_full}
            budget = Budget(self._per_s, self._burst, self._now_s, max_debt=self._burst)
            self._budgets[address] = budget
        return budget


class Places:
    """All places of a server, or of its operator's port."""

    def __init__(self, limits: LimitsConfig, now_s: Clock = time.monotonic) -> None:
        self.now_s = now_s
        self.claimed = {True: Counter[str](), False: Counter[str]()}
        """The connections of each address that were let in, by whether they have a key, or need none."""
        self._limits = limits
        self._unproven: dict[str, dict[Place, None]] = {}  # by address, in the order in which they came
        num = limits.max_connections_per_address
        self._requests = Budgets(ADDRESS_REQUESTS_PER_S * num, ADDRESS_REQUESTS_BURST * num, now_s)
        num = max(num, MIN_UNPROVEN_PER_ADDRESS)
        self._connects = Budgets(ADDRESS_REQUESTS_PER_S * num, ADDRESS_REQUESTS_BURST * num, now_s)

    @property
    def num_taken(self) -> int:
        """The connections that have a place of any kind."""
        return sum(counts.total() for counts in self.claimed.values()) + self._num_unproven

    def connect(self, address: str) -> Place:
        """Return the place of a new connection, which may be one too many: see `add_unproven`."""
        place = Place(self, address)
        self.add_unproven(place, address)
        return place

    def may_connect(self, address: str) -> bool:
        """Count a connection of this address; returns whether it has not had too many of late."""
        return self._connects.of(address).take(1.0)

    def check(self, address: str, *, has_key: bool) -> Full | None:
        """Return why there is no place for another client that is let in, or None."""
        num_claimed = sum(counts.total() for counts in self.claimed.values())
        num_keyless = self.claimed[False].total()
        limits = self._limits
        if num_claimed >= limits.max_connections or (
            not has_key and num_keyless >= KEYLESS_FRACTION * limits.max_connections
        ):
            return "server_full"
        is_full = self.claimed[has_key][address] >= limits.max_connections_per_address
        return "address_full" if is_full and address != PROXIES else None

    def requests_of(self, address: str) -> Budget:
        """Return the budget of an address for requests."""
        return self._requests.of(address)

    def add_unproven(self, place: Place, address: str) -> None:
        """Count a place among those that have shown nothing. If there are too many, the oldest has to go: of the same
        address, or of the one that has most."""
        of_address = self._unproven.setdefault(address, {})
        of_address[place] = None
        most = max(MIN_UNPROVEN_PER_ADDRESS, self._limits.max_connections_per_address)
        if len(of_address) > most and address != PROXIES:
            self._evict_oldest(of_address)
        elif self._num_unproven > UNPROVEN:
            self._evict_oldest(max(self._unproven.values(), key=len))

    def remove_unproven(self, place: Place, address: str) -> None:
        """Take a place out of the share of those that have shown nothing, if it is still there."""
        of_address = self._unproven.get(address, {})
        of_address.pop(place, None)
        if not of_address:
            self._unproven.pop(address, None)

    @property
    def _num_unproven(self) -> int:
        return sum(map(len, self._unproven.values()))

    def _evict_oldest(self, places: dict[Place, None]) -> None:
        oldest = next(iter(places))
        del places[oldest]
        oldest.evict()
