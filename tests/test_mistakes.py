"""`check-config` finds all that `serve` would refuse at its start, at once, and without a model in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streamer.assembly import build_server
from streamer.config import load_config
from streamer.errors import StreamerError
from streamer.mistakes import find_mistakes
from tests.fakes.speaking_model import save_speaking_model
from tests.server.certificates import write_certificate

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "keys missing": ({"api_keys_file": "none.toml"}, "api_keys_file none.toml: No such file"),
    "keys wrong": ({"api_keys_file": "keys.toml"}, "[bob] hash: write"),
    "plain keys wrong": ({"api_keys_file": "keys"}, "line 1: a key has"),
    "operator's port": ({"admin_port": 0, "admin_host": "0.0.0.0"}, "could stop this server"),
    "one port for two": ({"port": 8799, "admin_port": 8799}, "admin_port and port are both 8799"),
    "one port for two everywhere": (
        {"port": 8799, "host": "0.0.0.0", "wyoming_port": 8799}, "wyoming_port and port are both 8799"),
    "one port for two of one machine": (
        {"port": 8799, "host": "localhost", "admin_port": 8799}, "admin_port and port are both 8799"),
    "certificate": ({"tls_cert": "none.pem", "tls_key": "none.pem"}, "tls_cert none.pem: No such file"),
    "no key of TLS": ({"tls_cert": "cert.pem"}, "tls_key is not"),
    "tickets": ({"ticket_secret_file": "short"}, "ticket_secret_file short has 5 bytes"),
    "origin": ({"allowed_origins": "example.com"}, "'example.com' is no origin"),
    "traces": ({"trace_endpoint": "nowhere"}, "trace_endpoint 'nowhere' is no address"),
    "lexicon": ({"lexicon": "lexicon"}, "lexicon lexicon, line 1:"),
    "mapping": ({"openai_voices": "nobody=one"}, "'nobody=one' is not NAME=VOICE"),
    "mapped voice": ({"openai_voices": "alloy=nobody"}, "no voice is named 'nobody'"),
    "voice": ({"voice": "nobody"}, "voice 'nobody': the model has"),
    "device": ({"device": "abacus"}, "device 'abacus' is unknown"),
    "model": ({"model": "/none"}, "/none"),
    "no workers": ({"backend": "workers"}, "needs a worker"),
    "worker": ({"backend": "workers", "worker": "http://a"}, "worker 'http://a' is no address"),
    "no application": ({"backend": "ray"}, "needs the application"),
    "application": ({"backend": "ray", "ray_address": "ws://a"}, "ray_address 'ws://a' is no address"),
    "token": ({"backend": "workers", "worker": "ws://a", "worker_token_file": "short"}, "holds 5 characters"),
}  # fmt: skip
"""Settings that `serve` refuses before it reads a model, and what it says."""
LATER: dict[str, tuple[dict[str, Any], str]] = {
    "host": ({"host": "a..b"}, "host 'a..b' cannot be resolved"),
    "operator's host": (
        {"admin_port": 0, "admin_host": "a..b", "api_keys_file": "good.toml"},
        "admin_host 'a..b'",
    ),
    "phones": ({"lexicon": "phones"}, "lexicon phones, line 1: /XX YY/ are"),
    "a broken voice": ({"voices_directory": "voices"}, "bad.npz cannot be read"),
    "no directory": ({"voices_directory": "missing"}, "there is no such directory"),
}
"""What it would refuse only when its port is open, or the model's files are read."""


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory with a model, and files that are wrong."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    save_speaking_model(tmp_path / "model")
    write_certificate(tmp_path)
    (tmp_path / "voices").mkdir()
    for name, content in {
        "keys.toml": "[alice]\nshare = 0\n[bob]\n", "keys": "two words", "short": "12345", "lexicon": "x\ny\n",
        "phones": "gif = /XX YY/\n", "voices/bad.npz": "no voice", "voices/worse.npz": "none either",
        "good.toml": f'[chief]\nhash = "sha256:{"0" * 64}"\nscopes = ["admin", "metrics"]\n',
    }.items():  # fmt: skip
        (tmp_path / name).write_text(content)


def mistakes(**flags: Any) -> list[str]:
    return find_mistakes(load_config(None, {}, {"model": "model", "device": "cpu", **flags}))


def test_right_settings_have_no_mistake() -> None:
    """Those of a server with keys, an operator's port at the same number of another host, and a directory of voices."""
    Path("voices/bad.npz").unlink()
    Path("voices/worse.npz").unlink()
    options = {"api_keys_file": "good.toml", "admin_port": 8799, "admin_host": "127.0.0.2", "port": 8799}
    assert mistakes(**options, voices_directory="voices", voice="one", openai_voices="alloy=two") == []


@pytest.mark.parametrize("name", WRONG)
def test_what_serve_refuses_is_found(name: str) -> None:
    """In the same words."""
    flags, message = WRONG[name]
    found = mistakes(**flags)
    assert any(message in line for line in found), found
    with pytest.raises((StreamerError, OSError)) as refused:
        build_server(load_config(None, {}, {"model": "model", "device": "cpu", "port": 0, **flags}))
    assert set(str(refused.value).splitlines()) <= set(found)


@pytest.mark.parametrize("name", LATER)
def test_what_serve_would_refuse_later_is_found(name: str) -> None:
    """Though no port is opened and no model loaded."""
    flags, message = LATER[name]
    found = mistakes(**flags)
    assert any(message in line for line in found), found


def test_all_mistakes_are_told_at_once() -> None:
    """Each once, and all of every file."""
    found = mistakes(
        api_keys_file="keys.toml", ticket_secret_file="short", lexicon="lexicon", openai_voices="alloy=a,echo=b",
        voices_directory="voices", voice="nobody", device="abacus", trace_endpoint="x", host="a..b", tls_cert="nowhere",
    )  # fmt: skip
    for part in (
        "[alice] hash", "[alice] share", "[bob] hash", "ticket_secret_file", "lexicon, line 1", "lexicon, line 2",
        "named 'a'", "named 'b'", "bad.npz", "worse.npz", "voice 'nobody'", "abacus", "trace_endpoint", "'a..b'",
        "tls_key is not",
    ):  # fmt: skip
        assert len([line for line in found if part in line]) == 1, (part, found)
    assert len(found) == 15
