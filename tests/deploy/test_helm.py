"""The Helm chart: rendered by Helm's own library and held against Kubernetes' schemas and our own settings."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from streamer.commands.cli import _parser
from streamer.commands.flags import read_settings
from streamer.config import Config, WorkersConfig, options
from streamer.synthesis import EngineStats, Health
from streamer.telemetry.worker_metrics import WorkerFigures, WorkerMetrics

helm = pytest.importorskip("helm_python")
kubernetes_validate = pytest.importorskip("kubernetes_validate")

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "streamer"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
DOCKERFILE = (CHART.parents[2] / "Dockerfile").read_text(encoding="utf-8")
EVERYTHING: dict[str, Any] = {
    "image": {"pullSecrets": [{"name": "registry"}]},
    "secrets": {"tickets": {"name": "tickets"}},
    "front": {"options": {"lead_ms": 3000}, "nodeSelector": {"a": "b"}, "tolerations": [{"key": "c"}]},
    "worker": {
        "device": "cuda",
        "autoscaling": {"enabled": True, "minReplicas": 3, "maxReplicas": 5},
        "options": {"max_load": 1.1, "dtype": "bfloat16"},
        "model": {"name": "suno/bark", "storageClass": "fast"},
        "resources": {"limits": {"nvidia.com/gpu": 1}},
        "nodeSelector": {"gpu": "h100"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
    },
    "service": {"annotations": {"note": "x"}},
    "ingress": {"enabled": True, "host": "speech.example.com", "tlsSecret": "speech-tls"},
    "networkPolicy": {"clients": {"name": "ingress"}, "egress": [{"ports": [{"port": 4318}]}]},
    "monitoring": {
        "serviceMonitor": True,
        "alerts": True,
        "dashboard": True,
        "labels": {"release": "prometheus"},
    },
}
FIXED: dict[str, Any] = {
    "front": {"replicas": 3, "autoscaling": {"enabled": False}},
    "networkPolicy": {"enabled": False},
    "service": {"type": "LoadBalancer", "port": 443},
}
VARIANTS = {"defaults": {}, "everything": EVERYTHING, "fixed": FIXED}
OF_OPERATORS = ("ScaledObject", "ServiceMonitor", "PrometheusRule")
"""Kinds that Kubernetes' own schemas do not have."""
KUBERNETES = ("1.27", kubernetes_validate.latest_version())
Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def chart() -> Iterator[Any]:
    with helm.Chart.load(str(CHART)) as loaded:
        yield loaded


def render(chart: Any, values: Mapping[str, Any]) -> list[Manifest]:
    """The manifests that Helm makes for these values."""
    texts = chart.render(dict(values), name="voice", namespace="speech")
    documents = [yaml.safe_load_all(text) for name, text in texts.items() if name.endswith(".yaml")]
    return [document for document in itertools.chain.from_iterable(documents) if document]


def named(manifests: list[Manifest], kind: str, name: str = "") -> Manifest:
    """The only manifest of this kind whose name ends so."""
    (found,) = (
        manifest
        for manifest in manifests
        if manifest["kind"] == kind and manifest["metadata"]["name"].endswith(name)
    )
    return found


def pod_of(manifest: Manifest) -> dict[str, Any]:
    return manifest["spec"]["template"]["spec"]


def pods(manifests: list[Manifest]) -> list[tuple[Manifest, dict[str, Any]]]:
    front, worker = named(manifests, "Deployment"), named(manifests, "StatefulSet")
    return [(front, pod_of(front)), (worker, pod_of(worker))]


