"""The voices that a front end offers: those of its workers, which may differ for a while; for `synthesizer`."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Final, Protocol

logger = logging.getLogger(__name__)
MAX_SHOWN: Final = 5
"""The most names of voices in one line of the log."""


class HasVoices(Protocol):
    """A worker with voices, each with a digest of its tokens."""

    address: str
    voices: Mapping[str, bytes]


class SharedVoices:
    """The voices of several workers, by name.

    A voice is offered if any worker has it, and sentences go to the workers that have it. Where one name means
    different voices, the one that was offered before stays until no worker has it: while the operator replaces a voice
    on one worker after the other, sentences are spoken in the old one, and in the new one once that is gone. So an
    utterance may begin in the old one and end in the new one.
    """

    def __init__(self) -> None:
        self.digests: Mapping[str, bytes] = {}
        self._missing: Mapping[str, Collection[str]] = {}

    def merge(self, workers: Sequence[HasVoices]) -> bool:
        """Take over the voices of these workers, and return whether they have changed; the log says how."""
        before, merged = self.digests, dict[str, bytes]()
        for worker in workers:
            for name, digest in worker.voices.items():
                if name not in merged or digest == before.get(name):
                    merged[name] = digest
        self.digests = merged
        missing = {
            worker.address: names
            for worker in workers
            if (names := [name for name in merged if worker.voices.get(name) != merged[name]])
        }
        for address, names in missing.items():
            if names != self._missing.get(address):
                message = "a worker lacks voices that others have, or has others of that name: it is not asked for them"
                logger.warning(message, extra={"worker": address, "voices": _shown(names)})
        self._missing = missing
        if merged == before:
            return False
        if before:
            changes = {
                "added": [name for name in merged if name not in before],
                "removed": [name for name in before if name not in merged],
                "replaced": [name for name in merged if name in before and merged[name] != before[name]],
            }
            told = {change: _shown(names) for change, names in changes.items() if names}
            logger.info("the voices of the workers have changed", extra=told)
        return True


def _shown(names: Sequence[str]) -> str:
    """Return some of the names, and how many more there are."""
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return ", ".join(names[:MAX_SHOWN]) + more
