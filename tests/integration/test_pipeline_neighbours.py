"""What stands beside leadstream: publishers and subscribers with other clients, and Prometheus."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.parse
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from schemas.codec import encode_event
from streams.kafka_tools import partition_of
from streams.local_kafka import LocalKafka, console_tool, free_ports
from tests.conftest import PROJECT, delete_topics
from tests.contract import event, fitting, hand_raise
from tests.eventually import eventually
from tests.integration.pipeline import Pipeline, Sent
from tests.integration.traffic import iso

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PARTITIONS = 4
#: An hour ago, by the clock of the workers.
T = time.time_ns() // 1_000_000 - 3_600_000


@pytest.fixture(scope="module")
def pipeline(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """Two workers for all: each test has leads of its own."""
    prefix = f"beside-{uuid.uuid4().hex[:6]}-"
    with Pipeline(kafka.bootstrap, prefix, tmp_path_factory.mktemp("beside"), PARTITIONS) as made:
        made.create()
        made.start("a")
        made.start("b")
        made.wait_ready()
        yield made
    delete_topics(kafka.bootstrap, prefix)


def created(lead: str, system: str) -> dict[str, Any]:
    payload = {"source": "webinar", "generated_by": "marketing"}
    return event("created", T, lead, **payload) | {"source_system": system}


def check_each_lead_has_one_row(pipeline: Pipeline, leads: list[str]) -> None:
    """On the partition of its id, and nowhere else, with its one event."""
    pipeline.wait_settled(revive=False)
    places: dict[str, set[int]] = {}
    for message in pipeline.read(pipeline.settings.changelog):
        places.setdefault(message.key().decode(), set()).add(message.partition())
    rows = pipeline.rows()
    entered = Counter(o["lead_id"] for o in pipeline.outputs("stage_changes", stage="known"))
    for lead in leads:
        assert places[f"l:{lead}"] == {partition_of(lead.encode(), PARTITIONS)}
        assert rows[f"l:{lead}"].head.n == 1
        assert entered[lead] == 1


# -- publishers ------------------------------------------------------------------------------------------------------


def test_java_clients_with_keys_need_nothing_else(pipeline: Pipeline) -> None:
    """Promise: Java's default partitioner puts an event where its row lies; nothing is forwarded."""
    leads = [f"java-{n}" for n in range(20)]
    subprocess.run(
        [
            *console_tool("ConsoleProducer"),
            *("--bootstrap-server", pipeline.settings.bootstrap, "--topic", pipeline.topics.lead),
            *("--reader-property", "parse.key=true", "--reader-property", "key.separator=|"),
        ],
        input="".join(f"{lead}|{json.dumps(created(lead, 'java'))}\n" for lead in leads),
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    check_each_lead_has_one_row(pipeline, leads)
    assert pipeline.metric("leadstream_misrouted_records_total", source="java") == 0


def test_case_49_the_default_partitioner_of_librdkafka_is_put_right_and_counted(pipeline: Pipeline) -> None:
    """Promise (case 49): another partitioner costs a detour, never a second row; the source is counted, and named once
    in the log of each worker with the remedy."""
    leads = [f"confluent-{n}" for n in range(40)]
    producer = Producer({"bootstrap.servers": pipeline.settings.bootstrap, "log_level": 2})
    for lead in leads:
        producer.produce(pipeline.topics.lead, json.dumps(created(lead, "confluent")), lead)
    assert producer.flush(30) == 0
    check_each_lead_has_one_row(pipeline, leads)
    elsewhere = sum(
        message.partition() != partition_of(message.key(), PARTITIONS)
        for message in pipeline.read(pipeline.topics.lead)
        if message.key().startswith(b"confluent-")
    )
    assert elsewhere > 10
    assert pipeline.metric("leadstream_misrouted_records_total", source="confluent") == elsewhere
    for worker in pipeline.workers.values():
        warnings = worker.lines("confluent publishes to")
        assert len(warnings) == 1
        assert "partitioner=murmur2_random" in warnings[0]


@pytest.mark.needs("kcat")
def test_kcat_publishes_and_listens(pipeline: Pipeline) -> None:
    """Promise: with kcat one line publishes an event, and one line sees what was said, as CloudEvents."""
    lead = "kcat-1"
    kcat = ["kcat", "-b", pipeline.settings.bootstrap]
    subprocess.run(
        [*kcat, "-P", "-t", pipeline.topics.lead, "-K", "|", "-X", "topic.partitioner=murmur2_random"],
        input=f"{lead}|{json.dumps(created(lead, 'kcat'))}\n",
        check=True,
        text=True,
        timeout=30,
    )
    check_each_lead_has_one_row(pipeline, [lead])
    assert pipeline.metric("leadstream_misrouted_records_total", source="kcat") == 0
    listened = subprocess.run(
        [
            *kcat, "-C", "-e", "-q", "-t", pipeline.topics.stage_changes, "-o", "beginning",
            "-X", "isolation.level=read_committed", "-f", "%k %h\n",
        ],
        check=True,
        capture_output=True,
        timeout=30,
    ).stdout.decode(errors="replace")  # fmt: skip
    lines = [line for line in listened.splitlines() if line.startswith(f"{lead} ")]
    assert lines
    assert all("ce_type=leadstream.stage_change" in line for line in lines)
    assert all(f"ce_subject=lead/{lead}" in line for line in lines)


def test_cloudevents_in_binary_mode(pipeline: Pipeline) -> None:
    """Promise: what an event is may stand in the headers, the value being JSON data or framed Avro."""
    data, avro = "ce-data", "ce-avro"

    def headers(lead: str, content_type: str) -> list[tuple[str, bytes]]:
        said = {
            "ce_specversion": "1.0", "ce_type": "com.example.created", "ce_source": "shop", "ce_id": f"id-{lead}",
            "ce_time": iso(T), "ce_subject": f"lead/{lead}", "content-type": content_type,
        }  # fmt: skip
        return [(name, value.encode()) for name, value in said.items()]

    payload = json.dumps({"source": "webinar", "generated_by": "marketing"}).encode()
    pipeline.append(
        [
            Sent("lead", data.encode(), payload, None, headers(data, "application/json")),
            Sent(
                "lead",
                avro.encode(),
                encode_event(created(avro, "shop")),
                None,
                headers(avro, "application/avro"),
            ),
        ]
    )
    check_each_lead_has_one_row(pipeline, [data, avro])
    rows = pipeline.rows()
    assert {rows[f"l:{lead}"].head.source for lead in (data, avro)} == {"webinar"}


# -- subscribers -----------------------------------------------------------------------------------------------------


def test_outputs_are_cloudevents_with_ids_of_their_own(pipeline: Pipeline) -> None:
    """Promise: source and id name one message for good, so that any CloudEvents consumer can drop repetitions."""
    lead = "subscribed-1"
    pipeline.publish(*fitting(T, lead), hand_raise(T, lead))
    pipeline.wait_settled(revive=False)
    found = [
        r for r in pipeline.records("stage_changes", "handoffs", "sla", "nurture") if r.key == lead.encode()
    ]
    headers = [dict(r.headers) for r in found]
    assert {h["ce_type"] for h in headers} >= {
        b"leadstream.stage_change",
        b"leadstream.handoff",
        b"leadstream.sla",
    }
    assert len({(h["ce_source"], h["ce_id"]) for h in headers}) == len(found) > 5
    assert {h["content-type"] for h in headers} == {b"application/avro"}


# -- Prometheus ------------------------------------------------------------------------------------------------------


@pytest.mark.needs("prometheus")
def test_prometheus_shows_the_funnel_of_all_workers(pipeline: Pipeline, tmp_path: Path) -> None:
    """Promise: the shipped recording rule, on a real Prometheus that scrapes real workers, gives the funnel: what
    `leadstream figures` counts."""
    leads = [f"prometheus-{n}" for n in range(12)]
    for lead in leads:
        pipeline.publish(created(lead, "crm"))
    pipeline.publish(*fitting(T, leads[0]), hand_raise(T, leads[0]))
    pipeline.wait_settled(revive=False)
    wanted = {f["labels"]["stage"]: f["value"] for f in pipeline.figures("--figure", "balance")}
    assert wanted["known"] >= 11

    targets = [str(w.said()["url"]).removeprefix("http://") for w in pipeline.workers.values()]
    (port,) = free_ports(1)
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(PROJECT / "deploy" / "prometheus" / "rules.yml")],
        "scrape_configs": [{"job_name": "leadstream", "static_configs": [{"targets": targets}]}],
    }
    file = tmp_path / "prometheus.yml"
    file.write_text(json.dumps(config))  # JSON is YAML
    with (tmp_path / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus", f"--config.file={file}", f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log, stderr=log, env={"PATH": os.environ["PATH"]},
        )  # fmt: skip

    def asked() -> bool:
        query = urllib.parse.urlencode({"query": "stage:leadstream_stage_balance:sum"})
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=2) as answer:
                result = json.load(answer)["data"]["result"]
        except OSError:
            return False
        found = {each["metric"]["stage"]: float(each["value"][1]) for each in result}
        return {stage: n for stage, n in found.items() if n} == {stage: n for stage, n in wanted.items() if n}

    try:
        eventually(asked, 40, "the funnel in Prometheus")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
