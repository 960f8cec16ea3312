"""Whatever is published: the worker stays alive, and every record is folded, or kept with the reason."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from processors.subject import effective
from schemas.codec import encode_event
from streams.dead_letters import KEPT_BYTES
from streams.kafka_tools import partition_of
from streams.local_kafka import LocalKafka
from tests.conftest import create_topics, delete_topics
from tests.contract import event, fitting, hand_raise
from tests.eventually import eventually
from tests.integration.pipeline import Letter, Pipeline, Sent

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PARTITIONS = 2
T = 1_763_800_000_000
LARGE = 10_000_000
YEAR_2100 = 4_102_444_800_000


def json_of(e: dict[str, Any], **changed: Any) -> bytes:
    return json.dumps(e | changed).encode()


def created(lead: str, at_ms: int = T, **envelope: Any) -> dict[str, Any]:
    return event("created", at_ms, lead, source="webinar", generated_by="marketing") | envelope


def without(e: dict[str, Any], *fields: str) -> bytes:
    return json.dumps({name: value for name, value in e.items() if name not in fields}).encode()


class Case(NamedTuple):
    """A record on the lead topic, keyed by the lead; the code of its dead letter, "" where it is tolerated."""

    make: Callable[[str], bytes | None]
    code: str = ""


def avro(cut: Callable[[bytes], bytes]) -> Callable[[str], bytes]:
    return lambda lead: cut(encode_event(created(lead)))


CASES = {
    "null value": Case(lambda _: None, "null_value"),
    "empty value": Case(lambda _: b"", "bad_json"),
    "JSON cut off": Case(lambda lead: json_of(created(lead))[:-5], "bad_json"),
    "no object": Case(lambda _: b"[1, 2]", "not_an_event"),
    "bad UTF-8": Case(lambda lead: json_of(created(lead)).replace(b"webinar", b"\xff\xfe"), "not_utf8"),
    "UTF-16": Case(lambda lead: json.dumps(created(lead)).encode("utf-16"), "not_utf8"),
    "NaN": Case(lambda lead: json_of(event("survey_answered", T, lead, survey_id="s", score=float("nan"), kind="nps")), "bad_json"),
    "infinity": Case(lambda lead: json_of(created(lead), payload={"x": float("inf")}), "bad_json"),
    "Avro cut off": Case(avro(lambda value: value[:-7]), "bad_avro"),
    "Avro and more": Case(avro(lambda value: value + b"\x00"), "bad_avro"),
    "Avro garbage": Case(avro(lambda value: value[:5] + b"\xff" * 40), "bad_avro"),
    "unknown schema id": Case(avro(lambda value: b"\x00\x7f\xff\xff\xff" + value[5:]), "unknown_schema_id"),
    "no type": Case(lambda lead: without(created(lead), "type"), "missing_field"),
    "no subject": Case(lambda lead: without(created(lead), "subject"), "bad_subject"),
    "no payload field": Case(lambda lead: json_of(event("accepted", T, lead), type="identified"), "missing_field"),
    "no occurred_at": Case(lambda lead: without(created(lead), "occurred_at"), "missing_field"),
    "occurred_at null": Case(lambda lead: json_of(created(lead), occurred_at=None), "bad_time"),
    "1970": Case(lambda lead: json_of(created(lead, 0)), "too_early"),
    "2100": Case(lambda lead: json_of(created(lead, YEAR_2100)), "too_far"),
    "microseconds": Case(lambda lead: json_of(created(lead, T * 1000)), "bad_time"),
    "an address for an id": Case(lambda lead: json_of(created("somebody@mail.example")), "bad_subject"),
    "10 MB of nothing": Case(lambda _: b'{"' + b"x" * LARGE, "bad_json"),
    "10 MB in a field that is kept": Case(
        lambda lead: json_of(event("attributes_changed", T, lead, fields={"company": "x" * LARGE})), "too_large"
    ),
    "10 MB in a field that is not": Case(lambda lead: json_of(created(lead), mood="x" * LARGE)),
    "unknown type": Case(lambda lead: json_of(event("waved", T, lead))),
    "unknown fields": Case(lambda lead: json_of(created(lead), mood="good")),
    "a CloudEvent": Case(
        lambda lead: json.dumps(
            {
                "specversion": "1.0", "type": "com.example.crm.created", "source": "crm", "id": f"ce-{lead}",
                "time": "2025-11-22T08:26:40Z", "subject": f"lead/{lead}",
                "data_base64": base64.b64encode(encode_event(created(lead))).decode(),
            }
        ).encode()
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def pipeline(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """One worker for all: each test has leads of its own."""
    prefix = f"input-{uuid.uuid4().hex[:6]}-"
    with Pipeline(kafka.bootstrap, prefix, tmp_path_factory.mktemp("input"), PARTITIONS) as made:
        # Somebody allows more than Kafka's default of 1 MB.
        create_topics(kafka.bootstrap, [made.topics.lead], PARTITIONS, {"max_message_bytes": "12000000"})
        made.create()
        made.start()
        made.wait_ready()
        yield made
    delete_topics(kafka.bootstrap, prefix)


def letters_of(pipeline: Pipeline, key: str) -> list[Letter]:
    return [letter for letter in pipeline.letters() if letter.key == key.encode()]


def test_case_07_and_10_every_kind_of_bad_input_is_kept_with_its_reason_or_tolerated_as_documented(
    pipeline: Pipeline,
) -> None:
    """Promise: bad data never stops a worker and never disappears: records in = facts + duplicates + dead letters."""
    leads = {name: f"bad-{n}" for n, name in enumerate(CASES)}
    records = {name: case.make(leads[name]) for name, case in CASES.items()}
    headers = (("trace", b"\xff\x00"), ("x", b""))
    sent = [Sent("lead", leads[name].encode(), value, None, headers) for name, value in records.items()]
    wrong_key = Sent("lead", b"what-a-key", json_of(created("bad-wrong-key")))
    no_key = Sent("lead", None, json_of(created("bad-no-key")))
    large = json_of(created("bad-far-away"), mood="x" * LARGE)
    far_away = Sent("lead", b"far-away", large, partition=1 - partition_of(b"bad-far-away", PARTITIONS))
    good = Sent("lead", b"bad-good", json_of(created("bad-good")))
    before = pipeline.scrape()
    pipeline.append([*sent, wrong_key, no_key, far_away, good, good])
    pipeline.wait_settled(revive=False)

    letters = {letter.key: letter for letter in pipeline.letters()}
    found = {name: letters[key].code if (key := leads[name].encode()) in letters else "" for name in CASES}
    assert found == {name: case.code for name, case in CASES.items()}
    for name, value in records.items():
        if CASES[name].code:
            check_kept(letters[leads[name].encode()], value, dict(headers), pipeline.topics.lead)
    assert letters[b"far-away"].code == "too_large"
    assert "wrong partition" in letters[b"far-away"].detail

    assert pipeline.workers["a"].alive
    assert pipeline.workers["a"].get("/livez")[0] == 200
    after = pipeline.scrape()

    def counted(metric: str, **labels: str) -> float:
        return after.sum(metric, **labels) - before.sum(metric, **labels)

    for code in {case.code for case in CASES.values()} - {""}:
        of_code = sum(case.code == code for case in CASES.values()) + (code == "too_large")
        assert counted("leadstream_dead_letters_total", code=code) == of_code, code
    assert counted("leadstream_unknown_type_events_total") == 1
    assert counted("leadstream_fold_outcomes_total", what="duplicate") == 1
    assert counted("leadstream_fold_errors_total") == 0
    facts = sum(len(effective(row)) for key, row in pipeline.rows().items() if key.startswith("l:bad-"))
    dead = counted("leadstream_dead_letters_total")
    assert len(sent) + 5 == facts + 1 + dead, "records in = facts + duplicates + dead letters"
    assert len(json.loads(pipeline.cli("dead-letters", "list", "--json"))) == len(pipeline.letters())


def check_kept(letter: Letter, value: bytes | None, headers: dict[str, bytes], topic: str) -> None:
    """The original is there, byte by byte; of one too large position, hash, size and the first 64 KiB."""
    assert letter.place[0] == topic
    if value is not None and len(value) > LARGE:
        assert letter.value == value[:KEPT_BYTES]
        assert letter.said["sha256"] == hashlib.sha256(value).hexdigest()
        assert letter.said["size"] == str(len(value))
        assert letter.headers == {}
    else:
        assert letter.value == value
        assert letter.headers == headers


def test_a_lead_that_outgrows_its_row_does_not_stop_the_worker(pipeline: Pipeline) -> None:
    """Promise: ordinary records that add up to more than Kafka takes in one are refused, with the reason, and the lead
    goes on with what it had. (Kafka would refuse the row, after each restart again.)"""
    lead = "heavy-1"
    pipeline.publish(*fitting(T, lead))
    pipeline.wait_settled(revive=False)
    heavy = [event("attributes_changed", T + n, lead, fields={f"f{n}": "x" * 20_000}) for n in range(1, 120)]
    pipeline.append(Sent("lead", lead.encode(), json_of(e)) for e in heavy)
    pipeline.wait_settled(revive=False)
    letters = letters_of(pipeline, lead)
    assert {letter.code for letter in letters} == {"too_large"}
    pipeline.publish(hand_raise(T + 1_000, lead))
    eventually(lambda: pipeline.outputs("handoffs", lead, kind="made"), what="the handoff")
    assert len(effective(pipeline.rows()[f"l:{lead}"])) == 3 + len(heavy) - len(letters)
    assert pipeline.workers["a"].alive


def test_an_event_too_large_to_be_kept_takes_no_other_with_it(pipeline: Pipeline) -> None:
    """Promise: in one batch with a giant, the other events of the same lead are folded."""
    lead = "giant-1"
    giant = json_of(event("attributes_changed", T + 1, lead, fields={"company": "x" * 2_000_000}))
    first, second = (json_of(e) for e in fitting(T, lead))
    pipeline.append(Sent("lead", lead.encode(), value) for value in (first, giant, second))
    pipeline.wait_settled(revive=False)
    (letter,) = letters_of(pipeline, lead)
    assert (letter.code, letter.said["size"]) == ("too_large", str(len(giant)))
    assert pipeline.rows()[f"l:{lead}"].head.attributes["company"] == "company-1"
