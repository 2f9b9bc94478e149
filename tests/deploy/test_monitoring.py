"""Alerts and dashboard ask for what a server tells: each expression is read by a parser and held against a scrape."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from promql_parser import MatchOp

from streamer.backends.local import LocalSynthesizer
from streamer.config import EngineConfig, options
from streamer.synthesis import Health, WorkerHealth, WorkersHealth
from streamer.telemetry.metrics import Metrics
from tests.fakes.speaking_model import save_speaking_model
from tests.server.speaking import connected, serving

DEPLOY = Path(__file__).parents[2] / "deploy"
OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
RULES = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))["groups"][0][
    "rules"
]
DASHBOARD = json.loads((DEPLOY / "grafana" / "streamer.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]
EACH_WORKER = "tts_remote_worker_"
"""What the series begin with that are shown to operators alone."""
OF_PROMETHEUS = {"job", "instance"}
"""Labels that the scraper adds."""
Scrape = dict[str, list[dict[str, str]]]
"""The labels of each series, by its name."""


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Scrape:
    """What a server with a real engine and a toy model tells once it has spoken."""
    body = asyncio.run(_speak_and_scrape(tmp_path_factory.mktemp("model")))
    series: Scrape = {"up": [{}]}  # Prometheus' own
    front_end = Metrics()
    lost = WorkerHealth("ws://a:1", False, "it cannot be reached", 0, None, None, 1, 0, 1, 1)
    front_end.read_health(lambda: Health(alive=True, ready=True, workers=WorkersHealth((lost,))))
    of_workers = "\n".join(
        line
        for line in front_end.render().decode().splitlines()
        if EACH_WORKER in line or "tts_workers" in line
    )
    for family in text_string_to_metric_families(f"{body}\n{of_workers}\n"):
        for sample in family.samples:
            series.setdefault(sample.name, []).append(sample.labels)
    return series


async def _speak_and_scrape(directory: Path) -> str:
    config = EngineConfig(device="cpu", dtype="float32", num_slots=2, num_threads=1)
    async with serving(LocalSynthesizer.load(save_speaking_model(directory), config)) as server:
        async with connected(server) as client:
            await client.say("speak", id="a", text="A dead fed.")
            await client.until("done")
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        # A connection is refused, so that its reason is a series.
        writer.write(b"GET /v1/stream HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n\r\n")
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        body = (await reader.read()).decode()
        writer.close()
    return body[body.index("# HELP") :]


def mistakes(expression: str, legend: str, scraped: Scrape) -> Iterator[str]:
    """Tell what an expression, or the legend of its series, asks for that is not there. `ValueError` for its syntax."""
    for variable, value in (("$__rate_interval", "5m"), ("$instance", ".*")):
        expression = expression.replace(variable, value)
    parsed = promql_parser.parse(expression)
    selectors: list[promql_parser.VectorSelector] = []
    grouped: list[str] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            selectors.append(node)
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            grouped.extend(node.modifier.labels)

    promql_parser.walk(parsed, visit)
    known = set(OF_PROMETHEUS)
    for selector in selectors:
        series = scraped.get(selector.name or "")
        if series is None:
            yield f"no metric {selector.name}"
            continue
        known.update(*series)
        for matcher in selector.matchers.matchers:
            values = {labels[matcher.name] for labels in series if matcher.name in labels}
            wanted = matcher.value.split("|") if matcher.op == MatchOp.Re else [matcher.value]
            if matcher.name not in OF_PROMETHEUS and not values.issuperset(wanted):
                yield f"{selector.name} has {matcher.name} {sorted(values)}, not {matcher.value}"
    for label in {*grouped, *re.findall(r"{{\s*(\w+)\s*}}", legend)} - known:
        yield f"no label {label}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_there_is(rule: dict[str, Any], scraped: Scrape) -> None:
    """Its metrics, labels and values exist, also those that its text quotes."""
    text = " ".join(rule["annotations"].values())
    labels = " ".join(f"{{{{ {label} }}}}" for label in re.findall(r"\$labels\.(\w+)", text))
    assert [*mistakes(rule["expr"], labels, scraped)] == []
    for name in re.findall(r"\b(?:tts|process)_\w+", text):
        assert name in scraped or f"{name}_bucket" in scraped
    assert EACH_WORKER not in rule["expr"], "a scraper that may not see where workers are would never fire it"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    """It has a severity, a summary and a runbook, whose options exist, and stands on the operators' page."""
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "runbook"} and len(rule["annotations"]["runbook"]) > 100
    named = {option.name for option in options()}
    for word in re.findall(r"\b(?:max|num|hang|drain)_\w+", rule["annotations"]["runbook"]):
        assert word in named
    assert f"`{rule['alert']}`" in OPERATIONS


