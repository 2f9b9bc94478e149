"""A worker over a fake that has few places, which Ray imports by its name in the processes of replicas."""

from __future__ import annotations

from dataclasses import replace

from streamer.backends.workers.worker_server import WorkerServer
from streamer.synthesis import Health, Room
from tests.backends.workers.fleet import worker_server
from tests.fakes.synthesizer import FakeSynthesizer

TOKEN = "a token of sixteen characters"
NUM_PLACES = 4
SPEED = 4.0


class RoomySynthesizer(FakeSynthesizer):
    """A fake that tells how many of its places are taken."""

    def health(self) -> Health:
        taken = self.num_open
        room = Room(taken, NUM_PLACES, 0, 0, max_short=NUM_PLACES, mean_stay_s=1.0)
        return replace(super().health(), room=room)


def open_toy(_node_address: str) -> WorkerServer:
    """Return a worker on this machine alone."""
    return worker_server(RoomySynthesizer(speed=SPEED), token=TOKEN, drain_timeout_s=20.0)


def read_toy_token() -> str:
    return TOKEN
