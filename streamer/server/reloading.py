"""What the server reads again on SIGHUP: each file that its settings name; voices also when their files change.

What was read from a file is added to `Service.reloadables`. A file in which something is wrong changes nothing: what
was read before stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from streamer.errors import StreamerError

logger = logging.getLogger(__name__)
WATCH_INTERVAL_S: Final = 1.0
"""How often files are looked at. Asking the kernel to tell (inotify) would need a library, and it does not tell of
changes that another machine makes on a network's file system; a look at Bark's 261 voices takes half a millisecond."""
Reload = Callable[[], None]
"""Reads a file again, in a thread that is not the event loop's, and then takes it in one assignment.

Raises `StreamerError`, and then keeps what was there.
"""
Refresh = Callable[[], bool]
"""Does as `Reload` if the files have changed, and returns whether they have."""
Results = Mapping[str, str | None]
"""Why each of the things that were to be read again was not; None for one that was."""


class Reloadables:
    """What can be read again, by name."""

    def __init__(self) -> None:
        self._reloads: dict[str, Reload] = {}
        self._refreshes: dict[str, Refresh] = {}
        self._is_reloading = asyncio.Lock()
        self._running: set[asyncio.Task[Results]] = set()

    def add(self, name: str, reload: Reload, refresh: Refresh | None = None) -> None:
        """Have `reload` called whenever files are to be read again; `name` says in the log what it is.

        `refresh` is called all the time, for files whose changes are to count without being asked.
        """
        self._reloads[name] = reload
        if refresh is not None:
            self._refreshes[name] = refresh

    async def watch(self, interval_s: float = WATCH_INTERVAL_S) -> None:
        """Read files again soon after they have changed, until cancelled; what goes wrong is logged once."""
        problems: dict[str, str] = {}
        while self._refreshes:
            await asyncio.sleep(interval_s)
            async with self._is_reloading:
                for name, refresh in self._refreshes.items():
                    try:
                        has_changed = await asyncio.to_thread(refresh)
                    except Exception as error:
                        if problems.get(name) != str(error):
                            logger.exception("%s: not reloaded, the old one stays", name)
                        problems[name] = str(error)
                    else:
                        problems.pop(name, None)
                        if has_changed:
                            logger.info("%s: changed, and reloaded", name)

    async def reload(self) -> Results:
        """Read all files again, and return what became of each; the log says so, too.

        It is done to its end even if nobody waits for that any more.
        """
        reloading = asyncio.create_task(self._reload_all())
        self._running.add(reloading)
        reloading.add_done_callback(self._running.discard)
        return await asyncio.shield(reloading)

    async def _reload_all(self) -> Results:
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