@pytest.mark.parametrize(("title", "target"), TARGETS)
def test_a_panel_asks_for_what_there_is(title: str, target: dict[str, Any], scraped: Scrape) -> None:
    """Its metrics, labels and values exist, and it shows the instances that were chosen."""
    assert [*mistakes(target["expr"], target["legendFormat"], scraped)] == [], title
    selectors = re.findall(r"(?:tts|process)_\w+(\{[^}]*\})?", target["expr"])
    assert selectors and all('instance=~"$instance"' in selector for selector in selectors)


@pytest.mark.parametrize(
    "name",
    [
        "tts_log_records_dropped_total",
        "tts_tls_certificate_expiry_timestamp_seconds",
        "tts_usage_requests_total",
        "tts_usage_audio_seconds_total",
        "tts_usage_characters_total",
        "tts_errors_total",
        "tts_audio_continuity_total",
        "tts_time_to_first_audio_seconds_bucket",
    ],
)
def test_what_an_operator_must_not_miss_is_on_the_dashboard(name: str) -> None:
    """What is lost, what will end, who uses the server, and what clients hear."""
    assert any(re.search(rf"\b{name}\b", target["expr"]) for _, target in TARGETS)


@pytest.mark.parametrize(
    "name",
    [
        "tts_log_records_dropped_total",
        "tts_tls_certificate_expiry_timestamp_seconds",
        "tts_usage_audio_seconds_total",
    ],
)
def test_what_is_found_too_late_has_an_alert(name: str) -> None:
    """Nobody looks for these before something has gone wrong."""
    assert any(name in rule["expr"] for rule in RULES)


def test_the_dashboard_is_one_that_grafana_draws() -> None:
    """Panels have numbers of their own, stay in their columns, overlap nowhere, and say what they show."""
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids) and len({panel["title"] for panel in PANELS}) == len(PANELS)
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells) and max(x for x, _ in cells) < 24
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables.keys() == {"datasource", "instance"}
    assert all(panel["description"] and panel["datasource"]["uid"] == "${datasource}" for panel in PANELS)


@pytest.mark.parametrize(
    ("expression", "legend", "found"),
    [
        ("tts_no_such_metric", "", "no metric tts_no_such_metric"),
        ("rate(tts_time_to_first_audio_seconds[5m])", "", "no metric tts_time_to_first_audio_seconds"),
        ('tts_requests_total{result="ok"}', "", "tts_requests_total has result [], not ok"),
        ('tts_audio_continuity_total{playback="broken"}', "", "'interrupted'], not broken"),
        ('tts_audio_continuity_total{playback=~"continuous|x"}', "", "not continuous|x"),
        ("sum by (model) (tts_slots)", "", "no label model"),
        ("sum by (instance) (tts_slots) / sum by (stage) (tts_slots_used)", "", "no label stage"),
        ("tts_build_info", "{{revision}}", "no label revision"),
    ],
)
def test_a_mistake_is_found(expression: str, legend: str, found: str, scraped: Scrape) -> None:
    """What is not in the scrape is named."""
    assert any(found in mistake for mistake in mistakes(expression, legend, scraped))


@pytest.mark.parametrize(
    "expression", ["", "sum(", "rate(tts_slots)", "tts_slots{", "histogram_quantile(0.9)"]
)
def test_what_is_no_promql_is_refused(expression: str) -> None:
    """Types are checked as well: `rate` wants a range."""
    with pytest.raises(ValueError):
        list(mistakes(expression, "", {}))
