"""The options of a front end and its workers: addresses and the shared secret."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from streamer.commands.flags import add_options, read_settings
from streamer.errors import ConfigError
from streamer.worker_config import WorkersConfig, read_ray_address, read_token, read_worker_addresses


def test_the_flag_may_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gives a worker, or several with commas; the environment's are one list."""
    parser = argparse.ArgumentParser()
    add_options(parser, ("worker", "backend", "allowed_origins"))
    given = ["--worker", "ws://a:1", "--worker", "ws://b:2,wss://c/x", "--backend", "workers"]
    config = read_settings(parser.parse_args(given))
    assert config.workers.worker == ("ws://a:1", "ws://b:2", "wss://c/x")
    assert config.engine.backend == "workers"
    monkeypatch.setenv("STREAMER_WORKER", "ws://d:4, ws://e:5")
    assert read_settings(parser.parse_args([])).workers.worker == ("ws://d:4", "ws://e:5")


def test_addresses_are_websockets() -> None:
    """What cannot be connected to is named at the start, and so is a front end without a worker."""
    good = ("ws://10.0.0.1:8766", "wss://worker.example.com/path", "ws://[::1]:8766", "ws://host")
    assert read_worker_addresses(WorkersConfig(worker=good)) == good
    for bad in (
        "http://a:1",
        "10.0.0.1:8766",
        "ws://",
        "ws://:8766",
        "ws://a:x",
        "ws://a:99999",
        "ws://u:p@a:1",
    ):
        with pytest.raises(ConfigError, match="is no address: write ws://HOST:PORT") as refused:
            read_worker_addresses(WorkersConfig(worker=(good[0], bad)))
        assert repr(bad) in refused.value.message and refused.value.param == "worker"
    with pytest.raises(ConfigError, match="needs a worker"):
        read_worker_addresses(WorkersConfig())


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8000", "https://ray.example.com/next", "http://[::1]:8000/", "http://head"]
)
def test_the_application_is_found_over_http(address: str) -> None:
    """At a proxy of Ray Serve, below the prefix of its route."""
    assert read_ray_address(WorkersConfig(ray_address=address)) == address


@pytest.mark.parametrize(
    "address",
    [
        "ray://head:10001",
        "head:6379",
        "auto",
        "http://",
        "http://:8000",
        "http://h:0",
        "http://h:x",
        "http://u@h",
        "http://h/?a=b",
        "http://h#a",
    ],
)
def test_what_is_no_address_of_an_application_is_named(address: str) -> None:
    """Above all Ray's own addresses, which speak other protocols."""
    with pytest.raises(ConfigError, match="is no address: write http://HOST:8000") as refused:
        read_ray_address(WorkersConfig(ray_address=address))
    assert repr(address) in refused.value.message and refused.value.param == "ray_address"


def test_the_backend_needs_its_application() -> None:
    """A front end is not started without an address."""
    with pytest.raises(ConfigError, match="--ray-address http://HOST:8000") as refused:
        read_ray_address(WorkersConfig())
    assert refused.value.param == "ray_address"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (None, "No such file"),
        (b"", "holds 0 characters; write 16 to 4096"),
        (b"  \n", "holds 0 characters"),
        (b"short", "holds 5 characters"),
        (b"x" * 4097, "holds 4097 characters"),
        (b"\xff" * 20, "is not UTF-8"),
    ],
)
def test_a_secret_that_is_none_is_refused(tmp_path: Path, data: bytes | None, problem: str) -> None:
    """The message names the option, the file and what to write; it never shows the secret."""
    path = tmp_path / "token"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ConfigError, match=problem) as refused:
        read_token(WorkersConfig(worker_token_file=path))
    assert str(path) in refused.value.message and "xxx" not in refused.value.message


def test_a_secret_is_read_without_the_ends_of_its_line(tmp_path: Path) -> None:
    """A file with a newline behind it, as editors write it, is the same secret."""
    path = tmp_path / "token"
    path.write_bytes(b" 0123456789abcdef\r\n")
    assert read_token(WorkersConfig(worker_token_file=path)) == "0123456789abcdef"
    assert read_token(WorkersConfig()) == ""
