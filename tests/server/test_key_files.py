"""A keys file is read whole or refused, with a line for each mistake that names file, entry and remedy."""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streamer.errors import ConfigError
from streamer.server.key_entries import ApiKey, as_toml, named_key, new_key, plain_key
from streamer.server.key_files import MAX_ERRORS, MAX_FILE_BYTES, MAX_KEYS, add_entry, read_keys

HASH = "sha256:" + hashlib.sha256(b"secret").hexdigest()
OTHER_HASH = "sha256:" + "0" * 64
GOOD = f'[alice]\nhash = "{HASH}"\n'


def _file(tmp_path: Path, content: str | bytes, name: str = "keys.toml") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_an_entry_says_what_its_key_is_good_for(tmp_path: Path) -> None:
    """Scopes, expiry and share have defaults; a name may have two keys, of which one replaces the other."""
    path = _file(
        tmp_path,
        f"""{GOOD}
        [b-2_c]  # a comment
        hash = ["{OTHER_HASH}", "sha256:{"1" * 64}"]
        scopes = ["metrics", "admin"]
        expires = 2027-01-31T12:00:00+02:00
        share = 2
        """,
    )
    alice, other = read_keys(path)
    assert alice == ApiKey("alice", (hashlib.sha256(b"secret").digest(),))
    assert alice.scopes == {"speak"} and alice.expires is None and alice.share == 1.0
    assert other.scopes == {"metrics", "admin"} and other.share == 2.0 and len(other.digests) == 2
    assert other.expires == datetime(2027, 1, 31, 10, tzinfo=UTC)
    assert other.expiry == "2027-01-31T12:00:00+02:00"


@pytest.mark.parametrize(
    "written",
    ["2027-01-31T12:00:00Z", '"2027-01-31T12:00:00Z"', '"2027-01-31t12:00:00z"', "2027-01-31 12:00:00Z",
     '"2027-01-31T13:30:00+01:30"', "2027-01-31T12:00:00.5Z", '"2027-01-31T12:00:00.000000001Z"'],
)  # fmt: skip
def test_an_expiry_is_a_time_of_rfc_3339(written: str, tmp_path: Path) -> None:
    """As TOML writes it, or as a string."""
    (key,) = read_keys(_file(tmp_path, f"{GOOD}expires = {written}"))
    assert key.expires is not None
    assert key.has_expired(key.expires.timestamp()) and not key.has_expired(key.expires.timestamp() - 0.001)
    assert abs(key.expires.timestamp() - datetime(2027, 1, 31, 12, tzinfo=UTC).timestamp()) < 1


