"""The front end's side of the directory: asks for the listing again and again. It needs HTTP and no Ray."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Final

import httpx2
import msgspec

from streamer.backends.ray.directory import LISTING_PATH, Listing, bearer
from streamer.errors import StreamerError, WorkerLostError
from streamer.worker_config import is_worker_address

logger = logging.getLogger(__name__)
POLL_INTERVAL_S: Final = 1.0
TIMEOUT_S: Final = 3.0
MAX_LISTING_BYTES: Final = 2 << 20


async def worker_listings(
    address: str, token: str = "", *, interval_s: float = POLL_INTERVAL_S
) -> AsyncGenerator[tuple[str, ...], None]:
    """Yield the addresses of an application's workers every `interval_s`, for good.

    `address` is that of the application at a proxy of Ray Serve, `http://HOST:8000`. While the directory does not
    answer, nothing is yielded, and the log says why once.
    """
    headers = {"Authorization": bearer(token)} if token else {}
    url = address.rstrip("/") + LISTING_PATH
    problem = ""
    async with httpx2.AsyncClient(headers=headers, timeout=TIMEOUT_S, trust_env=False) as client:
        while True:
            try:
                addresses = await _read(client, url)
            except StreamerError as error:
                if error.message != problem:
                    logger.warning("the workers are not listed at %s: %s", url, error.message)
                problem = error.message
            else:
                problem = ""
                yield addresses
            await asyncio.sleep(interval_s)


async def _read(client: httpx2.AsyncClient, url: str) -> tuple[str, ...]:
    """Return the addresses that are listed. Raises `WorkerLostError` if there is no such listing."""
    body = bytearray()
    try:
        async with asyncio.timeout(TIMEOUT_S), client.stream("GET", url) as response:
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > MAX_LISTING_BYTES:
                    raise WorkerLostError(f"it is longer than {MAX_LISTING_BYTES} bytes")
    except TimeoutError:
        raise WorkerLostError(f"nothing answers within {TIMEOUT_S:.0f} s") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise WorkerLostError(f"nothing answers ({error or type(error).__name__})") from None
    if response.status_code != 200:
        reason = body[:200].decode(errors="replace").strip()
        raise WorkerLostError(f"the answer is {response.status_code} {reason}".rstrip())
    try:
        addresses = msgspec.json.decode(bytes(body), type=Listing).workers
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise WorkerLostError(f"the answer is no listing: {error}"[:200]) from None
    if wrong := [address for address in addresses if not is_worker_address(address)]:
        raise WorkerLostError(f"{wrong[0]!r} is no worker's address")
    return tuple(dict.fromkeys(addresses))
