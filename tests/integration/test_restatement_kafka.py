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
        assert pipeline.cli("restatements", "--figure", "happiness", code=2) == ""


def looked(n: int) -> dict[str, Any]:
    return {
        "type": "page_viewed",
        "occurred_at": at(4),
        "source_system": "web",
        "source_event_id": f"p-{n}",
        "subject": {"lead_id": f"lead-{n}"},
        "payload": {"url": "https://example.com/", "utm": {"source": "news", "medium": "letter"}},
    }


def test_a_definition_with_other_channels_is_restated_once_although_workers_are_killed(
    kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    """Promise: what reports printed of a closed month, plus what is restated, is what they print under a new definition."""
    channels = tmp_path / "channels.toml"
    channels.write_text(
        'name = "other"\nversion = 1\n[[channels]]\nname = "letters"\nwhen = { utm_medium = "letter" }\n',
        encoding="utf-8",
    )
    clock = f"fixed:{iso(NOW)}"
    with Pipeline(kafka.bootstrap, prefix, tmp_path, 2, clock=clock, session_timeout_s="5") as pipeline:
        pipeline.create("CreateTime")
        pipeline.start("w0")
        pipeline.wait_ready("w0")
        pipeline.publish(*(born(n) for n in range(LEADS)), at_ms=NOW)
        pipeline.publish(*(looked(n) for n in range(LEADS)), at_ms=NOW)
        pipeline.wait_settled(60)
        visits = ("--period", "2026-03", "--figure", "visits", "--by", "channel")
        before = {v["labels"]["channel"]: v["value"] for v in pipeline.figures(*visits)}
        assert sum(before.values()) == LEADS
        pipeline.cli("definition", "publish", str(channels), "--unsigned")
        pipeline.workers.pop("w0").kill()
        pipeline.start("w1")
        eventually(  # two numbers in two partitions, however many leads
            lambda: len(pipeline.outputs("restatements", cause="definition", figure="visits")) == 4,
            60,
            "the definition is restated",
        )
        pipeline.wait_settled(60)
        assert pipeline.heard().repeated == 0
        found = pipeline.outputs("restatements", cause="definition", figure="visits")
        assert {x["lead_id"] for x in found} == {None}
        for x in found:
            channel = x["labels"]["channel"]
            before[channel] = before.get(channel, 0) + x["new"] - x["old"]
        after = {v["labels"]["channel"]: v["value"] for v in pipeline.figures(*visits)}
        assert after == {channel: n for channel, n in before.items() if n} == {"letters": LEADS}
