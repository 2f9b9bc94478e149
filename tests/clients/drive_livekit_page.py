"""LiveKit speaks with the service `tts` that a page's snippet makes.

Orders: `snippet` and `text`. The report has the length of the sound in seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from livekit.agents.utils import http_context

orders = json.loads(sys.argv[1])


async def main() -> None:
    async with http_context.open():
        names: dict[str, Any] = {}
        exec(orders["snippet"], names)
        sound = await names["tts"].synthesize(orders["text"]).collect()
    print(json.dumps({"length_s": sound.duration}))


asyncio.run(main())
