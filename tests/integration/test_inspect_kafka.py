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


def dealing(lead: str, how: str, amount: int) -> list[dict[str, Any]]:
    """A deal of the lead, opened and closed within an hour."""

    def event(type_: str, after: int, payload: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": type_, "occurred_at": MONDAY + after, "source_system": "crm",
            "source_event_id": f"{type_}/{lead}", "subject": {"deal_id": f"deal-of-{lead}"}, "payload": payload,
        }  # fmt: skip

    money = {"amount": amount, "currency": "EUR"}
    return [
        event("opened", 2 * HOUR, {"leads": [{"lead_id": lead}], "pipeline": "new", "stage": "s", **money}),
        event(how, 3 * HOUR, money if how == "won" else {"reason_code": "price"}),
    ]


EVENTS = [OWNER, *raising("lead-1"), *raising("lead-2"), *raising("lead-3")]
CLOSED = [
    *(e for n in (4, 5, 6) for e in raising(f"lead-{n}")),
    *dealing("lead-4", "won", 100_000), *dealing("lead-5", "won", 200_000), *dealing("lead-6", "lost", 1),
]  # fmt: skip
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

    def invoke(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(build(), list(arguments), env=env | {"COLUMNS": "250"})
        assert result.exit_code == code, (result.output, result.exception)
        return result

    invoke("topics", "create")
    (tmp_path / "reference.ndjson").write_text(json.dumps(OWNER) + "\n", encoding="utf-8")
    invoke("publish", "reference.ndjson")
    stored(settings, tmp_path / "e.ndjson", EVENTS, "2026-11-16T10:00:00Z")
    return invoke


def stored(settings: Settings, file: Path, events: list[dict[str, Any]], as_of: str) -> None:
    """Rows of a worker that has read these events, in the changelog."""
    file.write_text("".join(json.dumps(e) + "\n" for e in events), encoding="utf-8")
    done = replayed(settings, str(file), as_of=as_of, quiet=True)
    with Publisher(settings) as publisher:

        def store(key: bytes, version: int, row: bytes) -> None:
            value = version.to_bytes(8, "big") + row
            publisher.send(Message(settings.changelog, key, value, (), partition_of(key[2:], PARTITIONS)))

        for key, row in done.rows():
            store(key, 7, row)
            store(key, 6, b"what a zombie wrote later, and too late")


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


def test_the_queue_is_that_of_the_file(cli: Cli) -> None:
    from_kafka = json.loads(cli("queue", *AS_OF, "--json").stdout)
    assert from_kafka == json.loads(cli("queue", *AS_OF, "--file", "e.ndjson", "--json").stdout)
    assert {h["lead_id"] for h in from_kafka["queue"]} == {"lead-1", "lead-2", "lead-3"}
    assert from_kafka["ordered_by"] == "deadline and score"
    assert "there are sales" in cli("queue", "--team", "sails", code=2).stderr


def test_a_win_model_is_published_once_a_day_and_orders_the_queue(
    cli: Cli, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(settings, tmp_path / "closed.ndjson", CLOSED, "2026-11-16T13:00:00Z")
    assert "no win model is in force" in cli("win-model", "show", code=1).stderr
    assert "note  win model: none is published" in cli("doctor").stdout
    monkeypatch.setenv("LEADSTREAM_CLOCK", "fixed:2026-11-17T08:00:00Z")
    assert "2 won and 1 lost" in cli("win-model", "publish").stderr
    assert "published already" in cli("win-model", "publish").stderr
    monkeypatch.setenv("LEADSTREAM_CLOCK", "fixed:2026-11-17T20:00:00Z")
    assert "published already" in cli("win-model", "publish").stderr
    (one,) = json.loads(cli("reference", "show", "--type", "win_model_published", "--json").stdout)
    assert one["source_event_id"] == "win-model/2026-11-17"
    shown = json.loads(cli("win-model", "show", "--json").stdout)
    assert shown["as_of"] == "2026-11-17T00:00:00Z"
    assert shown["since"] == "2026-11-17T08:00:00Z"
    assert shown["counts"]["features"]["hand_raise"] == {"yes": [2, 1]}
    assert shown["counts"]["median_won_minor"] == 150_000
    assert "median amount won" in cli("win-model", "show").stdout
    (told,) = [f for f in json.loads(cli("doctor", "--json").stdout) if f["check"] == "win model"]
    assert (told["status"], told["what"]) == ("ok", "as of 2026-11-17T00:00:00Z")
    monkeypatch.setenv("LEADSTREAM_CLOCK", "fixed:2026-11-27T20:00:00Z")
    (told,) = [f for f in json.loads(cli("doctor", "--json").stdout) if f["check"] == "win model"]
    assert (told["status"], told["what"][:33]) == ("note", "the newest is of 2026-11-17T00:00")
    monkeypatch.setenv("LEADSTREAM_CLOCK", "fixed:2026-11-17T20:00:00Z")
    # Who is handed over on that day has a priority, and comes before those of Monday, who have none.
    fresh = [e | {"occurred_at": e["occurred_at"] + 24 * HOUR} for e in raising("lead-7")]
    stored(settings, tmp_path / "fresh.ndjson", [OWNER, *fresh], "2026-11-17T10:00:00Z")
    told = json.loads(cli("queue", "--json", "--limit", "1").stdout)
    assert (told["ordered_by"], told["with_priority"]) == ("priority", 1)
    assert told["queue"][0]["lead_id"] == "lead-7"
    assert told["queue"][0]["expected_minor"] == 150_000
    # The day after that counts anew.
    monkeypatch.setenv("LEADSTREAM_CLOCK", "fixed:2026-11-18T00:00:00Z")
    assert "published the win model of 2026-11-18" in cli("win-model", "publish").stderr
    kept = json.loads(cli("reference", "show", "--type", "win_model_published", "--json").stdout)
    assert len(kept) == 2


def test_mistakes(cli: Cli) -> None:
    assert "no lead 'lead-9'" in cli("show", "lead-9", code=1).stderr
    assert "--file" in cli("show", "lead-1", "--definition", "olist", code=2).stderr