@pytest.mark.parametrize(
    ("content", "entry", "remedy"),
    [
        ("[alice]\n", "[alice] hash:", "streamer keys new"),
        ('[alice]\nhash = "secret"\n', "[alice] hash:", "streamer keys new"),
        (f'[alice]\nhash = "{HASH[7:]}"\n', "[alice] hash:", "`sha256:`"),
        (f'[alice]\nhash = "{HASH}0"\n', "[alice] hash:", "64 hexadecimal digits"),
        ("[alice]\nhash = []\n", "[alice] hash:", "a list of up to 4"),
        (f"[alice]\nhash = {[OTHER_HASH] * 5}\n", "[alice] hash:", "a list of up to 4"),
        ("[alice]\nhash = [5]\n", "[alice] hash:", "a list of up to 4"),
        (f'{GOOD}[bob]\nhash = "{HASH}"\n', "[bob] hash:", "that of [alice]"),
        (f"{GOOD}scope = []\n", "[alice] scope:", "did you mean scopes?"),
        (f"{GOOD}[alice.bob]\n", "[alice] bob:", "no such field"),
        (f"{GOOD}scopes = []\n", "[alice] scopes:", "speak, metrics, admin"),
        (f'{GOOD}scopes = "speak"\n', "[alice] scopes:", "speak, metrics, admin"),
        (f'{GOOD}scopes = ["speak", "root"]\n', "[alice] scopes:", "'root'"),
        (f"{GOOD}scopes = [[]]\n", "[alice] scopes:", "speak, metrics, admin"),
        (f"{GOOD}expires = 2027-01-31\n", "[alice] expires:", "2027-01-31T12:00:00Z"),
        (f"{GOOD}expires = 2027-01-31T12:00:00\n", "[alice] expires:", "a zone"),
        (f'{GOOD}expires = "in a year"\n', "[alice] expires:", "in a year"),
        (f'{GOOD}expires = "2027-13-31T12:00:00Z"\n', "[alice] expires:", "2027-13-31"),
        (f'{GOOD}expires = "2027-01-31T12:00:60Z"\n', "[alice] expires:", "12:00:60"),
        (f"{GOOD}expires = 1800000000\n", "[alice] expires:", "1800000000"),
        (f"{GOOD}share = 0\n", "[alice] share:", "0.01 to 100"),
        (f"{GOOD}share = -1.0\n", "[alice] share:", "0.01 to 100"),
        (f"{GOOD}share = nan\n", "[alice] share:", "nan"),
        (f"{GOOD}share = inf\n", "[alice] share:", "inf"),
        (f"{GOOD}share = true\n", "[alice] share:", "True"),
        (f'{GOOD}share = "2"\n', "[alice] share:", "0.01 to 100"),
        ("alice = 5\n", "[alice] is no table", "write [alice]"),
        (f'["al ice"]\nhash = "{HASH}"\n', "[al ice] is no name", "letters, digits"),
        (f'["al.ice"]\nhash = "{HASH}"\n', "[al.ice] is no name", "letters, digits"),
        (f'["älice"]\nhash = "{HASH}"\n', "[älice] is no name", "letters, digits"),
        (f'[{"a" * 33}]\nhash = "{HASH}"\n', "is no name", "1 to 32"),
        (f'[""]\nhash = "{HASH}"\n', "is no name", "1 to 32"),
        (f'[other]\nhash = "{HASH}"\n', "[other] stands for all", "another name"),
        (f"{GOOD}{GOOD}", "is not TOML", "alice"),
        ("[alice\n", "is not TOML", "line 1"),
        ("a = " + "[" * 100_000, "is not TOML", ""),
        ("a = " + "9" * 5000, "is not TOML", ""),
        ("", "holds no key", "streamer keys new"),
        ("# nothing\n", "holds no key", "streamer keys new"),
        (b"\xff\xfe", "is not UTF-8", ""),
        ("#" * (MAX_FILE_BYTES + 1), "bytes", str(MAX_FILE_BYTES)),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_mistake_is_one_line(content: str | bytes, entry: str, remedy: str, tmp_path: Path) -> None:
    """It names the file, the entry and what would be right; what stands in place of a hash is not shown."""
    path = _file(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        read_keys(path)
    message = caught.value.message
    assert message.startswith(f"api_keys_file {path}") and caught.value.param == "api_keys_file"
    assert entry in message and remedy in message
    assert "\n" not in message and len(message) < 400
    assert "secret" not in message


def test_all_mistakes_are_told_at_once_up_to_a_bound(tmp_path: Path) -> None:
    """One line each, and how many more there are."""
    entry = f'hash = "{HASH}"\nshare = 0\n'
    path = _file(tmp_path, "".join(f"[k{number}]\n{entry}" for number in range(MAX_ERRORS + 5)))
    with pytest.raises(ConfigError) as caught:
        read_keys(path)
    lines = caught.value.message.splitlines()
    assert len(lines) == MAX_ERRORS + 1 and "[k0]" in lines[0] and lines[-1].endswith(": 5 more mistakes")


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("[alice]\nshare = 0\nscope = []\nexpires = 5\nscopes = []\n", [
            "[alice] hash: write", "[alice] scopes: [] is not", "[alice] expires: 5 is no", "[alice] share: 0 is not",
            "[alice] scope: there is no such field; did you mean scopes?"]),
        (f'[al ice]\nhash = "{HASH}"\n[bob]\nshare = 0\n', [
            " is not TOML: Expected ']' at the end of a table declaration (at line 1, column 5)", "[bob] hash: write",
            "[bob] share: 0 is not"]),
        (f'["al ice"]\nshare = 0\n[other]\nhash = "{HASH}"\nx = 1\ny = 2\n', [
            '[al ice] is no name', "[al ice] hash: write", "[al ice] share: 0", "[other] stands for all",
            "[other] x: there is no such field", "[other] y: there is no such field"]),
        (f"{GOOD}share = \n\n[bob]\nhash =\n[carol]\nhash = 'x'\n{GOOD}", [
            "is not TOML: Invalid value (at line 3, column 9)", "is not TOML: Invalid value (at line 6, column 7)",
            "[carol] hash: write"]),
        (f"{GOOD}[bob\n{GOOD}", ["is not TOML: Expected ']'", "is not TOML: [alice] stands there twice"]),
        (f"alice = 5\nbob = []\n[carol]\nhash = '{HASH}'\n[dave]\nhash = '{HASH}'\nscopes = [\n'root',\n]\n", [
            "[alice] is no table", "[bob] is no table", "[dave] scopes: ['root'] is not"]),
        (f"[carol]\nhash = '{HASH}'\n[dave]\nhash = ['{OTHER_HASH}', '{HASH}']\n[eve]\nhash = '{OTHER_HASH}'\n", [
            "[dave] hash: it is also that of [carol]", "[eve] hash: it is also that of [dave]"]),
    ],
)  # fmt: skip
def test_every_mistake_of_every_entry_is_told(content: str, lines: list[str], tmp_path: Path) -> None:
    """Those of one entry, of several, and of the syntax; and nothing that is right is complained of."""
    with pytest.raises(ConfigError) as caught:
        read_keys(_file(tmp_path, content))
    told = caught.value.message.splitlines()
    assert len(told) == len(lines), told
    for expected in lines:
        assert any(expected in line for line in told), expected
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("good\ntwo words\n", ", line 2:"),
        ("two words\ngood\nschl\u00fcssel\n# fine\n" + "k" * 513, ", lines 1, 3, 5:"),
        ("a b\n" * (MAX_ERRORS + 7), f", {MAX_ERRORS} and 7 more:"),
    ],
    ids=["one", "three", "many"],
)
def test_every_wrong_line_of_a_plain_file_is_told(content: str, lines: str, tmp_path: Path) -> None:
    """In one line, which does not show what may be a key."""
    with pytest.raises(ConfigError) as caught:
        read_keys(_file(tmp_path, content, "keys"))
    assert lines in caught.value.message and "\n" not in caught.value.message
    assert "two words" not in caught.value.message


