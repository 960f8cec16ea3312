"""The life of a definition on a real Kafka: proposed, approved by both teams while workers run, in force, swept; and the
flood of calls that follows from it is held until somebody has looked."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from streams.local_kafka import LocalKafka
from tests.contract import event
from tests.eventually import eventually
from tests.integration.pipeline import Pipeline

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PARTITIONS = 2
LEADS = tuple(f"lead-{n}" for n in range(10))
#: Open day and night, so that the sweep is over within a second; of each hour one call per worker goes out.
TEXT = """
name = "ours"
version = 1
[thresholds]
up = 10
down = 5
[policy]
sweep_over = "1s"
flood_min = 1
flood_factor = 1
[calendars.default.hours]
mon-sun = "00:00-24:00"
"""
FITS = {"role": "CTO", "company_size": 60, "country": "DE"}


def versions(p: Pipeline) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads(p.cli("definition", "list", "--json"))}


def test_an_approved_definition_sweeps_running_workers_and_its_flood_waits_for_a_person(
    kafka: LocalKafka, prefix: str, tmp_path: Any
) -> None:
    """Promise: a version holds from the last team's approval on, in all workers; a lead qualifies under it without any
    event of its own; and what is more than usual calls nobody until it is released."""
    file = tmp_path / "ours.toml"
    file.write_text(TEXT)
    with Pipeline(kafka.bootstrap, prefix, tmp_path, PARTITIONS) as p:
        p.create()
        for name in ("a", "b"):
            p.start(name)
        p.wait_ready("a", "b")
        t = time.time_ns() // 1_000_000 - 60_000
        for lead in LEADS:
            p.publish(
                event("created", t, lead, source="webinar", generated_by="marketing"),
                event("attributes_changed", t, lead, fields=FITS),
                event("content_downloaded", t + 1000, lead, asset_id="a"),
            )
        p.wait_settled()
        assert {o["stage"] for o in p.outputs("stage_changes")} == {"anonymous", "known", "engaged"}

        p.cli("definition", "publish", str(file), "--sweep")
        p.cli("definition", "approve", "ours@1", "--team", "marketing", "--by", "owner-1")
        assert versions(p)["ours"]["state"] == "proposed"
        assert p.outputs("handoffs") == []
        p.cli("definition", "approve", "ours@1", "--team", "sales", "--by", "owner-2")
        ours = versions(p)["ours"]
        assert (ours["state"], [x["by"] for x in ours["approvals"]]) == ("in force", ["owner-1", "owner-2"])

        def swept() -> bool:
            return {o["lead_id"] for o in p.outputs("stage_changes", stage="mql")} == set(LEADS)

        eventually(swept, 60, "every lead qualifies")
        p.wait_settled()
        made = p.outputs("handoffs", kind="made")
        assert {o["definition"] for o in made} == {"ours@1"}
        assert all(0 < o["trigger_at"] - ours["effective_at"] <= 1000 for o in made)
        held = json.loads(p.cli("flood", "list", "--json"))
        assert 1 <= len(made) <= 4  # an hour may have ended in between
        assert {o["lead_id"] for o in made} | {h["lead_id"] for h in held} == set(LEADS)
        assert len(made) + len(held) == len(LEADS)
        assert p.metric("leadstream_handoffs_held", team="sales") == len(held)

        first, second, *rest = (h["lead_id"] for h in held)
        p.cli("flood", "release", "--lead", first, "--by", "owner-1")
        p.cli("flood", "drop", "--lead", second, "--by", "owner-1")
        eventually(lambda: p.outputs("handoffs", first, kind="made"), 30, "the released one goes out")
        eventually(
            lambda: p.outputs("handoffs", second, kind="withdrawn"), 30, "the dropped one is withdrawn"
        )
        assert p.outputs("handoffs", second, kind="made") == []
        (released,) = p.outputs("handoffs", first)
        assert released["started_at"] > released["trigger_at"]
        for worker in p.workers.values():  # what is held is remembered
            worker.kill()
        p.start("c")
        p.wait_ready("c")
        assert eventually(lambda: p.metric("leadstream_handoffs_held", team="sales"), 30) == len(rest)
        p.cli("flood", "release", "--all", "--by", "owner-1")
        eventually(lambda: len(p.outputs("handoffs", kind="made")) == len(LEADS) - 1, 30, "all are called")
        assert json.loads(p.cli("flood", "list", "--json")) == []
        p.heard()


def test_flood_commands_say_what_is_missing(kafka: LocalKafka, prefix: str, tmp_path: Any) -> None:
    with Pipeline(kafka.bootstrap, prefix, tmp_path, PARTITIONS) as p:
        p.create()
        assert p.cli("flood", "list", "--json") == "[]\n"
        p.cli("flood", "release", "--by", "owner-1", code=2)  # which ones?
        p.cli("flood", "drop", "--all", "--by", "a@example.org", code=2)
        p.cli("flood", "drop", "--lead", "lead-9", "--by", "owner-1", code=2)
        p.cli("flood", "release", "--all", "--by", "owner-1")
        assert p.records("lead") == []
