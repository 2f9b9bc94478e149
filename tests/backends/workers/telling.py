"""What a client of a front end has been told and has heard, by utterance."""

from __future__ import annotations

from typing import Any

from tests.server.speaking import Client


async def told(client: Client, num_utterances: int) -> dict[str, dict[str, Any]]:
    """Read until every utterance has its `done`; return them by id."""
    done: dict[str, dict[str, Any]] = {}
    while len(done) < num_utterances:
        item = await client.next()
        if isinstance(item, dict) and item["type"] == "done":
            assert item["id"] not in done
            done[item["id"]] = item
    return done


def sounds(client: Client) -> dict[str, bytes]:
    """Return the sound of each utterance, by its id."""
    streams = {message["stream"]: message["id"] for message in client.messages("started")}
    found = dict.fromkeys(streams.values(), b"")
    for frame in client.frames():
        found[streams[frame.stream]] += frame.payload
    return found
