"""What `leadstream privacy` says, without a broker; `tests/integration/test_privacy_kafka.py` has the rest."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from schemas.codec import encode_event
from streams import privacy, state_reader
from streams.cli import build
from streams.cli import privacy as cli
from streams.settings import Settings
from tests.privacy_world import MARK, erase, marked, told_everything
from tests.strategies import at
from tests.world import Funnel


def test_an_export_has_every_fact_with_its_payload_and_its_place() -> None:
    f = Funnel()
    told_everything(f)
    found = privacy.export(f.topology, "l:lead-1", f.row(), f.now)
    json.dumps(found)
    by_type = {x["type"]: x for x in found["facts"]}
    assert by_type["rejected"]["payload"]["notes"] == f"{MARK} was in a meeting"
    assert by_type["discovery_recorded"]["payload"]["text_ref"] == MARK
    places = {(r.topic, r.partition, r.offset) for t in f.driver.sources for r in f.driver.read(t)}
    assert {(x["topic"], x["partition"], x["offset"]) for x in found["facts"]} == places
    assert found["state"]["attributes"]["name"] == MARK
    assert found["consents"]["sales_contact"]["granted"] is True
    assert len(found["handoffs_said"]) == 2
    assert found["erased_up_to"] is None


def test_an_export_after_the_erasure_has_stages_and_ids_and_no_word_more() -> None:
    f = Funnel()
    told_everything(f)
    erase(f)
    found = privacy.export(f.topology, "l:lead-1", f.row(), f.now)
    assert found["facts"] == []
    assert MARK not in json.dumps(found)
    assert found["erased_up_to"] == at(5, 12)
    assert [h["handoff_id"] for h in found["handoffs_said"]] == [h.id for h in f.handoffs()]


def test_the_events_of_an_erasure_are_accepted_and_name_everybody() -> None:
    events = privacy.requests("lead-1", ["l:lead-2"], "r-1", at(1))
    assert [e["subject"]["lead_id"] for e in events] == ["lead-1", "lead-2"]
    assert len({e["source_event_id"] for e in events}) == 2
    assert all(encode_event(e) for e in events)


def test_every_address_of_a_person_is_suppressed() -> None:
    """The one that they had before, and that of a lead that was merged: of these the state tells nothing."""
    f = Funnel()
    for lead, hashes in (("lead-1", ("a1", "a2")), ("lead-2", ("b1",))):
        f.fit(lead=lead)
        for n, hashed in enumerate(hashes):
            fields = {"address_hash": hashed}
            f.say("attributes_changed", at(1, 10 + n), {"fields": fields}, lead=lead)
    f.say("merged", at(2), {"loser": "lead-1", "winner": "lead-2"}, lead="lead-2")

    def suppressed(lead: str, only: bool = False) -> list[str]:
        found = privacy.suppressions(f.row(f"l:{lead}"), only, at(3))
        assert all(encode_event(e) for e in found)
        return [e["payload"]["address_hash"] for e in found]

    assert suppressed("lead-2") == ["a1", "a2", "b1"]
    assert suppressed("lead-2", only=True) == ["b1"]
    assert suppressed("lead-1") == ["a1", "a2"]
    assert suppressed("lead-1", only=True) == ["a1", "a2"]
    f.fit(at(3), lead="lead-3")
    assert suppressed("lead-3") == []


def test_who_erases_a_merged_lead_is_told_that_only_its_part_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    f = Funnel()
    told_everything(f, "lead-2")
    f.fit(at(1), "lead-1")
    f.say("merged", at(2), {"loser": "lead-2", "winner": "lead-1"})

    def publish(_: Settings, events: list[dict[str, Any]]) -> None:
        assert [e["type"] for e in events] == ["erased"]
        erase(f, f.now, "lead-2")

    monkeypatch.setattr(cli, "clock_of", lambda _: SimpleNamespace(now_ms=lambda: f.now))
    monkeypatch.setattr(cli, "_publish", publish)
    monkeypatch.setattr(state_reader, "topology", lambda _: f.topology)
    monkeypatch.setattr(state_reader, "row", lambda _, key: f.row(key))
    result = CliRunner().invoke(build(), ["privacy", "erase", "lead-2", "--request-id", "r-1"])
    assert result.exit_code == 0, result.stderr
    text = " ".join(result.stdout.split())
    assert "lead-2 was merged into lead-1, which keeps its own facts" in text
    assert "counted with lead-1, which it was merged into; no figure of the past moves" in text
    assert marked(f) == []


def test_limits_are_stated_for_every_topic_that_may_hold_something() -> None:
    settings = Settings()
    stated = privacy.limits(settings)
    names = settings.topics
    assert stated[names.dead_letters].startswith("14 days")
    assert stated[names.handoffs].startswith("90 days")
    assert stated[names.inbox].startswith("7 days")
    assert stated[settings.changelog].startswith("7 days")
    assert "owner" in stated[names.engagement]
    assert names.reference not in stated


@pytest.mark.parametrize("written", ["Lead-1@Example.org", "  lead-1@example.org\n", "LEAD-1@EXAMPLE.ORG"])
def test_one_address_has_one_hash_and_another_key_another(written: str) -> None:
    assert privacy.address_hash("k", written) == privacy.address_hash("k", "lead-1@example.org")
    assert privacy.address_hash("k2", written) != privacy.address_hash("k", written)


def test_without_a_key_there_is_no_hash() -> None:
    result = CliRunner().invoke(build(), ["privacy", "hash", "lead-1@example.org"])
    assert result.exit_code == 2
    assert "LEADSTREAM_PRIVACY_KEY" in result.stderr
    keyed = CliRunner().invoke(
        build(), ["privacy", "hash"], env={"LEADSTREAM_PRIVACY_KEY": "k"}, input="lead-1@example.org\n\n"
    )
    assert keyed.stdout.split() == [privacy.address_hash("k", "lead-1@example.org")]
