"""Who is who across partitions, while workers come and die."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from processors.identity import aliases
from schemas.codec import decode, encode_event
from schemas.envelope import Envelope, Malformed
from streams.local_kafka import LocalKafka
from streams.topology import build
from tests.eventually import eventually
from tests.integration.oracle import prove
from tests.integration.pipeline import Pipeline, Sent
from tests.integration.traffic import Publishing, iso, simulated

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def event(type_: str, n: int, lead: str, at_ms: int, payload: dict[str, Any]) -> Sent:
    value = encode_event(
        {
            "type": type_, "occurred_at": at_ms, "source_system": "dedupe", "source_event_id": f"link-{n}",
            "subject": {"lead_id": lead}, "payload": payload,
        }
    )  # fmt: skip
    return Sent("lead", lead.encode(), value, at_ms)


def who_is_who(records: Sequence[Sent], rng: random.Random) -> Iterator[Sent]:
    """Merges of the leads in these records: pairs, chains, circles, and every fourth taken back a little later."""
    leads = sorted({e.subject_id for r in records if (e := read(r)) is not None and e.type == "created"})
    times = [r.at_ms or 0 for r in records]
    for n in range(len(leads) // 2):
        loser, winner = rng.sample(leads, 2)
        t = rng.choice(times)
        yield event("merged", n, winner, t, {"loser": loser, "winner": winner})
        if n % 5 == 0:
            yield event("merged", 2000 + n, loser, t + 1, {"loser": winner, "winner": loser})
        if n % 4 == 0:
            yield event("unmerged", 1000 + n, winner, t + 3_600_000, {"merge_event_id": f"link-{n}"})


def read(r: Sent) -> Envelope | None:
    try:
        return decode(r.value, ())
    except Malformed:
        return None


def test_merges_across_partitions_while_a_worker_joins_and_one_is_killed(
    kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    """Promise: whoever is merged, parted or refused while partitions move and a worker dies by kill -9, in the end every row,
    and everything that was said, is what one undisturbed fold of the same records gives, but for the clocks
    of leads that had been called before they were merged."""
    rng = random.Random(3)
    records = simulated(31, 5_000)
    last = max(r.at_ms or 0 for r in records)
    links = list(who_is_who(records, rng))
    delivery = [r for r in records if r.field != "reference"]
    delivery = sorted([*delivery, *links], key=lambda r: r.at_ms or 0)  # known when they came
    clock = f"fixed:{iso(last + 86_400_000)}"
    with Pipeline(kafka.bootstrap, prefix, tmp_path, 4, clock=clock) as pipeline:
        pipeline.create("CreateTime")
        pipeline.append(r for r in records if r.field == "reference")
        first = pipeline.start("first")
        pipeline.wait_ready()
        with Publishing(pipeline.append, delivery, 200) as traffic:
            eventually(lambda: traffic.sent > len(delivery) * 0.2, what="traffic flows")
            pipeline.start("second")
            pipeline.wait_ready("first", "second")
            assert len(first.partitions()) == 2
            behind = traffic.sent
            eventually(lambda: traffic.sent > behind + 300, what="both have merged")
            pipeline.workers.pop("first").kill()
            assert traffic.sent < len(delivery), "it died amid traffic"
            pipeline.start("third")
        pipeline.wait_settled(100)
        rows = pipeline.rows()
        merged = [key for key, row in rows.items() if key[0] == "l" and row.target]
        home = build(pipeline.settings).partition_of
        across = [key for key in merged if home(key[2:]) != home(rows[key].target[2:])]
        assert len(across) > len(merged) / 2 > 10
        assert any(len([1 for n, _ in aliases(row.members) if n[0] == "l"]) > 2 for row in rows.values())
        assert any(row.refused for row in rows.values())
        prove(pipeline, 300, merged=True)
