"""Keys are compared without telling anything by time, and each is good for its scopes until it expires."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from streamer.errors import AuthenticationError, ConfigError, ScopeError
from streamer.server.key_entries import SCOPES, Scope, as_toml, digest_of, named_key, plain_key
from streamer.server.keys import ApiKeys
from streamer.server.tickets import Tickets
from tests.server.named_keys import key_of, write_keys

YEAR_2027_S = 1_798_761_600.0


def _id_of(name: str, key: str) -> str:
    """The id of a named key."""
    return f"{name}:{digest_of(key).hex()[:12]}"


class Time:
    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class CountingDigest(bytes):
    """A digest that counts how often one is compared with another."""

    num_compared = 0
    __hash__ = bytes.__hash__

    def __eq__(self, other: object) -> bool:
        CountingDigest.num_compared += 1
        return bytes(self) == other


def test_a_look_up_takes_as_long_however_many_keys_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many digests are compared for a thousand keys as for one, found or not, plain or named; and never the keys."""
    monkeypatch.setattr("streamer.server.keys.digest_of", lambda key: CountingDigest(digest_of(key)))
    counts: list[list[int]] = []
    for num_keys in (1, 10, 1000):
        plain = [plain_key(f"plain{number}") for number in range(num_keys)]
        named = [named_key(f"n{number}", f"key{number}") for number in range(num_keys)]
        keys, last, compared = ApiKeys([*plain, *named]), num_keys - 1, []
        for given in (f"key{last}", f"plain{last}", "x" * 1000, "\ud800", "", f"key{last}x", f"plain{last} "):
            CountingDigest.num_compared = 0
            if given in (f"key{last}", f"plain{last}"):
                assert keys.name(keys.check(given, "speak")) in (f"n{last}", plain[last].name)
            else:
                with pytest.raises(AuthenticationError, match="not valid here"):
                    keys.check(given, "speak")
            compared.append(CountingDigest.num_compared)
        counts.append(compared)
    assert counts[0] == counts[1] == counts[2] and counts[0][2:] == [0] * 5


def test_each_of_a_names_keys_is_found() -> None:
    """While one replaces another; each has an id of its own, and their owner is one."""
    old, new = named_key("alice", "old"), named_key("alice", "new")
    keys = ApiKeys([replace(old, digests=old.digests + new.digests), plain_key("one")])
    ids = {keys.check(given, "speak") for given in ("old", "new")}
    assert len(ids) == 2 and {keys.name(key_id) for key_id in ids} == {"alice"}


def test_without_a_file_no_key_is_needed() -> None:
    """Then every client may speak, and there are no scopes."""
    keys = ApiKeys.read(None)
    assert not keys.are_required and not keys.have_scopes and not keys.may("alice", "speak")
    assert keys.owner("alice") == "other" and keys.share("alice") == keys.share(None) == 1.0


@pytest.mark.parametrize("scopes", [SCOPES, *[(scope,) for scope in SCOPES], ("speak", "admin")])
def test_a_key_is_good_for_its_scopes_alone(scopes: tuple[Scope, ...]) -> None:
    """Another scope is an error that names the key's owner and what is lacking."""
    keys = ApiKeys([named_key("alice", "secret", scopes)])
    assert keys.have_scopes
    for scope in SCOPES:
        assert keys.may(_id_of("alice", "secret"), scope) == (scope in scopes)
        if scope in scopes:
            assert keys.check("secret", scope) == _id_of("alice", "secret")
        else:
            with pytest.raises(ScopeError, match=f"'alice'.*{scope!r}"):
                keys.check("secret", scope)


def test_a_plain_key_may_speak_and_no_more() -> None:
    """Its owner has no name in the log, not even a part of its digest."""
    keys = ApiKeys([plain_key("secret")])
    name = keys.check("secret", "speak")
    assert keys.are_required and not keys.have_scopes and "secret" not in name
    assert keys.owner(name) == "other" and keys.share(name) == 1.0
    for scope in ("metrics", "admin"):
        with pytest.raises(ScopeError) as caught:
            keys.check("secret", scope)
        assert name not in caught.value.message


