"""Late facts after a month was closed, on a real Kafka: said once, whoever dies meanwhile, and shown to people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streams.local_kafka import LocalKafka
from tests.eventually import eventually
from tests.integration.pipeline import Pipeline
from tests.integration.traffic import iso
from tests.strategies import at

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]

NOW = at(50)  # 20 April 2026: March is closed
LEADS = 60


def born(n: int) -> dict[str, Any]:
    return {
        "type": "created",
        "occurred_at": at(3, n % 24),
        "source_system": "crm",
        "source_event_id": f"e-{n}",
        "subject": {"lead_id": f"lead-{n}"},
        "payload": {"source": "event", "generated_by": "marketing"},
    }


def test_case_09_a_late_fact_is_restated_once_although_workers_are_killed(
    kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    """Promise: a subscriber who reads nothing but `funnel.restatements.v1` keeps the leads of a closed month exact, with
    workers that die by kill -9 while late facts arrive."""
    clock = f"fixed:{iso(NOW)}"
    with Pipeline(kafka.bootstrap, prefix, tmp_path, 2, clock=clock, session_timeout_s="5") as pipeline:
        pipeline.create("CreateTime")
        pipeline.start("w0")
        pipeline.wait_ready("w0")
        pipeline.publish(born(0), at_ms=NOW)
        eventually(lambda: pipeline.outputs("restatements"), 30, "the first restatement is there")
        for n in range(1, LEADS):
            pipeline.publish(born(n), at_ms=NOW)
            if n % 20 == 10:
                pipeline.workers.pop(f"w{n // 20}").kill()
                pipeline.start(f"w{n // 20 + 1}")
        pipeline.wait_settled(90)
        heard = pipeline.heard()  # it would have noticed a gap
        assert heard.repeated == 0
        found = pipeline.outputs("restatements", figure="leads")
        assert sorted(x["lead_id"] for x in found) == sorted(f"lead-{n}" for n in range(LEADS))
        assert {(x["period"], x["old"], x["new"]) for x in found} == {("2026-03", 0, 1)}
        assert {x["cause"].split(":")[1] for x in found} == {"created"}
        (leads,) = (v["value"] for v in pipeline.figures("--period", "2026-03", "--figure", "leads"))
        assert leads == sum(x["new"] - x["old"] for x in found) == LEADS
        shown = json.loads(pipeline.cli("restatements", "--figure", "leads", "--lead", "lead-7", "--json"))
        assert [(x["period"], x["old"], x["new"], x["by"]) for x in shown] == [
            ("2026-03", 0, 1, "lead/lead-7")
        ]
        (total,) = json.loads(pipeline.cli("restatements", "--sum", "--figure", "leads", "--json"))
        assert (total["change"], total["restatements"]) == (LEADS, LEADS)
        table = pipeline.cli("restatements", "--period", "2026-03", "--figure", "leads", "-n", "3")
        assert "series marketing, source event" in table
        assert pipeline.cli("restatements", "--since", iso(NOW), "--json").strip() == "[]"
        assert pipeline.cli("restatements", "--figure", "speed", code=2) == ""
