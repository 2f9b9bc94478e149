"""The command `streamer ray`, and the application that the declarative file names; neither starts a cluster here."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml

from streamer.commands import ray as command
from streamer.commands.cli import main
from streamer.commands.ray import application
from streamer.config import load_config, options
from streamer.errors import ConfigError
from tests.backends.workers.fleet import front_end, until
from tests.fakes.speaking_model import save_speaking_model

ROOT = Path(__file__).parents[2]
DECLARED = yaml.safe_load((ROOT / "deploy" / "ray" / "serve.yaml").read_text(encoding="utf-8"))[
    "applications"
][0]


@pytest.fixture
def _has_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are checked before Ray is imported."""
    monkeypatch.setattr(command, "find_spec", lambda _name: True)


@pytest.mark.usefixtures("_has_ray")
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num-replicas", "0"], "--num-replicas 0: use 1 to 64"),
        (["--num-replicas", "65"], "--num-replicas 65: use 1 to 64"),
        (["--num-replicas", "two"], "invalid int value: 'two'"),
        (["--gpus-per-replica", "-1"], "--gpus-per-replica -1.0: use 0 to 64"),
        (["--gpus-per-replica", "nan"], "--gpus-per-replica nan: use 0 to 64"),
        (["--ray-port", "0"], "--ray-port 0: use 1 to 65535"),
        (["--ray-port", "65536"], "--ray-port 65536: use 1 to 65535"),
        (["--num-slots", "0"], "'0' is not from 1 to 1024"),
        (["--worker-token-file", "/does/not/exist"], "worker_token_file /does/not/exist: No such file"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is found before Ray is started."""
    with pytest.raises(SystemExit) as ended:
        main(["ray", *flags])
    assert ended.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0]


def test_without_the_package_it_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the command that installs it."""
    monkeypatch.setattr(command, "find_spec", lambda _name: None)
    with pytest.raises(SystemExit) as ended:
        main(["ray"])
    assert ended.value.code == 2
    assert "pip install 'bark-streamer[ray]'" in capsys.readouterr().err


@pytest.mark.usefixtures("_has_ray")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modle": "x"}, "no such option; did you mean model?"),
        ({"num_slots": 0}, "0 is not from 1 to 1024"),
        ({"num_slots": "many"}, "'many' is not a whole number"),
        ({"worker_token_file": "/does/not/exist"}, "No such file"),
        ({"worker_host": "0.0.0.0"}, "leave it out for the address of each node"),
        ({"worker_host": "::"}, "leave it out for the address of each node"),
    ],
)
def test_what_the_file_sets_wrongly_is_told_when_it_is_deployed(
    settings: dict[str, object], message: str
) -> None:
    """In one line, which `serve status` shows."""
    with pytest.raises(ConfigError) as refused:
        application(settings)
    assert message in refused.value.message


def test_the_declarative_file_sets_what_there_is() -> None:
    """Its arguments are options with values that are allowed, and its time to stop is longer than a worker's."""
    assert set(DECLARED["args"]) <= {option.name for option in options()}
    config = load_config(flags=DECLARED["args"])
    module, name = DECLARED["import_path"].split(":")
    assert (module, name) == (application.__module__, application.__name__)
    engine, directory = DECLARED["deployments"]
    assert (engine["name"], directory["name"]) == ("Engine", "Directory")
    assert engine["graceful_shutdown_timeout_s"] > config.limits.drain_timeout_s + 20


async def test_a_replica_serves_with_the_settings_it_was_given(tmp_path: Path) -> None:
    """On the address of its node, or the one it was told, with the model and the secret of its files."""
    token = tmp_path / "token"
    token.write_text("0123456789abcdef")
    settings = {
        "model": str(save_speaking_model(tmp_path / "model")),
        "worker_token_file": str(token),
        "device": "cpu",
        "dtype": "float32",
        "num_threads": 1,
    }
    assert command._read_token(settings) == "0123456789abcdef"
    server = command._open_server(settings, "127.0.0.1")
    await server.start()
    running = asyncio.create_task(server.run_until_stopped())
    try:
        async with front_end(
            server.address, version=server.worker.version, token="0123456789abcdef"
        ) as front:
            await until(lambda: front.health().ready)
    finally:
        server.stop()
        await running


def test_the_command_gives_replicas_what_a_file_would_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values of every source, which the environment of a replica does not change, and paths that hold elsewhere."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token").write_text("0123456789abcdef")
    monkeypatch.setenv("STREAMER_NUM_SLOTS", "3")
    config = load_config(flags={"worker_token_file": "token", "model": "suno/bark", "max_load": "none"})
    settings = command._settings_of(config)
    assert settings["worker_token_file"] == str(tmp_path / "token")
    assert (settings["model"], settings["num_slots"]) == ("suno/bark", 3)
    assert settings["max_load"] == "none" and "port" not in settings
    monkeypatch.setenv("STREAMER_MAX_LOAD", "0.5")
    again = load_config(flags=settings)
    assert (again.engine.num_slots, again.engine.max_load) == (3, None)
    assert again.workers.worker_token_file == tmp_path / "token"
