"""Tickets: each is good once, for a minute, for one origin, and only where it was signed."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from streamer.errors import ConfigError, InvalidParameterError
from streamer.server.key_entries import named_key, plain_key
from streamer.server.keys import ApiKeys
from streamer.server.tickets import LIFETIME_S, MAX_TICKET_CHARS, MAX_USED, PREFIX, Tickets

KEYS = ApiKeys([plain_key("secret"), plain_key("other")])
NAME = KEYS.check("secret", "speak")
ORIGIN = "https://app.example.com"
PAST = "2020-01-01T00:00:00Z"


class Time:
    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_ticket_stands_for_its_key_once() -> None:
    """The second use is refused, and another ticket is another one."""
    tickets = Tickets()
    first, second = (tickets.issue(NAME, ORIGIN) for _ in range(2))
    assert first != second and "secret" not in first
    assert tickets.redeem(first, ORIGIN, KEYS) == NAME
    assert tickets.redeem(first, ORIGIN, KEYS) is None
    assert tickets.redeem(second, ORIGIN, KEYS) == NAME


@pytest.mark.parametrize("name", ["a", "alice", "a-b_C9", "x" * 32])
def test_a_ticket_carries_its_owner(name: str) -> None:
    """The longest name fits; a key that may not speak, or not any more, has no tickets."""
    now_s = 1_000_000.0
    keys = ApiKeys([named_key(name, "secret")])
    tickets = Tickets(now_s=lambda: now_s)
    key_id = keys.check("secret", "speak")
    assert tickets.redeem(tickets.issue(key_id, ORIGIN), ORIGIN, keys) == key_id and keys.name(key_id) == name
    for key in (named_key(name, "secret", ("admin", "metrics")), named_key(name, "secret", expires=PAST)):
        assert tickets.redeem(tickets.issue(key_id, ORIGIN), ORIGIN, ApiKeys([key])) is None


@pytest.mark.parametrize(
    "origin", [None, "", "null", "https://evil.example", "http://app.example.com", ORIGIN + ":8443"]
)
def test_a_ticket_is_of_one_origin(origin: str | None) -> None:
    """Another page or a program cannot use it, and does not use it up by trying."""
    tickets = Tickets()
    ticket = tickets.issue(NAME, ORIGIN)
    assert tickets.redeem(ticket, origin, KEYS) is None
    assert tickets.redeem(ticket, ORIGIN, KEYS) == NAME


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("https://APP.example.com", ORIGIN),
        ("https://app.example.com:443", ORIGIN),
        (ORIGIN, "https://app.example.com:443"),
        ("http://localhost:80", "http://localhost"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_a_usual_port_is_the_same_as_none(asked: str, sent: str) -> None:
    """Origins are compared as browsers mean them."""
    tickets = Tickets()
    assert tickets.redeem(tickets.issue(NAME, asked), sent, KEYS) == NAME


@pytest.mark.parametrize(
    "origin",
    ["", "null", "*", "app.example.com", "ftp://a", "https://", "https://a/path", "https://a b", "https://a,b",
     "https://" + "a" * 201, "https://a?b", "https://u@a", "https://a#b", "https://a\n", "javascript://a"],
)  # fmt: skip
def test_what_is_no_origin_gets_no_ticket(origin: str) -> None:
    """One clear error names the parameter."""
    if origin == "https://a\n":  # white space around it is none of it
        assert Tickets().issue(NAME, origin)
        return
    with pytest.raises(InvalidParameterError) as caught:
        Tickets().issue(NAME, origin)
    assert caught.value.param == "origin"


def test_a_ticket_expires() -> None:
    """It is good for a minute, whether it was used or not."""
    clock = Time()
    tickets = Tickets(now_s=clock)
    early, late = (tickets.issue(NAME, ORIGIN) for _ in range(2))
    clock.now_s += LIFETIME_S - 1
    assert tickets.redeem(early, ORIGIN, KEYS) == NAME
    clock.now_s += 1
    assert tickets.redeem(late, ORIGIN, KEYS) is None


def test_every_change_of_a_ticket_is_noticed() -> None:
    """No character of it can be another, unless it stands for the same bytes; another secret signs other tickets."""
    tickets = Tickets()
    ticket = tickets.issue(NAME, ORIGIN)
    for place in range(len(PREFIX), len(ticket)):
        for other in "AB-.":
            changed = ticket[:place] + other + ticket[place + 1 :]
            if changed.count(".") != 2 or _bytes(changed) != _bytes(ticket):
                assert tickets.redeem(changed, ORIGIN, KEYS) is None
    assert tickets.redeem(ticket[:-1], ORIGIN, KEYS) is None
    assert tickets.redeem(ticket + "A", ORIGIN, KEYS) is None
    assert Tickets(b"x" * 32).redeem(ticket, ORIGIN, KEYS) is None
    assert tickets.redeem(ticket, ORIGIN, KEYS) == NAME


def _bytes(ticket: str) -> list[bytes]:
    return [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in ticket.split(".")[1:]]


@pytest.mark.parametrize(
    "ticket",
    ["", PREFIX, PREFIX + ".", PREFIX + "a.b", PREFIX + "AAAA.AAAA", PREFIX + "é.é", "secret", PREFIX + "a" * 9999,
     PREFIX + "A" * (MAX_TICKET_CHARS - 10) + ".A", PREFIX + "..", PREFIX + "\ud800.A", PREFIX + "====.===="],
)  # fmt: skip
def test_what_is_no_ticket_is_none(ticket: str) -> None:
    """Whatever a client sends in its place, the answer is no."""
    assert Tickets().redeem(ticket, ORIGIN, KEYS) is None


def test_a_key_that_is_gone_has_no_tickets() -> None:
    """A ticket of a key that the operator took away is refused, and so is one without a key."""
    tickets = Tickets()
    assert tickets.redeem(tickets.issue(NAME, ORIGIN), ORIGIN, ApiKeys([plain_key("other")])) is None
    assert tickets.redeem(tickets.issue(None, ORIGIN), ORIGIN, KEYS) is None


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound nothing is accepted until the used ones have expired; then they are forgotten."""
    monkeypatch.setattr("streamer.server.tickets.MAX_USED", 3)
    clock = Time()
    tickets = Tickets(now_s=clock)
    for _ in range(3):
        assert tickets.redeem(tickets.issue(NAME, ORIGIN), ORIGIN, KEYS)
    assert tickets.redeem(tickets.issue(NAME, ORIGIN), ORIGIN, KEYS) is None
    clock.now_s += LIFETIME_S
    assert tickets.redeem(tickets.issue(NAME, ORIGIN), ORIGIN, KEYS)
    assert len(tickets._used) == 1 and MAX_USED > 1000


