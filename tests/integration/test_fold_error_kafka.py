"""A defect in the fold of one subject, in a real worker on a real Kafka (DOMAIN 8, case 51)."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.local_kafka import LocalKafka
from streams.settings import SOURCES
from tests.contract import DEFINITION, GRACE, REFERENCE, START_MS, event, fitting, hand_raise
from tests.eventually import eventually
from tests.integration.broken_worker import BROKEN, OVERDUE
from tests.integration.pipeline import Pipeline, RealWorker, Sent
from tests.integration.traffic import iso

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


class BrokenWorker(RealWorker):
    program = ("-m", "tests.integration.broken_worker")


class Mended(Pipeline):
    """Workers with the defect first."""

    worker_type = BrokenWorker


def deployment(kafka: LocalKafka, prefix: str, folder: Path, now_ms: int, **env: str) -> Mended:
    definition = folder / "contract.toml"
    definition.write_text(DEFINITION)
    return Mended(
        kafka.bootstrap, prefix, folder, 2, definition=str(definition), clock=f"fixed:{iso(now_ms)}", **env
    )  # fmt: skip


def test_case_51_a_defect_costs_one_subject_its_records_and_nobody_else(
    kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    """Promise: the records of the failing subject are dead letters with a paging metric, timers that fail are shown and
    named in the log, all others go on; after the repair the letters can be published again, and nothing was lost."""
    with deployment(kafka, prefix, tmp_path, START_MS) as pipeline:
        pipeline.create("CreateTime")
        pipeline.publish(*REFERENCE)
        worker = pipeline.start("w0")
        pipeline.wait_ready()
        good = [f"lead-{n}" for n in range(6)]
        leads = (*good, BROKEN, OVERDUE)
        known = [e for lead in leads for e in (*fitting(START_MS - 5, lead), hand_raise(START_MS - 4, lead))]
        pipeline.publish(*known, at_ms=START_MS)
        eventually(lambda: len(pipeline.outputs("handoffs", kind="made")) == 7, 30, "seven are called")
        eventually(lambda: pipeline.lag() == 0, 30, "all is read")
        letters = pipeline.letters()
        assert [(x.code, x.key) for x in letters] == [("fold_error", BROKEN.encode())] * 3
        assert all("ZeroDivisionError: a defect" in x.detail for x in letters)
        assert pipeline.metric("leadstream_fold_errors_total") >= 1
        assert {x["lead_id"] for x in pipeline.outputs("handoffs", kind="made")} == {*good, OVERDUE}
        assert f"l:{BROKEN}" not in pipeline.rows()
        worker.stop()

        # A quarter of an hour later deadlines have passed. The defect is still there.
        (made,) = pipeline.outputs("handoffs", OVERDUE, kind="made")
        later = made["first_touch_due_at"] + GRACE
        worker = pipeline.start("w1", clock=f"fixed:{iso(later)}")
        pipeline.wait_ready("w1")
        eventually(lambda: len(pipeline.outputs("sla", kind="breached")) == 6, 30, "six breaches are told")
        eventually(
            lambda: pipeline.metric("leadstream_failing_timers") == 1, 10, "the failing timer is shown"
        )
        (line,) = [x for x in worker.lines(f"timer of l:{OVERDUE}") if "due at" in x]
        assert iso(later).removesuffix("Z")[:19] in line
        assert worker.alive
        worker.stop()

        # Repaired: what the row had missed is told at its own instant, and the letters are published again.
        pipeline.worker_type = RealWorker
        pipeline.start("w2", clock=f"fixed:{iso(later)}")
        pipeline.wait_ready("w2")
        pipeline.append(
            Sent(pipeline.topics.field_of(x.place[0]) or "", x.key, x.value, START_MS) for x in letters
        )
        eventually(lambda: len(pipeline.outputs("sla", kind="breached")) == 8, 30, "nobody is missing")
        assert {x["occurred_at"] for x in pipeline.outputs("sla", kind="breached")} == {
            made["first_touch_due_at"]
        }
        assert len(pipeline.outputs("handoffs", BROKEN, kind="made")) == 1
        assert pipeline.metric("leadstream_failing_timers") == 0
        assert pipeline.heard().repeated == 0


def test_case_51_or_the_worker_stops_and_has_taken_nothing(
    kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    """Promise: with `on_fold_error = stop` the worker ends loudly before anything of the batch is acknowledged."""
    with deployment(kafka, prefix, tmp_path, START_MS, on_fold_error="stop") as pipeline:
        pipeline.create("CreateTime")
        worker = pipeline.start("w0")
        pipeline.wait_ready()
        pipeline.publish(
            event("created", START_MS - 5, BROKEN, source="web", generated_by="sales"), at_ms=START_MS
        )
        eventually(lambda: not worker.alive, 30, "the worker has ended")
        assert worker.process.returncode == 1
        assert worker.lines("ZeroDivisionError: a defect")
        assert pipeline.letters() == []
        assert pipeline.lag() == 1
        pipeline.worker_type = RealWorker
        pipeline.start("w1")
        pipeline.wait_settled(30)
        assert f"l:{BROKEN}" in pipeline.rows()
        assert len(pipeline.records(*SOURCES)) == 1