def test_a_large_file_of_mistakes_is_told_soon(tmp_path: Path) -> None:
    """A file as large as is read, whose every line begins a table that is none, is one line."""
    with pytest.raises(ConfigError) as caught:
        read_keys(_file(tmp_path, "[a\n" * (MAX_FILE_BYTES // 3)))
    assert "\n" not in caught.value.message and "is not TOML" in caught.value.message


@pytest.mark.parametrize("name", ["keys.toml", "keys"])
def test_the_number_of_keys_is_bounded(name: str, tmp_path: Path) -> None:
    """As many as the bound are read, and one more is an error."""
    entries = [
        f'[k{number}]\nhash = "sha256:{number:064x}"' if name == "keys.toml" else f"key{number}"
        for number in range(MAX_KEYS + 1)
    ]
    assert len(read_keys(_file(tmp_path, "\n".join(entries[:-1]), name))) == MAX_KEYS
    with pytest.raises(ConfigError, match=f"at most {MAX_KEYS}"):
        read_keys(_file(tmp_path, "\n".join(entries), name))


def test_plain_keys_may_speak_and_are_kept_as_digests(tmp_path: Path) -> None:
    """Comments and empty lines are none; what is kept of a key does not reveal it."""
    keys = read_keys(_file(tmp_path, "secret # mine\n\n# nothing\nsecret\nother\n", "keys"))
    assert keys == (plain_key("secret"), plain_key("other"))
    assert all(key.scopes == {"speak"} and not key.is_named for key in keys)
    assert "secret" not in repr(keys)


@pytest.mark.parametrize(
    "content", ["", "# nothing", "two words", "schlüssel", "a\x07b", "k" * 513, GOOD, b"\xff"],
    ids=["empty", "comments", "a space", "not ASCII", "a bell", "long", "TOML", "no UTF-8"],
)  # fmt: skip
def test_a_plain_file_with_what_no_client_could_send_is_refused(content: str | bytes, tmp_path: Path) -> None:
    """TOML under another name is such a file, and the error says where it belongs."""
    with pytest.raises(ConfigError, match="api_keys_file") as caught:
        read_keys(_file(tmp_path, content, "keys"))
    assert content != GOOD or ".toml" in caught.value.message


@pytest.mark.parametrize("name", ["keys.toml", "keys"])
def test_a_file_that_cannot_be_read_is_one_line(name: str, tmp_path: Path) -> None:
    """It is not there, or it is a directory."""
    for path in (tmp_path / name, tmp_path):
        with pytest.raises(ConfigError, match=r"No such file|Is a directory"):
            read_keys(path)


def test_new_keys_are_long_and_random() -> None:
    """256 bits in characters that every header, subprotocol and query takes."""
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    for key in keys:
        assert key.startswith("streamer_") and len(key) == len("streamer_") + 43
        assert all(character.isalnum() or character in "_-" for character in key) and key.isascii()


@pytest.mark.parametrize(
    ("scopes", "expires", "share"),
    [
        (("speak",), None, 1.0),
        (("metrics",), None, 1.0),
        (("admin", "speak", "metrics"), "2027-01-31T12:00:00Z", 0.5),
        (("speak",), "2027-01-31T12:00:00.25-05:00", 100.0),
        (("speak",), None, 0.01),
    ],
)
def test_a_written_entry_is_read_as_it_was_meant(
    scopes: tuple[str, ...], expires: str | None, share: float, tmp_path: Path
) -> None:
    """Into a new file, behind what others wrote, and with nothing changed there."""
    path = tmp_path / "keys.toml"
    alice, bob = (named_key(name, f"key of {name}", scopes, expires, share) for name in ("alice", "bob"))
    add_entry(path, alice)
    assert path.read_text() == as_toml(alice) and read_keys(path) == (alice,)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + b"# no line end")
    before = path.read_bytes()
    add_entry(path, bob)
    assert path.read_bytes().startswith(before) and read_keys(path) == (alice, bob)
    assert b"key of" not in path.read_bytes() and [child.name for child in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [GOOD, "[alice\n", f"{GOOD}x = 1\n", b"\xff"])
def test_an_entry_that_cannot_be_added_changes_nothing(content: str | bytes, tmp_path: Path) -> None:
    """The name is taken, or the file is wrong already."""
    path = _file(tmp_path, content)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"keys\.toml"):
        add_entry(path, named_key("alice", "another"))
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_an_entry_is_not_added_to_a_plain_file(tmp_path: Path) -> None:
    """The server would take its lines for keys."""
    with pytest.raises(ConfigError, match=r"ends in \.toml"):
        add_entry(tmp_path / "keys", named_key("alice", "secret"))
    assert not list(tmp_path.iterdir())


def test_a_link_stays_one(tmp_path: Path) -> None:
    """What it leads to is written."""
    (tmp_path / "there").mkdir()
    link = tmp_path / "keys.toml"
    link.symlink_to(tmp_path / "there" / "keys.toml")
    add_entry(link, named_key("alice", "secret"))
    assert link.is_symlink() and len(read_keys(tmp_path / "there" / "keys.toml")) == 1


def test_keys_that_are_added_at_once_are_all_kept(tmp_path: Path) -> None:
    """Each of several operators finds the file as the one before has left it."""
    path = tmp_path / "keys.toml"
    adding = [
        threading.Thread(target=add_entry, args=(path, named_key(f"k{number}", f"key{number}")))
        for number in range(8)
    ]
    for thread in adding:
        thread.start()
    for thread in adding:
        thread.join()
    assert {key.name for key in read_keys(path)} == {f"k{number}" for number in range(8)}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("", {}),
        ("a b", {}),
        ("a]\nx", {}),
        ("other", {}),
        ("alice", {"scopes": ("root",)}),
        ("alice", {"scopes": ()}),
        ("alice", {"expires": "tomorrow"}),
        ("alice", {"share": 0.0}),
        ("alice", {"share": float("nan")}),
    ],
)
def test_a_new_key_is_checked_like_an_entry(name: str, options: dict[str, object]) -> None:
    """So that nothing is written that could not be read."""
    with pytest.raises(ConfigError, match="key '"):
        named_key(name, "secret", **options)  # type: ignore[arg-type]