def test_one_key_uses_up_no_other_ones_tickets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key has a bound of its own, which is free again when its tickets have expired."""
    monkeypatch.setattr("streamer.server.tickets.MAX_USED_PER_KEY", 2)
    clock = Time()
    tickets = Tickets(now_s=clock)
    other = KEYS.check("other", "speak")
    accepted = [tickets.redeem(tickets.issue(NAME, ORIGIN), ORIGIN, KEYS) for _ in range(4)]
    assert accepted == [NAME, NAME, None, None]
    assert tickets.redeem(tickets.issue(other, ORIGIN), ORIGIN, KEYS) == other
    clock.now_s += LIFETIME_S
    assert tickets.redeem(tickets.issue(NAME, ORIGIN), ORIGIN, KEYS) == NAME
    assert sum(tickets._num_used.values()) == len(tickets._used) == 1


def test_processes_may_share_a_secret(tmp_path: Path) -> None:
    """A ticket of one is accepted by the other; without a file each draws its own."""
    path = tmp_path / "secret"
    path.write_bytes(b"0123456789abcdef0123456789abcdef\n")
    one, other = Tickets.read(path), Tickets.read(path)
    assert other.redeem(one.issue(NAME, ORIGIN), ORIGIN, KEYS) == NAME
    assert Tickets.read(None).redeem(one.issue(NAME, ORIGIN), ORIGIN, KEYS) is None


@pytest.mark.parametrize("content", [None, b"", b"short", b"x" * 31 + b"\n", b"x" * 65_537])
def test_a_bad_secret_is_one_error(tmp_path: Path, content: bytes | None) -> None:
    """It names the file and the option."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=str(path)) as caught:
        Tickets.read(path)
    assert caught.value.param == "ticket_secret_file"
