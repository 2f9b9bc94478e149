"""What the server reads again when the operator asks for it with SIGHUP: keys, voices, the certificate.

Whoever holds something that was read from a file adds it to `Service.reloadables`. A file in which something is wrong
changes nothing: what was read before stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from streamer.errors import StreamerError

logger = logging.getLogger(__name__)
Reload = Callable[[], None]
"""Reads a file again, in a thread that is not the event loop's, and then takes it in one assignment.

Raises `StreamerError`, and then keeps what was there.
"""
Results = Mapping[str, str | None]
"""Why each of the things that were to be read again was not; None for one that was."""


class Reloadables:
    """What can be read again, by name."""

    def __init__(self) -> None:
        self._reloads: dict[str, Reload] = {}
        self._is_reloading = asyncio.Lock()

    def add(self, name: str, reload: Reload) -> None:
        """Have `reload` called whenever files are to be read again; `name` says in the log what it is."""
        self._reloads[name] = reload

    async def reload(self) -> Results:
        """Read all files again, and return what became of each; the log says so, too."""
        results: dict[str, str | None] = {}
        async with self._is_reloading:
            for name, reload in self._reloads.items():
                try:
                    await asyncio.to_thread(reload)
                except (StreamerError, OSError) as error:
                    results[name] = str(error)
                    logger.error("%s: not reloaded, the old one stays", name, extra={"reason": str(error)})
                except Exception:
                    results[name] = "an unexpected error, which the log tells"
                    logger.exception("%s: not reloaded, the old one stays", name)
                else:
                    results[name] = None
                    logger.info("%s: reloaded", name)
        return results
