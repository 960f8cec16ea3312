"""The deploy files are valid and speak of settings and metrics that exist. No docker needed."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from processors.compiled import compile_definition
from processors.market import NOTHING
from processors.totals import Totals
from streams import engagement_metrics, money_metrics, settings
from streams.metrics import exposition
from tests.money_world import Shop
from tests.strategies import T0, at, default_definition

PROJECT = Path(__file__).resolve().parents[2]
DEPLOY = PROJECT / "deploy"
BIN = Path(sys.executable).parent
COMPOSE = DEPLOY / "compose.yaml"
DOCKERFILE = DEPLOY / "Dockerfile"
GRAFANA = DEPLOY / "grafana"
DASHBOARDS = GRAFANA / "dashboards"
RULES = DEPLOY / "prometheus" / "rules.yml"


def passes(*command: str | Path) -> None:
    answer = subprocess.run(command, check=False, capture_output=True, text=True, cwd=PROJECT, timeout=120)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_compose_follows_its_schema() -> None:
    passes(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)


def test_dockerfile_has_no_complaints() -> None:
    passes(BIN / "hadolint", DOCKERFILE)


def test_yaml_has_no_complaints() -> None:
    passes(BIN / "yamllint", "--strict", DEPLOY)


def test_shell_script_has_no_complaints() -> None:
    passes(BIN / "shellcheck", PROJECT / ".ci" / "run")


@pytest.mark.needs("promtool")
def test_prometheus_takes_its_configuration() -> None:
    passes("promtool", "check", "config", DEPLOY / "prometheus" / "prometheus.yml")


@pytest.mark.needs("promtool")
def test_recording_rule_survives_a_rebalance() -> None:
    passes("promtool", "test", "rules", DEPLOY / "prometheus" / "tests" / "rules_test.yml")


@pytest.mark.parametrize("path", [COMPOSE, DOCKERFILE], ids=lambda p: p.name)
def test_settings_exist_and_are_accepted(path: Path) -> None:
    pairs = re.findall(r"\b(LEADSTREAM_[A-Z_]+)[:=] *\"?([^\s\"]+)", path.read_text(encoding="utf-8"))
    assert pairs
    settings.load(None, dict(pairs))


def test_workers_are_scraped_and_stop_before_they_are_killed() -> None:
    services = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    workers = {name for name in services if name.startswith("worker-")}
    assert len(workers) == 2
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = scraped["scrape_configs"]
    assert {t.split(":")[0] for s in job["static_configs"] for t in s["targets"]} == workers
    names = {services[w]["environment"]["LEADSTREAM_INSTANCE_ID"] for w in workers}
    assert len(names) == len(workers), "static members need names of their own"


def test_image_runs_without_root_and_checks_its_health() -> None:
    final = DOCKERFILE.read_text(encoding="utf-8").rsplit("\nFROM ", 1)[1]
    assert re.search(r"^USER 10001$", final, re.MULTILINE)
    assert "/livez" in final
    assert 'ENTRYPOINT ["leadstream"]' in final


@cache
def shown() -> str:
    """``/metrics`` of a worker that has seen handoffs, deals, customers, e-mails and spend."""
    f = Shop(now=T0, partitions=2)
    f.fit()
    f.hot()
    f.say(
        "touched", at(1, 11), {"channel": "phone", "kind": "call"}, actor={"type": "human", "id": "owner-1"}
    )
    f.say("rejected", at(1, 12), {"reason_code": "no_budget"})
    f.say("objection_raised", at(1, 13), {"category": "price"})
    f.spend("search", "2026-03-01", "2026-03-31", 3100)
    f.opened(3, 1000, deal="deal-2", leads=())
    f.opened(3, 1000)
    f.won(5, 1000)
    f.won(5, 700, "USD", deal="deal-3")
    return exposition(f.topology)


def exported() -> dict[str, set[str]]:
    """Every metric of ``/metrics`` with the labels that it has been seen with."""
    found: dict[str, set[str]] = {}
    for line in shown().splitlines():
        if line.startswith("# TYPE "):
            found.setdefault(line.split()[2], set())
        elif sample := re.match(r"(\w+)(?:\{(.*)\})? ", line):
            found.setdefault(sample[1], set()).update(re.findall(r'(\w+)="', sample[2] or ""))
    transport = (PROJECT / "streams" / "transport_metrics.py").read_text(encoding="utf-8")
    for name in re.findall(r'\("(\w+)", "', transport):
        found[f"leadstream_transport_{name}"] = set()
    found["leadstream_transport_lag_records"] = {"topic", "partition"}
    return found


def panels() -> list[tuple[str, str]]:
    """Title and expression of everything that the dashboards show."""
    found = []
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            found += [(f"{path.stem}: {panel['title']}", target["expr"]) for target in panel["targets"]]
    return found


def alerts() -> list[tuple[str, str]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [(rule.get("alert", rule.get("record")), rule["expr"]) for g in groups for rule in g["rules"]]


def test_panels_and_rules_speak_of_metrics_and_labels_that_are_exported() -> None:
    known = exported()
    asked = [*panels(), *alerts()]
    assert len(asked) > 60
    for title, expr in asked:
        names = set(re.findall(r"\bleadstream_\w+", expr))
        assert names or "stage:" in expr, title
        for name in names:
            assert name in known or name.removesuffix("_total") in known, f"{title}: nobody exports {name}"
            for matched in re.findall(rf"{name}\{{([^}}]+)\}}", expr):
                labels = set(re.findall(r"(\w+)\s*[=!]", matched))
                assert labels <= known[name] or not known[name], f"{title}: {name} has no {labels}"
        sums = re.search(r"by \(([\w, ]*)\)", expr)
        labels = {label for label in (sums[1].split(", ") if sums else []) if label}
        every = set().union(*(known.get(name, set()) for name in names)) | {"le"}
        assert labels <= every or not all(known.get(name) for name in names), f"{title}: {labels - every}"


def test_every_metric_of_money_customers_engagement_and_the_win_model_is_on_a_panel() -> None:
    totals = Totals({}, compile_definition(default_definition()), T0, None, None)
    made = [
        *money_metrics.families(totals),
        *money_metrics.of_market(NOTHING, totals),
        *engagement_metrics.families(totals),
    ]
    names = {family.name for family in made} | {
        "leadstream_win_model_leads",
        "leadstream_win_model_timestamp_seconds",
    }
    asked = " ".join(expr for _, expr in panels())
    assert {name for name in names if name not in asked} == set()
    assert 'leadstream_outputs_total{record="restatement"}' in asked


def test_dashboards_are_as_they_are_built() -> None:
    spec = importlib.util.spec_from_file_location("dashboards", GRAFANA / "build.py")
    assert spec is not None
    assert spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    texts = build.texts()
    assert set(texts) == set(DASHBOARDS.glob("*.json"))
    for path, text in texts.items():
        assert path.read_text(encoding="utf-8") == text, "run python deploy/grafana/build.py"
        ids = [panel["id"] for panel in json.loads(text)["panels"]]
        assert len(set(ids)) == len(ids)


@pytest.mark.needs("promtool")
def test_prometheus_understands_what_panels_ask(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{n}", "expr": expr.replace("$model", "linear")}
        for n, (_, expr) in enumerate(panels())
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    passes("promtool", "check", "rules", path)


def test_every_alert_is_in_the_runbook() -> None:
    runbook = (PROJECT / "docs" / "runbook.md").read_text(encoding="utf-8")
    assert [name for name, _ in alerts() if name.startswith("Leadstream") and name not in runbook] == []


def test_self_checks_have_alerts() -> None:
    """DOMAIN 6: of one row, always 0; between rows, 0 whenever the inbox is drained."""
    of = dict(alerts())
    assert "leadstream_checks" in of["LeadstreamCheckFailed"]
    assert "leadstream_check_drift" in of["LeadstreamRowsDisagree"]
    text = shown()
    for metric, checks in (
        ("leadstream_checks", {"stages", "handoffs", "scores"}),
        ("leadstream_check_drift", {"credit", "aliases"}),
    ):
        assert set(re.findall(rf'^{metric}{{check="(\w+)"', text, re.MULTILINE)) == checks
