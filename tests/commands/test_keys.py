"""`streamer keys new`: the key is shown once, and its entry holds only its hash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from streamer.commands import cli
from streamer.server.key_files import read_keys
from streamer.server.keys import ApiKeys

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `streamer keys new` with the arguments: its status, and what it wrote to both outputs."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exited:
            cli.main(["keys", "new", *map(str, arguments)])
        assert isinstance(exited.value.code, int)
        return exited.value.code, *capsys.readouterr()

    return run


def test_the_printed_entry_lets_the_printed_key_in(run: Run, tmp_path: Path) -> None:
    """Pasted into a file, it is a key with these scopes; the key itself is on the first line alone."""
    status, out, _ = run(
        "alice", "--scopes", "speak, metrics", "--expires", "2999-01-31T12:00:00Z", "--share", "2.5"
    )
    key, empty, *entry = out.splitlines()
    assert status == 0 and empty == "" and key not in "\n".join(entry)
    path = tmp_path / "keys.toml"
    path.write_text("\n".join(entry))
    keys = ApiKeys.read(path)
    assert keys.check(key, "speak") == keys.check(key, "metrics")
    assert keys.name(keys.check(key, "speak")) == "alice"
    assert keys.share(keys.check(key, "speak")) == 2.5 and not keys.may(keys.check(key, "speak"), "admin")
    assert read_keys(path)[0].expiry == "2999-01-31T12:00:00Z"


def test_a_key_may_be_said_to_be_valid_for_ever(run: Run) -> None:
    """`--expires none` is the default in words, as it is for every option that can be switched off."""
    for flags in ((), ("--expires", "none")):
        status, out, _ = run("alice", *flags)
        assert status == 0 and "[alice]" in out and "expires" not in out


def test_with_a_file_only_the_key_is_printed(run: Run, tmp_path: Path) -> None:
    """So that a script can keep it; where it was written stands on standard error."""
    path = tmp_path / "keys.toml"
    printed = [run(name, "--file", path) for name in ("alice", "bob")]
    assert [status for status, _, _ in printed] == [0, 0]
    keys = ApiKeys.read(path)
    assert [keys.name(keys.check(out.strip(), "speak")) for _, out, _ in printed] == ["alice", "bob"]
    for _, out, err in printed:
        assert out.count("\n") == 1 and str(path) in err
        assert out.strip() not in path.read_text() and out.strip() not in err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("a b",), "letters, digits"),
        (("other",), "another name"),
        (("alice", "--scopes", "root"), "speak, metrics, admin"),
        (("alice", "--scopes", ""), "speak, metrics, admin"),
        (("alice", "--expires", "tomorrow"), "2027-01-31T12:00:00Z"),
        (("alice", "--expires", "2020-01-01T00:00:00Z"), "is past"),
        (("alice", "--share", "0"), "0.01 to 100"),
        (("alice", "--share", "nan"), "0.01 to 100"),
        (("alice", "--share", "much"), "--share"),
        (("alice", "--file", "keys"), ".toml"),
        (("alice", "--file", "no/such/keys.toml"), "no/such"),
        ((), "name"),
    ],
)
def test_a_mistake_is_one_line_and_no_key(
    arguments: tuple[str, ...], part: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status 2, nothing on standard output, and no file."""
    monkeypatch.chdir(tmp_path)
    status, out, err = run(*arguments)
    assert status == 2 and out == "" and part in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_taken_changes_nothing(run: Run, tmp_path: Path) -> None:
    """The key that was there stays valid."""
    path = tmp_path / "keys.toml"
    _, key, _ = run("alice", "--file", path)
    before = path.read_bytes()
    status, out, err = run("alice", "--file", path)
    assert status == 2 and out == "" and "'alice' already" in err
    keys = ApiKeys.read(path)
    assert path.read_bytes() == before and keys.name(keys.check(key.strip(), "speak")) == "alice"
