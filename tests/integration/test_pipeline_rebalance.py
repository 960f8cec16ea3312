"""Workers come and go while traffic flows; they stop when they are told to."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.local_kafka import LocalKafka
from streams.past import UNREAD
from tests.eventually import eventually
from tests.integration.oracle import prove
from tests.integration.pipeline import SAID, Pipeline
from tests.integration.traffic import Publishing, iso, simulated

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def test_workers_that_join_and_leave_amid_traffic_change_nothing(
    kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    """Promise: partitions move between live workers without loss, repetition or a crash, poison records included; and
    SIGTERM ends a busy worker with exit code 0 within 5 s, and its probe says so in time."""
    records = simulated(5, 12_000)
    clock = f"fixed:{iso((records[-1].at_ms or 0) + 3_600_000)}"
    with Pipeline(kafka.bootstrap, prefix, tmp_path, 4, clock=clock) as pipeline:
        pipeline.create("CreateTime")
        pipeline.append(r for r in records if r.field == "reference")
        first = pipeline.start("first")
        pipeline.wait_ready()
        stops = []
        with Publishing(pipeline.append, [r for r in records if r.field != "reference"], 600) as traffic:
            total = len(records)
            eventually(lambda: traffic.sent > total * 0.1, what="traffic flows")
            second = pipeline.start("second")
            pipeline.wait_ready("first", "second")
            assert (first.get("/livez")[0], first.get("/readyz")[0]) == (200, 200)
            assert len(first.partitions()) == len(second.partitions()) == 2
            behind = traffic.sent
            eventually(lambda: traffic.sent > behind + 200, what="both are busy")
            stops.append(pipeline.workers.pop("second").stop())
            pipeline.wait_ready("first")
            third = pipeline.start("third")
            pipeline.wait_ready("first", "third")
            stops.append(pipeline.workers.pop("first").stop())
            assert traffic.sent < total, "they have moved amid traffic"
        pipeline.wait_ready("third")
        pipeline.wait_settled(revive=False)
        assert third.alive
        assert pipeline.crashed == []
        prove(pipeline, 300)
        assert {letter.code for letter in pipeline.letters()} >= {"bad_json", "unknown_schema_id"}
        stops.append(third.stop())
        assert all(code == 0 and seconds < 5 for code, seconds in stops), stops
        assert third.get("/readyz")[0] == 0


def test_who_takes_over_amid_the_past_knows_that_it_is_not_read(
    kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    """Promise: however little of the past is left when workers come and go, nobody speaks before it is read."""
    records = simulated(5, 8_000)
    clock = f"fixed:{iso((records[-1].at_ms or 0) + 3_600_000)}"
    with Pipeline(kafka.bootstrap, prefix, tmp_path, 4, clock=clock) as pipeline:
        pipeline.create("CreateTime")
        pipeline.append(records)
        pipeline.start("first")
        eventually(lambda: 0 < pipeline.lag() < 6_000, what="it reads")
        pipeline.workers.pop("first").kill()
        assert pipeline.lag() > 0
        assert UNREAD in pipeline.notes()
        assert pipeline.records(*SAID) == []
        pipeline.start("second")
        pipeline.wait_settled(revive=False)
        assert pipeline.records("handoffs") != []
        eventually(lambda: pipeline.notes() == {""}, what="whoever comes next need not wait")