def settings(pod: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Config:
    """The settings of a pod's container, as our own command reads them from its arguments and variables."""
    (container,) = pod["containers"]
    for variable in container["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    return read_settings(_parser().parse_args(container["args"]))


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_helm_finds_nothing_wrong(values: dict[str, Any]) -> None:
    """`helm lint` has no complaint beyond the picture that a chart may have."""
    messages = helm.lint(str(CHART), values, strict=True, namespace="speech")["messages"]
    assert [message["error"] for message in messages] in ([], ["icon is recommended"])


@pytest.mark.parametrize("kubernetes", KUBERNETES)
@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_kubernetes_takes_it(chart: Any, values: dict[str, Any], kubernetes: str) -> None:
    """Each object is what the schemas allow, from the oldest version that the chart names to the newest."""
    assert f">={KUBERNETES[0]}.0" in chart.metadata["kubeVersion"]
    manifests = render(chart, values)
    for manifest in manifests:
        if manifest["kind"] not in OF_OPERATORS:
            kubernetes_validate.validate(manifest, kubernetes, strict=True)
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]
    assert len(set(names)) == len(names)


def test_a_mistake_would_be_found(chart: Any) -> None:
    """The schemas refuse a field that there is not."""
    manifest = named(render(chart, {}), "Deployment")
    pod_of(manifest)["restartPolice"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, KUBERNETES[1], strict=True)


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_our_own_command_understands_each_pod(
    chart: Any, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables are options with allowed values, ports are those that are listened on, and a stop may take its time."""
    (_, front), (_, worker) = pods(render(chart, values))
    config = settings(front, monkeypatch)
    ports = {port["name"]: port["containerPort"] for port in front["containers"][0]["ports"]}
    assert ports == {"speech": config.server.port, "figures": config.server.admin_port}
    assert config.engine.backend == "workers" and config.server.host == config.server.admin_host == "0.0.0.0"
    assert front["terminationGracePeriodSeconds"] >= config.limits.drain_timeout_s + 5 + 10
    told = settings(worker, monkeypatch)
    ports = {port["name"]: port["containerPort"] for port in worker["containers"][0]["ports"]}
    assert ports == {"sentences": told.workers.worker_port, "figures": told.workers.worker_metrics_port}
    assert told.workers.worker_host == "0.0.0.0" and told.workers.worker_port == WorkersConfig().worker_port
    assert worker["terminationGracePeriodSeconds"] >= told.limits.drain_timeout_s + 10
    if values is EVERYTHING:
        assert (config.speech.lead_ms, told.engine.max_load, told.engine.dtype) == (3000, 1.1, "bfloat16")
        assert str(told.engine.model) == "suno/bark"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2000, "2000"),
        (1_000_000, "1000000"),
        (1.25, "1.25"),
        ("early", "early"),
        (True, "true"),
        ("a, b", "a, b"),
    ],
)
def test_an_option_arrives_as_it_was_written(chart: Any, value: object, text: str) -> None:
    """Helm reads numbers as floats, and would write a million as 1e+06."""
    pod = pod_of(named(render(chart, {"worker": {"options": {"anything": value}}}), "StatefulSet"))
    assert {"name": "STREAMER_ANYTHING", "value": text} in pod["containers"][0]["env"]


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_the_front_end_lists_every_worker_that_there_may_be(
    chart: Any, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the names that the headless service gives to the pods of the set, found also while they are not ready."""
    manifests = render(chart, values)
    (_, front), (workers, _) = pods(manifests)
    service = named(manifests, "Service", "-worker")
    number = 5 if values is EVERYTHING else VALUES["worker"]["replicas"]
    name = workers["metadata"]["name"]
    assert workers["spec"]["serviceName"] == service["metadata"]["name"]
    assert settings(front, monkeypatch).workers.worker == tuple(
        f"ws://{name}-{ordinal}.{service['metadata']['name']}.speech.svc:8766" for ordinal in range(number)
    )
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"]
    assert workers["spec"].get("replicas") == (None if values is EVERYTHING else number)


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_selectors_and_ports_meet_pods(chart: Any, values: dict[str, Any]) -> None:
    """What selects pods selects those of one part, and every named port is one of theirs."""
    manifests = render(chart, values)
    ports_of, labels_of = {}, {}
    for manifest, pod in pods(manifests):
        part = manifest["metadata"]["labels"]["app.kubernetes.io/component"]
        labels_of[part] = manifest["spec"]["template"]["metadata"]["labels"]
        ports_of[part] = {port["name"] for port in pod["containers"][0]["ports"]}
        assert manifest["spec"]["selector"]["matchLabels"].items() <= labels_of[part].items()
    for manifest in manifests:
        spec, kind = manifest.get("spec", {}), manifest["kind"]
        if kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
            selector = spec["podSelector"] if kind == "NetworkPolicy" else spec["selector"]
            wanted = selector.get("matchLabels", selector)
            (part,) = (part for part, labels in labels_of.items() if wanted.items() <= labels.items())
            assert part in manifest["metadata"]["labels"]["app.kubernetes.io/component"]
            if kind == "Service":
                assert {port["targetPort"] for port in spec["ports"]} <= ports_of[part]
        if kind in ("HorizontalPodAutoscaler", "ScaledObject"):
            target = spec["scaleTargetRef"]
            assert named(manifests, target["kind"])["metadata"]["name"] == target["name"]


def test_workers_are_reached_by_front_ends_only(chart: Any) -> None:
    """Sentences come from front ends, figures are read by monitoring, and a worker itself connects to nobody."""
    manifests = render(chart, {})
    worker = named(manifests, "NetworkPolicy", "-worker")["spec"]
    front_labels = named(manifests, "Deployment")["spec"]["selector"]["matchLabels"]
    sentences, figures = worker["ingress"]
    assert sentences["ports"] == [{"port": "sentences"}]
    assert sentences["from"] == [{"podSelector": {"matchLabels": front_labels}}]
    assert figures["ports"] == [{"port": "figures"}]
    assert figures["from"] == [{"namespaceSelector": {"matchLabels": VALUES["networkPolicy"]["monitoring"]}}]
    assert worker["policyTypes"] == ["Ingress", "Egress"]
    assert {port["port"] for rule in worker["egress"] for port in rule["ports"]} == {53}
    pulling = named(render(chart, EVERYTHING), "NetworkPolicy", "-worker")["spec"]
    assert {port["port"] for rule in pulling["egress"] for port in rule["ports"]} == {53, 443, 4318}
    front = named(manifests, "NetworkPolicy", "-front")["spec"]
    assert {str(port["port"]) for rule in front["ingress"] for port in rule["ports"]} == {"speech", "figures"}


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_a_container_can_do_no_more_than_it_has_to(chart: Any, values: dict[str, Any]) -> None:
    """It is the image's user, writes only to volumes, has no token of the cluster, and is asked whether it is well."""
    for _, pod in pods(render(chart, values)):
        security = pod["securityContext"]
        assert security["runAsNonRoot"] and f"--uid {security['runAsUser']} " in DOCKERFILE
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
        (container,) = pod["containers"]
        assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        probed = {container[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")}
        assert probed <= {port["name"] for port in container["ports"]}


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_files_that_variables_name_are_mounted(chart: Any, values: dict[str, Any]) -> None:
    """Each secret is where its option says, and every mount has its volume."""
    for manifest, pod in pods(render(chart, values)):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        claims = {claim["metadata"]["name"] for claim in manifest["spec"].get("volumeClaimTemplates", ())}
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys() | claims
            # A file that is mounted by itself stays the old one when the secret changes.
            assert not any("subPath" in mount for mount in container["volumeMounts"])
        files = {
            f"/run/secrets/streamer/{item['path']}"
            for source in volumes["secrets"]["projected"]["sources"]
            for item in source["secret"]["items"]
        }
        named_files = {
            variable["value"]
            for variable in pod["containers"][0]["env"]
            if variable["name"].endswith("_FILE")
        }
        assert named_files == files


def test_workers_are_scaled_by_figures_that_they_tell(chart: Any) -> None:
    """KEDA's query is PromQL over a worker's own metrics, with the labels that Prometheus' operator adds."""
    (trigger,) = named(render(chart, EVERYTHING), "ScaledObject")["spec"]["triggers"]
    engine = EngineStats({}, 1, 0, 0, 0, load=0.0, max_listeners=1)
    figures = WorkerFigures("1", "m", True, 0, 0, {}, 0.0)
    told = WorkerMetrics(lambda: Health(alive=True, ready=True, engine=engine), lambda: figures)
    text = told.negotiated("")[0].decode()
    asked: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            asked.append(node)

    promql_parser.walk(promql_parser.parse(trigger["metadata"]["query"]), visit)
    assert [selector.name for selector in asked] == ["tts_listeners", "tts_listeners_limit"]
    for selector in asked:
        assert f"# HELP {selector.name} " in text
        labels = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
        assert labels == {"namespace": "speech", "service": "voice-streamer-worker"}
    assert float(trigger["metadata"]["threshold"]) == VALUES["worker"]["autoscaling"]["load"]


def test_what_watches_it_is_what_the_other_deployments_have(chart: Any) -> None:
    """Alerts and dashboard are those of deploy/, and the jobs have the names that the alerts ask for."""
    manifests = render(chart, EVERYTHING)
    rules = named(manifests, "PrometheusRule")["spec"]
    assert rules == yaml.safe_load((CHART.parents[1] / "prometheus/alerts.yml").read_text(encoding="utf-8"))
    dashboard = json.loads(named(manifests, "ConfigMap")["data"]["streamer.json"])
    assert dashboard == json.loads((CHART.parents[1] / "grafana/streamer.json").read_text(encoding="utf-8"))
    for part, job in (("front", "streamer"), ("worker", "streamer-worker")):
        monitor = named(manifests, "ServiceMonitor", f"-{part}")["spec"]
        (service,) = (
            manifest
            for manifest in manifests
            if manifest["kind"] == "Service"
            and monitor["selector"]["matchLabels"].items() <= manifest["metadata"]["labels"].items()
        )
        assert service["metadata"]["labels"][monitor["jobLabel"]] == job
        (endpoint,) = monitor["endpoints"]
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
        assert ("authorization" in endpoint) == (part == "front")


def leaves(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value of the chart with the keys that lead to it."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def another(path: tuple[str, ...], value: Any) -> Any:
    """A value of the same kind that the schema allows as well."""
    if path[-1] in ("pullPolicy", "type", "device"):
        return {"pullPolicy": "Always", "type": "NodePort", "device": "cpu"}[path[-1]]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1 if value >= 1 else value / 2
    if isinstance(value, str):
        return "https://other" if value.startswith("http") else "7Gi" if path[-1] == "size" else "other"
    if isinstance(value, list):
        return [{"name": "other"}]
    return {"other": "1"}


def merged(base: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    key, *rest = path
    inner = value if not rest else merged(base.get(key, {}), tuple(rest), value)
    return {**base, key: inner}


@pytest.mark.parametrize("path", [path for path, _ in leaves(VALUES)], ids=".".join)
def test_every_value_changes_something(chart: Any, path: tuple[str, ...]) -> None:
    """No value of the chart is left over; those that count only without autoscaling are tried without."""
    base = FIXED if path[-1] == "replicas" else EVERYTHING
    effective = chart.merge_values(base)
    for key in path:
        effective = effective[key]
    changed = merged(base, path, another(path, effective))
    chart.validate_schema(changed)
    assert render(chart, changed) != render(chart, base)


@pytest.mark.parametrize(
    "values",
    [
        {"wroker": {}},
        {"front": {"replica": 2}},
        {"front": {"replicas": "2"}},
        {"front": {"drainTimeoutSeconds": -1}},
        {"worker": {"device": "tpu"}},
        {"worker": {"autoscaling": {"load": 0}}},
        {"worker": {"autoscaling": {"load": 1.5}}},
        {"worker": {"options": {"max-load": 1}}},
        {"worker": {"options": {"max_load": None}}},
        {"worker": {"model": {"size": "much"}}},
        {"secrets": {"apiKeys": {"name": ""}}},
        {"ingress": {"enabled": True}},
        {"image": {"pullPolicy": "Sometimes"}},
    ],
    ids=str,
)
def test_a_wrong_value_is_refused(chart: Any, values: dict[str, Any]) -> None:
    """The schema names it before anything is made of it."""
    with pytest.raises(helm.HelmValuesError):
        chart.validate_schema(values)


def test_it_is_of_the_packages_version(chart: Any) -> None:
    """So that its images are those that are built here."""
    assert chart.metadata["appVersion"] == chart.version == version("bark-streamer")


def test_options_in_its_values_are_ours() -> None:
    """Those that stand in values.yaml, and the example in its comment."""
    known = {option.name for option in options()}
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    for part in ("front", "worker"):
        assert VALUES[part]["options"].keys() <= known
    assert set(re.findall(r"such as `(\w+):", text)) <= known
