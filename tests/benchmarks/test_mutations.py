"""The flood of mutations reaches every protocol, and tells what is wrong; here it lasts for a moment only."""

from __future__ import annotations

from collections import Counter
from typing import Any

from benchmarks.mutations import FLOODS, NUM_KINDS, REQUESTS, Neighbour, flood, row
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import configured, running

QUIET: dict[str, Any] = {
    "num_unexpected": 0,
    "unexpected": [],
    "objects": {"streamer.Thing": 1},
    "resident_mb": 1.0,
    **dict.fromkeys(("tasks", "descriptors", "sessions", "connections", "sentences"), 2),
}


async def test_every_protocol_is_flooded_beside_a_neighbour() -> None:
    """Every connection and every request is counted, and the neighbour hears the same before and after."""
    synthesizer = FakeSynthesizer(voices=("one", "tone", "other"))
    config = configured(server={"wyoming_port": 0}, max_connections_per_address=1000)
    async with running(config, synthesizer) as speaking:
        port = speaking.server.port
        neighbour = Neighbour("native")
        neighbour.expected = await neighbour.speak(port)
        ends = await flood(port, speaking.server.tcp_ports[0], NUM_KINDS, seed=0)
        assert await neighbour.speak(port) == neighbour.expected != b""
    assert ends.keys() == FLOODS.keys() | REQUESTS.keys()
    assert all(counts.total() for counts in ends.values())
    found = row(0, NUM_KINDS, ends, [neighbour], QUIET, QUIET)
    assert (found["wrong_ends"], found["tracebacks"], found["left"]["objects"]) == (0, 0, 0)


def test_what_is_wrong_is_counted() -> None:
    """Closes with 1006 and 1011, statuses of the server's own failures or none, log records, and what is left."""
    ends: dict[str, Counter[Any]] = {name: Counter({None: 5, 1008: 2}) for name in FLOODS}
    ends |= {name: Counter({200: 5, 404: 1}) for name in REQUESTS}
    ends["native"] += Counter({1006: 1, 1011: 2})
    ends["openai"] += Counter({500: 1, 0: 1})
    neighbour = Neighbour("native", b"", num_equal=3, num_different=1)
    after = QUIET | {"num_unexpected": 4, "objects": {"streamer.Thing": 3}, "tasks": 7}
    found = row(0, 100, ends, [neighbour], QUIET, after)
    assert (found["wrong_ends"], found["tracebacks"], found["neighbours_different"]) == (5, 4, 1)
    assert found["left"]["tasks"] == 5 and found["objects"] == {"streamer.Thing": 2}
