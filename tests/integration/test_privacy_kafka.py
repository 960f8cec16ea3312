"""Export and erasure on a real Kafka, with a real worker: what was there is printed, then it is nowhere."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from processors.model import encode, load
from streams.local_kafka import LocalKafka
from streams.privacy import address_hash
from streams.state_reader import VERSION_BYTES
from tests.conftest import delete_topics
from tests.contract import event, fitting, hand_raise
from tests.integration.pipeline import Pipeline

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

MARK = "xpersonalx"
KEY = "not-a-secret"
#: An hour ago, by the clock of the worker.
T = time.time_ns() // 1_000_000 - 3_600_000


@pytest.fixture(scope="module")
def pipeline(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    prefix = f"privacy-{uuid.uuid4().hex[:6]}-"
    folder = tmp_path_factory.mktemp("privacy")
    with Pipeline(kafka.bootstrap, prefix, folder, 2, PRIVACY_KEY=KEY) as made:
        made.create()
        made.start("a")
        made.wait_ready()
        yield made
    delete_topics(kafka.bootstrap, prefix)


def stored(p: Pipeline, lead: str) -> list[bytes]:
    """The row's values in the changelog, oldest first, unpacked."""
    key = f"l:{lead}".encode()
    return [encode(load(m.value()[VERSION_BYTES:])) for m in p.read(p.settings.changelog) if m.key() == key]


def told(lead: str) -> list[dict[str, Any]]:
    """A lead that is handed over, with something personal in every place."""
    return [
        *fitting(T, lead),
        event("attributes_changed", T, lead, fields={"name": MARK, "address_hash": address_hash(KEY, MARK)}),
        event("page_viewed", T + 1000, lead, url=f"https://example.org/{MARK}"),
        event("discovery_recorded", T + 2000, lead, kind="requirement", text_ref=MARK),
        hand_raise(T + 3000, lead),
    ]


def test_case_47_what_export_shows_is_gone_after_erase(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.publish(*told("lead-1"))
    pipeline.wait_settled()
    assert MARK.encode() in stored(pipeline, "lead-1")[-1]
    file = tmp_path / "lead-1.json"
    pipeline.cli("privacy", "export", "lead-1", "--output", str(file))
    found = json.loads(file.read_text())
    facts = {f["type"]: f for f in found["facts"]}
    assert facts["page_viewed"]["payload"]["url"] == f"example.org/{MARK}"
    assert facts["page_viewed"]["topic"] == pipeline.topics.engagement
    assert found["state"]["attributes"]["name"] == MARK
    (made,) = (x for x in found["said"]["handoffs"] if x["kind"] == "made")
    assert made["context"]["attributes"]["name"] == MARK
    before = pipeline.figures()

    text = pipeline.cli("privacy", "erase", "lead-1", "--request-id", "r-1")
    assert pipeline.topics.dead_letters in text
    assert "14 days" in text
    assert "90 days" in text
    pipeline.wait_settled()
    assert MARK.encode() not in stored(pipeline, "lead-1")[-1]
    held = pipeline.heard().holding("handoff", "lead-1")
    assert held
    assert MARK not in repr(held)
    again = json.loads(pipeline.cli("privacy", "export", "lead-1"))
    assert again["facts"] == []
    assert MARK not in json.dumps({k: v for k, v in again.items() if k != "said"})

    def counted(figures: list[dict[str, Any]]) -> dict[str, Any]:
        """New leads, and entries of stages that are no exits."""
        found = [f for f in figures if f["figure"] in ("leads", "entered")]
        return {str(f["labels"]): f["value"] for f in found if f["labels"].get("stage") != "erased"}

    assert counted(pipeline.figures()) == counted(before)
    assert counted(before)["{'stage': 'mql'}"] == 1


def test_who_comes_back_under_another_id_is_known_by_the_hash(pipeline: Pipeline) -> None:
    pipeline.publish(*told("lead-2"))
    pipeline.wait_settled()
    shown = json.loads(pipeline.cli("privacy", "erase", "lead-2", "--request-id", "r-2", "--json"))
    assert shown["waits_for_worker"] == []
    assert shown["address_suppressed"]
    suppressed = json.loads(pipeline.cli("reference", "show", "--type", "address_suppressed", "--json"))
    assert address_hash(KEY, f"  {MARK.upper()} ") in json.dumps(suppressed)
    assert pipeline.cli("privacy", "hash", MARK).strip() == address_hash(KEY, MARK)


def test_an_unknown_lead_is_no_success(pipeline: Pipeline) -> None:
    pipeline.cli("privacy", "erase", "nobody", "--request-id", "r-3", code=1)
    pipeline.cli("privacy", "export", "nobody", code=1)
    pipeline.cli("privacy", "erase", "lead-1", "--request-id", " ", code=2)