@pytest.mark.parametrize(
    "expires",
    [
        "2027-01-01T00:00:00Z",
        "2027-01-01T05:30:00+05:30",
        "2026-12-31T16:00:00-08:00",
        "2027-01-01t00:00:00z",
    ],
)
def test_an_expired_key_is_refused_with_a_clear_line(expires: str) -> None:
    """It is good until its time, and then its holder is told since when it is not."""
    clock = Time(YEAR_2027_S - 0.01)
    keys = ApiKeys([named_key("alice", "secret", ("speak", "admin"), expires)], now_s=clock)
    key_id = keys.check("secret", "speak")
    assert keys.name(key_id) == "alice" and keys.may(key_id, "speak")
    clock.now_s = YEAR_2027_S
    for scope in SCOPES:  # also for what it was never good for
        with pytest.raises(AuthenticationError, match=r"'alice' expired at 202.*ask") as caught:
            keys.check("secret", scope)
        assert not isinstance(caught.value, ScopeError)
    assert not keys.may(key_id, "speak")
    assert keys.are_required  # a server whose keys have all expired is not open to all


def test_the_operator_is_told_of_expired_keys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When the file is read, by name."""
    path = write_keys(
        tmp_path / "keys.toml",
        {"old": ["speak"], "older": ["speak"], "new": ["speak"]},
        {"old": "2020-01-01T00:00:00Z", "older": "2019-01-01T00:00:00Z", "new": "2999-01-01T00:00:00Z"},
    )
    with caplog.at_level(logging.WARNING):
        ApiKeys.read(path)
    (record,) = caplog.records
    assert record.message == "keys have expired" and vars(record)["keys"] == "old, older"


def test_a_name_may_have_two_keys_while_one_replaces_the_other(tmp_path: Path) -> None:
    """Both are the same owner's."""
    path = write_keys(tmp_path / "keys.toml", {"alice": ["speak"]})
    new_hash = f"sha256:{named_key('alice', 'new').digests[0].hex()}"
    path.write_text(
        path.read_text().replace('hash = "', f'hash = ["{new_hash}", "').replace('"\nsc', '"]\nsc')
    )
    keys = ApiKeys.read(path)
    ids = [keys.check("new", "speak"), keys.check(key_of("alice"), "speak")]
    assert len(set(ids)) == 2 and {keys.name(key_id) for key_id in ids} == {"alice"}


def test_what_is_read_again_counts_and_what_is_wrong_does_not(tmp_path: Path) -> None:
    """Scopes, shares and owners change with the file; a wrong file changes nothing."""
    path = write_keys(tmp_path / "keys.toml", {"alice": ["speak"], "bob": ["speak"]}, alice=2.0)
    keys = ApiKeys.read(path)
    alice, bob, carol = (_id_of(name, key_of(name)) for name in ("alice", "bob", "carol"))
    assert keys.share(alice) == 2.0 and keys.owner(bob) == "bob"
    write_keys(path, {"alice": ["admin"], "carol": ["speak"]}, alice=3.0)
    keys.reload()
    assert keys.share(alice) == 3.0 and keys.owner(bob) == "other" and keys.owner(carol) == "carol"
    assert not keys.may(alice, "speak") and keys.may(alice, "admin") and not keys.may(bob, "speak")
    path.write_text("[alice]\nshare = 0\n")
    with pytest.raises(ConfigError):
        keys.reload()
    assert keys.share(alice) == 3.0 and keys.may(carol, "speak")


def test_a_key_in_the_place_of_another_does_not_let_in_what_came_with_that(tmp_path: Path) -> None:
    """A leaked key's sessions and tickets end when its hash is replaced under the same name."""
    path = write_keys(tmp_path / "keys.toml", {"alice": ["speak"]})
    keys = ApiKeys.read(path)
    leaked = keys.check(key_of("alice"), "speak")
    tickets = Tickets()
    ticket = tickets.issue(leaked, "https://app.example.com")
    path.write_text(as_toml(named_key("alice", "new")))
    keys.reload()
    assert keys.check("new", "speak") != leaked and not keys.may(leaked, "speak")
    assert tickets.redeem(ticket, "https://app.example.com", keys) is None
