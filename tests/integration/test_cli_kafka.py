"""The command line on a real Kafka: what it publishes foreign clients read, and the other way round."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from typer.testing import CliRunner, Result

from schemas import codec
from streams.cli import build
from streams.dead_letters import dead_letter
from streams.kafka_tools import Admin, Publisher, Reader, partition_of
from streams.local_kafka import LocalKafka, console_tool
from streams.settings import Settings, load
from streams.work import Message, Record
from tests.conftest import create_topics
from tests.eventually import eventually

PARTITIONS = 4


class Cli:
    """Runs commands against topics of this test alone."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.env = {
            "LEADSTREAM_BOOTSTRAP": bootstrap,
            "LEADSTREAM_TOPIC_PREFIX": prefix,
            "LEADSTREAM_APP_ID": prefix + "app",
            "LEADSTREAM_PARTITIONS": str(PARTITIONS),
            "COLUMNS": "250",
        }

    def __call__(self, *arguments: str, stdin: str | None = None, code: int = 0) -> Result:
        result = CliRunner().invoke(build(), list(arguments), input=stdin, env=self.env)
        assert result.exit_code == code, (result.output, result.exception)
        return result

    @property
    def settings(self) -> Settings:
        return load(None, {name: value for name, value in self.env.items() if name != "COLUMNS"})

    def tail(self, topic: str, *options: str) -> list[dict[str, Any]]:
        lines = self("tail", topic, "--from-beginning", *options).stdout.splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture
