"""The deploy files are valid and speak of settings and metrics that exist. No docker needed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from streams import settings

PROJECT = Path(__file__).resolve().parents[2]
DEPLOY = PROJECT / "deploy"
BIN = Path(sys.executable).parent
COMPOSE = DEPLOY / "compose.yaml"
DOCKERFILE = DEPLOY / "Dockerfile"
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


def test_rules_speak_of_metrics_that_are_exported() -> None:
    exporters = (PROJECT / "streams").rglob("*.py")
    exported = " ".join(p.read_text(encoding="utf-8") for p in exporters)
    expressions = [
        r["expr"] for g in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for r in g["rules"]
    ]
    for found in sorted({n for e in expressions for n in re.findall(r"\bleadstream_\w+", e)}):
        name = found.removesuffix("_total")
        # prometheus_client may be given the name with or without the namespace
        assert name in exported or name.removeprefix("leadstream_") in exported, f"nobody exports {name}"
