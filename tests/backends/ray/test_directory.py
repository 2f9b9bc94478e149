"""The directory: who is listed, for how long, and who may read it."""

from __future__ import annotations

import json

import pytest

from streamer.backends.ray import directory
from streamer.backends.ray.directory import LISTED_FOR_S, WorkerDirectory, bearer


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_worker_is_listed_while_it_announces_itself() -> None:
    """Once, in the order in which workers came; one that is silent for too long, or withdraws, is left out."""
    clock = Clock()
    workers = WorkerDirectory("", clock)
    for address in ("ws://b:1", "ws://a:1", "ws://b:1", "ws://c:1"):
        workers.announce(address)
    assert workers.addresses() == ("ws://b:1", "ws://a:1", "ws://c:1")
    clock.now_s += LISTED_FOR_S
    workers.announce("ws://a:1")
    workers.withdraw("ws://c:1")
    workers.withdraw("ws://never:1")
    assert workers.addresses() == ("ws://b:1", "ws://a:1")
    clock.now_s += 0.1
    assert workers.addresses() == ("ws://a:1",)
    workers.announce("ws://b:1")
    assert workers.addresses() == ("ws://a:1", "ws://b:1")


def test_the_list_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker more than the bound is refused, those that are listed are kept, and there is room again later."""
    monkeypatch.setattr(directory, "MAX_WORKERS", 2)
    clock = Clock()
    workers = WorkerDirectory("", clock)
    workers.announce("ws://a:1")
    workers.announce("ws://b:1")
    with pytest.raises(ValueError, match="2 workers are listed, and ws://c:1 is one more"):
        workers.announce("ws://c:1")
    workers.announce("ws://a:1")
    clock.now_s += LISTED_FOR_S + 0.1
    workers.announce("ws://c:1")
    assert workers.addresses() == ("ws://c:1",)


@pytest.mark.parametrize(
    ("path", "authorization", "status"),
    [
        ("/workers", bearer("secret"), 200),
        ("/workers", "Bearer secret ", 401),
        ("/workers", "bearer secret", 401),
        ("/workers", "secret", 401),
        ("/workers", "Bearer sécret", 401),
        ("/workers", "Bearer \udcff", 401),
        ("/workers", "", 401),
        ("/", bearer("secret"), 404),
        ("/workers/", bearer("secret"), 404),
        ("/workers/a", "", 404),
    ],
)
def test_only_who_knows_the_token_reads_the_list(path: str, authorization: str, status: int) -> None:
    """At one path, and with the whole token."""
    workers = WorkerDirectory("secret")
    workers.announce("ws://a:1")
    found, body = workers.answer(path, authorization)
    assert found == status
    assert (b"ws://a:1" in body) == (status == 200)


def test_without_a_token_everyone_reads_the_list() -> None:
    """As JSON with the one field `workers`."""
    workers = WorkerDirectory("")
    assert json.loads(workers.answer("/workers", "")[1]) == {"workers": []}
    workers.announce("ws://a:1")
    assert json.loads(workers.answer("/workers", "Bearer any")[1]) == {"workers": ["ws://a:1"]}
