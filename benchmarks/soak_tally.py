"""What became of everything that the clients of `soak.py` asked for, by protocol and by how it ended."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Final

from benchmarks.protocol_clients import UNTOLD, RefusedError

HEARD: Final = "heard to its end"
LEFT: Final = "left on purpose"
TIMED_OUT: Final = "failed: nothing came in time"
NO_SOUND: Final = "failed: ended without sound, and without a word why"
_ON_PURPOSE: Final = "broken off on purpose: "
_CUT: Final = ", and cut by the server"
_REFUSED: Final = "refused: "
_RETRY_TOLD: Final = ", told when to return"
FULL_CODES: Final = ("overloaded", "rate_limited", "429 Concurrency limited", UNTOLD)
"""What a server says that is full, or cannot say."""
_MAX_CHARS: Final = 200


@dataclass
class Tally:
    """Every utterance that was asked for has one outcome. `first_sounds` are (when, after how many seconds)."""

    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """How often each outcome was, by protocol."""
    first_sounds: list[tuple[float, float]] = field(default_factory=list)
    num_asked: int = 0
    """Utterances that the server may have been asked for."""
    num_unconnected: int = 0
    """Outcomes without an utterance, because the connection failed before or after it."""

    def note(self, protocol: str, outcome: str) -> None:
        """Count an outcome."""
        self.outcomes[protocol][outcome] += 1

    def note_unconnected(self, protocol: str, error: Exception) -> None:
        """Count a connection that failed while nothing was asked for over it."""
        self.num_unconnected += 1
        self.note(protocol, f"{failed(error)}, while nothing was asked for")

    def totals(self) -> Counter[str]:
        """Return how often each outcome was, of all protocols together."""
        return sum(self.outcomes.values(), Counter[str]())

    def complaints(self) -> list[str]:
        """Return what should not have been, and how many utterances have no outcome, or two."""
        found = [
            f"{count} x {protocol}: {outcome}"
            for protocol, counts in self.outcomes.items()
            for outcome, count in counts.items()
            if not is_accounted_for(outcome)
        ]
        num_told = self.totals().total() - self.num_unconnected
        if num_told != self.num_asked:
            found.append(f"{self.num_asked} utterances were asked for, and {num_told} have an outcome")
        return found

    def first_sounds_since(self, moment_s: float) -> list[float]:
        """Return the times to the first sound of those that came after this moment."""
        return [after_s for when_s, after_s in self.first_sounds if when_s >= moment_s]


def refused(error: RefusedError) -> str:
    """Return the outcome of an utterance that the server says it does not speak."""
    return f"{_REFUSED}{error.code}{_RETRY_TOLD if error.is_retry_told else ''}"


def failed(error: Exception) -> str:
    """Return the outcome of an utterance that ended by an error that no protocol tells."""
    return f"failed: {type(error).__name__}: {error}".replace("\n", " ")[:_MAX_CHARS]


def broken_off(misdeed: str, *, is_cut: bool) -> str:
    """Return the outcome of what a client did wrong on purpose, and whether the server was faster to end it."""
    return f"{_ON_PURPOSE}{misdeed}{_CUT if is_cut else ''}"


def is_accounted_for(outcome: str) -> bool:
    """Whether nothing is wrong with an outcome: a full server may refuse, and a client may leave."""
    code = outcome.removeprefix(_REFUSED).removesuffix(_RETRY_TOLD)
    is_full = outcome.startswith(_REFUSED) and code in FULL_CODES
    return outcome in (HEARD, LEFT) or outcome.startswith(_ON_PURPOSE) or is_full
