"""show, explain and handoffs read what the changelog holds, committed, on a real Kafka.

The rows are those of a replay, so no worker has to run: what is shown from Kafka must be what is shown from the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from streams.cli import build
from streams.cli.replay import replayed
from streams.kafka_tools import Publisher, partition_of
from streams.local_kafka import LocalKafka
from streams.settings import Settings, load
from streams.work import Message

pytestmark = pytest.mark.integration

MONDAY, HOUR, PARTITIONS = 1_794_819_600_000, 3_600_000, 4
AS_OF = ("--as-of", "2026-11-16T16:00:00Z")
OWNER = {
    "type": "owner_changed", "occurred_at": MONDAY - 24 * HOUR, "source_system": "admin",
    "payload": {"owner": "owner-1", "team": "sales", "active": True, "time_zone": "Europe/Vienna"},
}  # fmt: skip


def raising(lead: str) -> list[dict[str, Any]]:
    def event(type_: str, after: int, payload: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": type_, "occurred_at": MONDAY + after, "source_system": "test",
            "source_event_id": f"{type_}/{lead}", "subject": {"lead_id": lead}, "payload": payload,
        }  # fmt: skip

    return [
        event("created", 0, {"source": "email", "generated_by": "marketing"}),
        event("attributes_changed", 0, {"fields": {"role": "director", "company_size": 50}}),
        event("form_submitted", HOUR, {"form_id": "demo", "intent": "hand_raise"}),
    ]


EVENTS = [OWNER, *raising("lead-1"), *raising("lead-2"), *raising("lead-3")]
Cli = Callable[..., Result]


@pytest.fixture
def env(kafka: LocalKafka, prefix: str) -> dict[str, str]:
    return {
        "LEADSTREAM_BOOTSTRAP": kafka.bootstrap,
        "LEADSTREAM_TOPIC_PREFIX": prefix,
        "LEADSTREAM_APP_ID": prefix + "app",
        "LEADSTREAM_PARTITIONS": str(PARTITIONS),
    }


@pytest.fixture
def settings(env: dict[str, str]) -> Settings:
    return load(None, env)


@pytest.fixture
def cli(env: dict[str, str], settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The declared topics, the reference data, and the rows of a worker that has read the events."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "e.ndjson"
    file.write_text("".join(json.dumps(e) + "\n" for e in EVENTS), encoding="utf-8")

    def invoke(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(build(), list(arguments), env=env | {"COLUMNS": "250"})
        assert result.exit_code == code, (result.output, result.exception)
        return result

    invoke("topics", "create")
    (tmp_path / "reference.ndjson").write_text(json.dumps(OWNER) + "\n", encoding="utf-8")
    invoke("publish", "reference.ndjson")
    done = replayed(settings, str(file), as_of="2026-11-16T10:00:00Z", quiet=True)
    with Publisher(settings) as publisher:

        def store(key: bytes, version: int, row: bytes) -> None:
            value = version.to_bytes(8, "big") + row
            publisher.send(Message(settings.changelog, key, value, (), partition_of(key[2:], PARTITIONS)))

        for key, row in done.rows():
            store(key, 7, row)
            store(key, 6, b"what a zombie wrote later, and too late")
    return invoke


def test_what_kafka_holds_is_what_the_file_says(cli: Cli) -> None:
    for command in (("show", "lead-1"), ("explain", "lead-2"), ("handoffs", "list", "--open")):
        from_kafka = json.loads(cli(*command, *AS_OF, "--json").stdout)
        from_file = json.loads(cli(*command, *AS_OF, "--file", "e.ndjson", "--json").stdout)
        assert from_kafka == from_file
        assert from_kafka


def test_places_are_topic_partition_and_offset(cli: Cli, settings: Settings) -> None:
    text = cli("explain", "lead-1", *AS_OF, "--zone", "Europe/Vienna").stdout
    partition = partition_of(b"lead-1", PARTITIONS)
    assert f"{settings.topics.engagement} {partition} @ 4" in text
    assert "as of Mon 2026-11-16 17:00 CET" in text


def test_overdue_without_any_worker(cli: Cli) -> None:
    result = cli("handoffs", "list", "--open", "--owner", "owner-1", *AS_OF)
    assert result.stdout.count("OVERDUE") == 3
    assert "3 handoffs, 3 open, 3 overdue" in result.stderr


def test_the_figures_are_those_of_the_replay(cli: Cli) -> None:
    from_kafka = json.loads(cli("figures", *AS_OF, "--json").stdout)
    from_file = json.loads(cli("replay", "e.ndjson", *AS_OF, "--json").stdout)
    assert from_kafka["figures"] == from_file["figures"]


def test_mistakes(cli: Cli) -> None:
    assert "no lead 'lead-9'" in cli("show", "lead-9", code=1).stderr
    assert "--file" in cli("show", "lead-1", "--definition", "olist", code=2).stderr