def bare(kafka: LocalKafka, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """No topics yet."""
    monkeypatch.chdir(tmp_path)
    return Cli(kafka.bootstrap, prefix)


@pytest.fixture
def cli(bare: Cli) -> Cli:
    """The declared topics are there."""
    bare("topics", "create")
    return bare


def viewed(lead: str, number: int = 1, system: str = "web") -> dict[str, Any]:
    return {
        "type": "page_viewed",
        "occurred_at": 1_763_800_000_000 + number,
        "source_system": system,
        "source_event_id": f"e-{number}",
        "subject": {"lead_id": lead},
        "payload": {"url": "https://example.com/"},
    }


def quiet(kafka: LocalKafka) -> dict[str, Any]:
    """librdkafka's options; it would go on telling that the broker is gone after the last test."""
    return {"bootstrap.servers": kafka.bootstrap, "log_level": 0}


def ndjson(*events: dict[str, Any]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def read(bootstrap: str, topic: str) -> list[Any]:
    """Everything in a topic, by librdkafka."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "oracle", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    found, ended = [], set[int]()
    while len(ended) < PARTITIONS:
        for message in consumer.consume(1000, 0.2):
            if message.error():
                ended.add(message.partition() or 0)
            else:
                found.append(message)
    consumer.close()
    return found


def test_topics_are_created_once_and_are_as_declared(bare: Cli) -> None:
    missing = json.loads(bare("topics", "check", "--json", code=1).stdout)
    assert {problem["what"] for problem in missing} == {"does not exist"}
    assert len(json.loads(bare("topics", "create", "--json").stdout)["created"]) == 14
    assert json.loads(bare("topics", "create", "--json").stdout)["created"] == []
    assert json.loads(bare("topics", "check", "--json").stdout) == []


def test_topics_check_names_what_differs(bare: Cli, kafka: LocalKafka, prefix: str) -> None:
    topics = bare.settings.topics
    create_topics(kafka.bootstrap, [topics.lead], 2)
    create_topics(kafka.bootstrap, [topics.handoffs], PARTITIONS, {"retention_ms": "1000"})
    create_topics(kafka.bootstrap, [topics.reference], 1, {"cleanup_policy": "compact"})
    bare("topics", "create")
    problems = {
        (p["severity"], p["topic"], p["what"])
        for p in json.loads(bare("topics", "check", "--json", code=1).stdout)
    }
    assert {
        ("error", topics.lead, "has 2 partitions, the table 4: no worker will start"),
        ("warning", topics.handoffs, "retention.ms = 1000, declared is 7776000000"),
        ("error", topics.reference, "cleanup.policy = compact, declared is delete"),
        ("error", topics.reference, "retention.ms = 604800000, declared is -1"),
    } <= problems
    assert any(what.startswith("message.timestamp.type = CreateTime") for _, _, what in problems)
    told = json.loads(bare("doctor", "--json", code=1).stdout)
    assert any(f["check"] == "co-partitioning" and f["status"] == "wrong" for f in told)


def test_a_warning_alone_is_no_failure(cli: Cli, kafka: LocalKafka) -> None:
    entry = ConfigEntry("retention.ms", "1000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, cli.settings.topics.sla, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result()
    told = eventually(lambda: json.loads(cli("topics", "check", "--json").stdout))
    assert [problem["severity"] for problem in told] == ["warning"]


def test_publish_routes_by_type_keys_by_subject_and_writes_what_others_read(
    cli: Cli, kafka: LocalKafka
) -> None:
    at = {"occurred_at": 1_763_800_000_000, "source_system": "crm"}
    events = [
        viewed("lead-1") | {"subject": {"lead_id": "lead-1", "anonymous_id": "anon-1"}},
        viewed("") | {"subject": {"anonymous_id": "anon-1"}},
        at | {"type": "identified", "payload": {"anonymous_id": "anon-1", "lead_id": "lead-1"}},
        at | {"type": "merged", "payload": {"loser": "lead-2", "winner": "lead-1"}},
        at | {"type": "reopened", "subject": {"deal_id": "deal-1"}},
        at | {"type": "reopened", "subject": {"lead_id": "lead-1"}},
        at | {"type": "onboarding_started", "subject": {"account_id": "account-1"}},
        at
        | {
            "type": "spend_recorded",
            "payload": {
                "channel": "search",
                "period_start": "2026-01-01",
                "period_end": "2026-01-31",
                "amount": 1000,
                "currency": "EUR",
                "kind": "media",
                "team": "marketing",
            },
        },
    ]
    told = json.loads(cli("publish", "-", "--json", stdin=ndjson(*events)).stdout)
    topics = cli.settings.topics
    assert told["published"] == {topics.engagement: 2, topics.lead: 3, topics.deal: 2, topics.market: 1}
    keys = {}
    for topic in (topics.engagement, topics.lead, topics.deal):
        for message in read(kafka.bootstrap, topic):
            assert message.partition() == partition_of(message.key(), PARTITIONS)
            assert message.value()[0] == 0  # Confluent framing
            envelope = codec.decode(message.value(), [])
            keys.setdefault(topic, set()).add((envelope.type, message.key().decode()))
    assert keys == {
        topics.engagement: {("page_viewed", "lead-1"), ("page_viewed", "anon-1")},
        topics.lead: {("identified", "lead-1"), ("merged", "lead-1"), ("reopened", "lead-1")},
        topics.deal: {("deal_reopened", "deal-1"), ("onboarding_started", "account-1")},
    }
    assert [record["key"] for record in cli.tail("market")] == ["search"]


def test_publish_as_json_is_read_by_a_java_consumer(cli: Cli, kafka: LocalKafka) -> None:
    cli("publish", "-", "--format", "json", stdin=ndjson(viewed("lead-1")))
    topic = cli.settings.topics.engagement
    command = [*console_tool("ConsoleConsumer"), "--bootstrap-server", kafka.bootstrap, "--topic", topic]
    answer = subprocess.run(
        [*command, "--from-beginning", "--max-messages", "1", "--timeout-ms", "30000"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert json.loads(answer.stdout.splitlines()[0])["source_event_id"] == "e-1"


def test_a_file_is_published_whole_or_not_at_all_unless_told_to_keep_going(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "e.ndjson"
    file.write_text(ndjson(viewed("lead-1", 1)) + "oops\n" + ndjson(viewed("lead-1", 2)))
    assert "nothing was published" in cli("publish", str(file), code=1).stderr
    assert cli.tail("engagement") == []
    skipped = cli("publish", str(file), "--keep-going", code=1)
    assert f"{file}:2: not JSON" in skipped.stderr
    assert [record["source_event_id"] for record in cli.tail("engagement")] == ["e-1", "e-2"]


def test_stdin_is_published_up_to_the_first_bad_line(cli: Cli) -> None:
    result = cli(
        "publish", stdin=ndjson(viewed("lead-1", 1)) + "oops\n" + ndjson(viewed("lead-1", 2)), code=1
    )
    assert "stdin:2: not JSON" in result.stderr
    assert "1 events before it are published" in result.stderr
    assert [record["source_event_id"] for record in cli.tail("engagement")] == ["e-1"]


def test_publish_without_topics_says_what_to_do(bare: Cli) -> None:
    result = bare("publish", "-", stdin=ndjson(viewed("lead-1")), code=1)
    assert "leadstream topics create" in result.stderr
    assert bare.settings.topics.engagement in result.stderr


def test_import_publishes_the_real_data(cli: Cli, data_dir: Path) -> None:
    result = cli("import", str(data_dir / "olist"), "--mapping", "olist", "--publish", "--json")
    topics = cli.settings.topics
    assert json.loads(result.stdout)["published"] == {topics.lead: 8842, topics.deal: 1684}
    with Reader(cli.settings) as reader:
        leads = [codec.decode(r.value, r.headers) for r in reader.read([topics.lead])]
    assert sum(lead.type == "created" for lead in leads) == 8000
    assert all(lead.backfill for lead in leads)


def test_tail_decodes_outputs_filters_by_key_and_stops_at_the_limit(cli: Cli) -> None:
    base = {"revision": 1, "op": "new", "occurred_at": 1, "as_of": 2, "definition": "default@1"}
    with Publisher(cli.settings) as publisher:
        for number, lead in enumerate(("lead-1", "lead-2", "lead-1"), 1):
            record = base | {
                "output_id": f"o-{number}",
                "sequence": number,
                "lead_id": lead,
                "kind": "started",
                "reason": "recycled",
                "journey": 1,
            }
            value = codec.encode("nurture", record)
            publisher.send(Message(cli.settings.topics.nurture, lead.encode(), value))
    found = cli.tail("nurture", "--key", "lead-1")
    assert [each["output_id"] for each in found] == ["o-1", "o-3"]
    assert found[0]["record"] == "nurture"
    assert found[0]["occurred_at"] == 1
    assert len(cli.tail(cli.settings.topics.nurture, "--limit", "2")) == 2
    assert "no such topic" in cli("tail", "nurtures", code=1).stderr


def test_tail_shows_only_what_was_committed(cli: Cli, kafka: LocalKafka) -> None:
    topic = cli.settings.topics.engagement
    for id_, commit in (("aborted", False), ("committed", True)):
        producer = Producer({**quiet(kafka), "transactional.id": f"{topic}-{id_}"})
        producer.init_transactions()
        producer.begin_transaction()
        for number in range(3):
            producer.produce(
                topic, json.dumps(viewed("lead-1", number) | {"source_system": id_}), f"lead-{number}"
            )
        if commit:
            producer.commit_transaction()
        else:
            producer.flush()
            producer.abort_transaction()
    assert {each["source_system"] for each in cli.tail("engagement")} == {"committed"}
    assert len(cli.tail("engagement")) == 3


@pytest.mark.parametrize("codec_name", ["gzip", "snappy", "lz4", "zstd"])
def test_tail_reads_what_publishers_compress(cli: Cli, kafka: LocalKafka, codec_name: str) -> None:
    producer = Producer({**quiet(kafka), "compression.type": codec_name, "linger.ms": 200})
    for number in range(100):
        producer.produce(cli.settings.topics.engagement, json.dumps(viewed("lead-1", number)), "lead-1")
    assert producer.flush(30) == 0
    assert len(cli.tail("engagement")) == 100


def test_dead_letters_are_listed_and_shown_with_the_original(cli: Cli) -> None:
    settings = cli.settings
    bad = Record(settings.topics.lead, 2, 17, 1, b"lead-1", b"\xff{", [("x", b"1")])
    with Publisher(settings) as publisher:
        publisher.send(dead_letter(settings.topics.dead_letters, bad, "bad_json", "value: no JSON", 900_000))
        publisher.send(dead_letter(settings.topics.dead_letters, bad, "too_far", "in 2100", 900_000))
    (one,) = json.loads(cli("dead-letters", "list", "--code", "bad_json", "--json").stdout)
    assert one["original"] == f"{settings.topics.lead}-2@17"
    shown = json.loads(cli("dead-letters", "show", one["id"]).stdout)
    assert (shown["code"], shown["detail"], shown["key"]) == ("bad_json", "value: no JSON", "lead-1")
    assert shown["value"] == {"hex": "ff7b"}
    assert shown["headers"] == {"x": "1"}
    table = cli("dead-letters", "list")
    assert "too_far" in table.stdout
    assert "2 dead letters: " in table.stderr
    assert "no such dead letter" in cli("dead-letters", "show", "0:999", code=2).stderr


def test_reference_data_are_set_and_the_latest_shown(cli: Cli, tmp_path: Path) -> None:
    cli("reference", "set", "fx", "usd", "eur", "0.92", "--date", "2026-11-20")
    cli("reference", "set", "fx", "usd", "eur", "0.93", "--date", "2026-11-20")
    cli("reference", "set", "owner", "owner-1", "--team", "sales", "--weight", "2", "--inactive")
    cli("reference", "set", "source-priority", "crm", "1")
    cli("reference", "set", "campaign", "Spring", "spring-2026")
    shown = {each["key"]: each["payload"] for each in json.loads(cli("reference", "show", "--json").stdout)}
    assert shown == {
        "fx_rate_set:USD:EUR:2026-11-20": {
            "base": "USD",
            "quote": "EUR",
            "date": "2026-11-20",
            "rate": "0.93",
        },
        "owner_changed:owner-1": {"owner": "owner-1", "team": "sales", "active": False, "weight": 2},
        "source_priority_set:crm": {"source_system": "crm", "priority": 1},
        "campaign_renamed:Spring": {"old": "Spring", "new": "spring-2026"},
    }
    file = tmp_path / "r.ndjson"
    file.write_text(ndjson(viewed("lead-1")))
    assert "is no reference event" in cli("reference", "set", "events", str(file), code=1).stderr


def test_a_definition_is_published_once_per_version(cli: Cli, tmp_path: Path) -> None:
    sign = ("--signed-by", "marketing", "--signed-by", "sales")
    assert "default@1 is in force" in cli("definition", "publish", "default", *sign).stderr
    text = cli("definition", "show", "default", "--toml").stdout
    (tmp_path / "ours.toml").write_text(text + "\n# changed\n")
    assert "give it a higher version" in cli("definition", "publish", "ours.toml", *sign, code=2).stderr
    (one,) = json.loads(cli("reference", "show", "--json").stdout)
    assert one["key"] == f"definition_published:default:1:{one['occurred_at']}"
    assert one["payload"]["signed_by"] == ["marketing", "sales"]
    assert one["payload"]["effective_at"] == one["occurred_at"]


def test_a_proposal_takes_effect_with_the_last_teams_approval(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "ours.toml").write_text('name = "ours"\nversion = 1\n[thresholds]\nup = 35\n')
    approve = ("definition", "approve", "ours@1")
    assert "no definition ours@1 was published; there are default@1" in (
        cli(*approve, "--team", "sales", "--by", "owner-1", code=2).stderr
    )
    told = cli("definition", "publish", "ours.toml", "--sweep", "--by", "owner-9").stderr
    assert "ours@1 is proposed: it takes effect once marketing, sales approved" in told
    assert (
        "kitchen: ours asks for the approval"
        in cli(*approve, "--team", "kitchen", "--by", "x", code=2).stderr
    )
    assert "not an e-mail address" in cli(*approve, "--team", "sales", "--by", "a@example.org", code=2).stderr
    assert (
        "it takes effect once marketing approved"
        in cli(*approve, "--team", "sales", "--by", "owner-1").stderr
    )
    assert "has approved ours@1 already" in cli(*approve, "--team", "sales", "--by", "owner-2", code=2).stderr
    states = {each["name"]: each["state"] for each in json.loads(cli("definition", "list", "--json").stdout)}
    assert states == {"default": "in force", "ours": "proposed"}
    assert "ours@1 is in force, from 2" in cli(*approve, "--team", "marketing", "--by", "owner-3").stderr
    base, ours = json.loads(cli("definition", "list", "--json").stdout)
    assert (base["state"], ours["state"], ours["missing"], ours["sweep"]) == (
        "superseded",
        "in force",
        [],
        True,
    )
    assert [(x["team"], x["by"]) for x in ours["approvals"]] == [
        ("marketing", "owner-3"),
        ("sales", "owner-1"),
    ]
    assert ours["effective_at"] == ours["approvals"][0]["at"] > ours["published_at"]
    assert "marketing (owner-3); sales (owner-1)" in cli("definition", "list").stdout
    assert "| sales | owner-1 | 2" in cli("definition", "show", "ours@1").stdout
    assert "Threshold: up from 40 to 35." in cli("definition", "diff", "default@1", "ours@1").stdout
    assert "waits for nobody" in cli(*approve, "--team", "sales", "--by", "owner-1", code=2).stderr

    (tmp_path / "ours.toml").write_text('name = "ours"\nversion = 2\n')
    told = cli("definition", "publish", "ours.toml", "--unsigned").stderr
    assert "ours@2 is in force, unsigned, from " in told
    assert "**Unsigned**" in cli("definition", "show", "ours@2").stdout


def test_the_doctor_finds_nothing_wrong_with_our_own_publisher(cli: Cli) -> None:
    cli("publish", "-", stdin=ndjson(*(viewed(f"lead-{n}", n) for n in range(50))))
    told = json.loads(cli("doctor", "--json").stdout)
    assert "wrong" not in {finding["status"] for finding in told}
    assert "50 records of 1 source systems" in next(f["what"] for f in told if f["check"] == "publishers")


def partitioner_findings(cli: Cli) -> list[str]:
    told = json.loads(cli("doctor", "--json", code=1).stdout)
    return [finding["what"] for finding in told if finding["check"] == "partitioner"]


def test_the_doctor_names_the_publisher_whose_partitioner_is_not_murmur2(cli: Cli, kafka: LocalKafka) -> None:
    """DOMAIN case 49: confluent-kafka's default partitioner is another one than Java's."""
    topic = cli.settings.topics.engagement
    producers: dict[str, dict[str, Any]] = {
        "right": {"partitioner": "murmur2_random"},
        "default": {},
    }
    for system, options in producers.items():
        producer = Producer({**quiet(kafka), **options})
        for number in range(40):
            event = viewed(f"lead-{number}", number, system)
            producer.produce(topic, json.dumps(event), f"lead-{number}")
        assert producer.flush(30) == 0
    (finding,) = partitioner_findings(cli)
    assert finding.startswith("source_system 'default': ")
    assert "of 40 sampled records" in finding
    assert "not on the partition of murmur2(key)" in finding


def test_the_doctor_accepts_a_java_producer_and_names_wrong_and_missing_keys(
    cli: Cli, kafka: LocalKafka
) -> None:
    topic = cli.settings.topics.engagement
    lines = [f"lead-{n}|{json.dumps(viewed(f'lead-{n}', n, 'java'))}" for n in range(20)]
    lines += [f"other-{n}|{json.dumps(viewed(f'lead-{n}', n, 'wrong-keys'))}" for n in range(5)]
    subprocess.run(
        [
            *console_tool("ConsoleProducer"),
            *("--bootstrap-server", kafka.bootstrap, "--topic", topic),
            *("--reader-property", "parse.key=true", "--reader-property", "key.separator=|"),
        ],
        input="\n".join(lines) + "\n",
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    with Publisher(cli.settings) as publisher:
        publisher.send(Message(topic, None, json.dumps(viewed("lead-1", 1, "keyless")).encode()))
    findings = sorted(partitioner_findings(cli))
    assert len(findings) == 2
    assert findings[0].startswith("source_system 'keyless': 1 of 1 sampled records (100 %) have no key")
    assert findings[1].startswith(
        "source_system 'wrong-keys': 5 of 5 sampled records (100 %) have a key that"
    )


def test_the_doctor_counts_what_cannot_be_decoded_and_the_lag(cli: Cli, kafka: LocalKafka) -> None:
    topics = cli.settings.topics
    with Publisher(cli.settings) as publisher:
        for _ in range(3):
            publisher.send(Message(topics.lead, b"lead-1", b"{"))
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": cli.settings.app_id})
    consumer.commit(
        offsets=[TopicPartition(topics.lead, partition_of(b"lead-1", PARTITIONS), 1)], asynchronous=False
    )
    consumer.close()
    told = json.loads(cli("doctor", "--json", code=1).stdout)
    by_check = {finding["check"]: finding["what"] for finding in told if finding["status"] != "ok"}
    assert by_check["schemas"] == f"3 of the newest records of {topics.lead} cannot be decoded: bad_json"
    assert by_check["lag"] == f"group {cli.settings.app_id} is 2 records behind: {topics.lead} 2"


def test_the_admin_sees_effective_configuration(cli: Cli) -> None:
    settings = cli.settings
    names = [settings.changelog, settings.topics.lead, settings.topics.reference]
    with Admin(settings) as admin:
        infos = admin.topics([*names, "nowhere"])
    assert set(infos) == set(names)
    assert infos[settings.changelog].configs["cleanup.policy"] == "compact"
    kept = infos[settings.topics.reference].configs
    assert (kept["cleanup.policy"], kept["retention.ms"]) == ("delete", "-1"), (
        "the past of owners is asked again"
    )
    assert infos[settings.topics.lead].configs["message.timestamp.type"] == "LogAppendTime"
    assert infos[settings.topics.lead].partitions == PARTITIONS


def test_timestamps_of_publishers_are_kept_where_asked(bare: Cli) -> None:
    bare("topics", "create", "--keep-timestamps")
    settings = bare.settings
    with Publisher(settings) as publisher:
        publisher.send(Message(settings.topics.lead, b"lead-1", b"{}"), timestamp_ms=1_700_000_000_000)
    with Reader(settings) as reader:
        (record,) = reader.read([settings.topics.lead])
    assert record.timestamp == 1_700_000_000_000
