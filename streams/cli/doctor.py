"""``leadstream doctor``: is everything around a worker as it must be? What is not, and how to mend it."""

from __future__ import annotations

import platform
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Literal, NamedTuple

import typer

from processors.definition.model import DAY
from processors.definition.reader import DefinitionError
from schemas import codec
from schemas.envelope import Malformed
from schemas.registry import ConfluentRegistry, SchemaError, packaged
from streams import topics
from streams.cli.console import WRONG, AsJson, UserError, instant, print_json, progress, settings_of
from streams.cli.definition import configured
from streams.cli.events import key_of
from streams.clock import clock_of
from streams.errors import WorkerError
from streams.kafka_tools import Admin, KafkaToolError, Reader, partition_of
from streams.settings import SOURCES, Settings
from streams.topology import build
from streams.work import Record

Status = Literal["ok", "note", "wrong"]

#: A win model is made each day; one that is older than this was forgotten.
STALE_MS = 3 * DAY
#: Newest records looked at per partition of an input.
SAMPLE = 200
#: These two are relied on down to private members: another version is another program.
PINNED = {"faust-streaming": "0.15.3", "aiokafka": "0.14.0"}
PUBLISHED = ("engagement", "lead", "deal")


class Finding(NamedTuple):
    check: str
    status: Status
    what: str
    remedy: str = ""


def register(app: typer.Typer) -> None:
    @app.command()
    def doctor(context: typer.Context, as_json: AsJson = False) -> None:
        """Examine the broker, topics, publishers, schemas, definition and the workers' progress.

        Says what is wrong and how to mend it. Exit 1 when something is.

        Example: [bold]leadstream doctor --json[/bold]
        """
        settings = settings_of(context)
        findings = list(_examine(settings, quiet=as_json))
        if as_json:
            print_json([finding._asdict() for finding in findings])
        else:
            for finding in findings:
                colour = {"ok": "green", "note": "yellow", "wrong": "red"}[finding.status]
                typer.echo(f"{typer.style(f'{finding.status:5}', fg=colour)} {finding.check}: {finding.what}")
                if finding.remedy:
                    typer.echo(f"      -> {finding.remedy}")
        if any(finding.status == "wrong" for finding in findings):
            raise typer.Exit(WRONG)


def _examine(settings: Settings, *, quiet: bool) -> Iterator[Finding]:
    yield from versions()
    yield from definition(settings)
    yield from schemas(settings)
    try:
        with Admin(settings) as admin, Reader(settings) as reader, progress(quiet) as bar:
            steps: list[Callable[[], Iterator[Finding]]] = [
                lambda: broker(admin, settings),
                lambda: declared_topics(admin, settings),
                lambda: publishers(admin, reader, settings),
                lambda: lag(admin, reader, settings),
                lambda: dead_letters(admin, reader, settings),
                lambda: win_model(reader, settings),
            ]
            task = bar.add_task("examining", total=len(steps))
            for step in steps:
                yield from list(step())
                bar.advance(task)
    except KafkaToolError as error:
        yield Finding("broker", "wrong", str(error), "start the broker, or correct the settings named there")


def win_model(reader: Reader, settings: Settings) -> Iterator[Finding]:
    """Is somebody counting the closed deals every day?"""
    try:
        logic = build(settings)
    except (DefinitionError, WorkerError):
        return  # said by `definition`
    try:
        logic.learn(reader.read([settings.topics.reference]))
    except KafkaToolError:
        return  # said by `declared_topics`
    now = clock_of(settings).now_ms()
    found = logic.reference.win_model_at(now)
    remedy = "run `leadstream win-model publish` every day, or with --daily as a service"
    if found is None:
        yield Finding("win model", "note", "none is published: handoffs carry no priority", remedy)
    elif now - found.as_of > STALE_MS:
        what = f"the newest is of {instant(found.as_of)}: priorities follow from old counts"
        yield Finding("win model", "note", what, remedy)
    else:
        yield Finding("win model", "ok", f"as of {instant(found.as_of)}")


def versions() -> Iterator[Finding]:
    found = {}
    for package, wanted in PINNED.items():
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
        if found[package] != wanted:
            yield Finding(
                "versions",
                "wrong",
                f"{package} is {found[package]}, leadstream needs {wanted} exactly",
                f"pip install {package}=={wanted}",
            )
    shown = ", ".join(f"{package} {number}" for package, number in found.items())
    yield Finding("versions", "ok", f"Python {platform.python_version()}, {shown}")


def definition(settings: Settings) -> Iterator[Finding]:
    where = settings.definition or "the packaged default"
    try:
        loaded = configured(settings)
    except UserError as error:
        yield Finding("definition", "wrong", str(error), f"mend {where}; `leadstream definition check` helps")
        return
    yield Finding("definition", "ok", f"{where} is {loaded.name}@{loaded.version}")


def schemas(settings: Settings) -> Iterator[Finding]:
    try:
        count = len(packaged().written())
        if settings.registry_url:
            codec.use_registry(ConfluentRegistry(settings.registry_url).preload(packaged()))
    except SchemaError as error:
        yield Finding("schemas", "wrong", str(error), "`leadstream schemas check` says more")
        return
    where = f"and {settings.registry_url} has them" if settings.registry_url else "no registry in use"
    yield Finding("schemas", "ok", f"{count} schemas, {where}")


def broker(admin: Admin, settings: Settings) -> Iterator[Finding]:
    brokers = admin.brokers()
    addresses = ", ".join(each.address for each in brokers)
    yield Finding("broker", "ok", f"{len(brokers)} at {addresses}, Kafka {admin.broker_version()}")
    if settings.replication > len(brokers):
        yield Finding(
            "broker",
            "wrong",
            f"replication = {settings.replication}, but there are {len(brokers)} brokers",
            f"start more brokers or set replication = {len(brokers)}",
        )
    if settings.replication < 3 or settings.min_isr < 2:
        yield Finding(
            "broker",
            "note",
            f"replication = {settings.replication}, min_isr = {settings.min_isr}: a broker lost may lose data "
            f"or repeat outputs",
            "fine for a trial; in production set replication = 3, min_isr = 2",
        )


def declared_topics(admin: Admin, settings: Settings) -> Iterator[Finding]:
    problems = topics.check(admin, settings)
    for problem in problems:
        status: Status = "wrong" if problem.severity == "error" else "note"
        yield Finding("topics", status, f"{problem.topic} {problem.what}", problem.remedy)
    names = (*settings.topics.named(*SOURCES), settings.changelog)
    counts = {name: info.partitions for name, info in admin.topics(names).items()}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        yield Finding(
            "co-partitioning",
            "wrong",
            f"inputs, inbox and changelog differ in their number of partitions: {shown}",
            "a task needs one number in all of them: create them anew, with another topic_prefix and app_id",
        )
    elif len(counts) == len(names):
        yield Finding("co-partitioning", "ok", f"{settings.partitions} partitions in all {len(names)} topics")
    if not problems:
        yield Finding("topics", "ok", f"{len(topics.declared(settings))} topics are as declared")


class _Publisher:
    """What the sample holds of one source system."""

    def __init__(self) -> None:
        self.seen = self.misplaced = self.wrong_key = self.keyless = 0
        self.example = ""


def publishers(admin: Admin, reader: Reader, settings: Settings) -> Iterator[Finding]:
    """Compare where the newest records lie with where the default partitioner would have put them."""
    names = [name for name in settings.topics.named(*PUBLISHED) if name in admin.topic_names()]
    counts = {name: info.partitions for name, info in admin.topics(names).items()}
    found: defaultdict[str, _Publisher] = defaultdict(_Publisher)
    malformed: Counter[tuple[str, str]] = Counter()
    sampled = 0
    for record in reader.read(names, last=SAMPLE):
        sampled += 1
        try:
            envelope = codec.decode(record.value, record.headers, key=record.key)
        except Malformed as error:
            malformed[record.topic, error.code] += 1
            continue
        _look(found[envelope.source_system], record, key_of(envelope).encode(), counts[record.topic])
    for (topic, code), count in sorted(malformed.items()):
        yield Finding(
            "schemas",
            "wrong",
            f"{count} of the newest records of {topic} cannot be decoded: {code}",
            f"`leadstream tail {topic} --from-beginning` shows each with its reason; mend their publisher",
        )
    wrong = False
    for source, publisher in sorted(found.items()):
        for finding in _judged(source, publisher):
            wrong = True
            yield finding
    if not sampled:
        yield Finding("publishers", "note", "no records yet in the inputs", "`leadstream publish --help`")
    elif not wrong:
        yield Finding(
            "publishers", "ok", f"{sampled} records of {len(found)} source systems lie where they should"
        )


def _look(publisher: _Publisher, record: Record, wanted_key: bytes, partitions: int) -> None:
    publisher.seen += 1
    place = f"{record.topic}-{record.partition}@{record.offset}"
    if record.key is None:
        publisher.keyless += 1
    elif record.partition != partition_of(record.key, partitions):
        publisher.misplaced += 1
    elif record.key != wanted_key:
        publisher.wrong_key += 1
    else:
        return
    publisher.example = publisher.example or place


def _judged(source: str, publisher: _Publisher) -> Iterator[Finding]:
    """Records on the wrong partition are forwarded by the worker: right, but late and twice the work."""

    def finding(count: int, what: str, remedy: str) -> Finding:
        share = f"{count} of {publisher.seen} sampled records ({100 * count / publisher.seen:.0f} %)"
        return Finding(
            "partitioner",
            "wrong",
            f"source_system {source!r}: {share} {what}, e.g. {publisher.example}",
            remedy,
        )

    if publisher.misplaced:
        yield finding(
            publisher.misplaced,
            "are not on the partition of murmur2(key)",
            "set the publisher's partitioner: librdkafka (confluent-kafka, kcat, Go, .NET) "
            "partitioner=murmur2_random; Sarama NewCustomPartitioner(murmur2); Java and kafka-python have it "
            "by default",
        )
    if publisher.keyless:
        yield finding(publisher.keyless, "have no key", "let the publisher send the subject's id as the key")
    if publisher.wrong_key:
        yield finding(
            publisher.wrong_key,
            "have a key that is not their subject's id",
            "key by lead_id, else anonymous_id; deals by deal_id, customers by account_id (UTF-8, no quotes)",
        )


def lag(admin: Admin, reader: Reader, settings: Settings) -> Iterator[Finding]:
    names = [name for name in settings.topics.named(*SOURCES) if name in admin.topic_names()]
    committed = admin.committed(settings.app_id)
    if not committed:
        yield Finding(
            "lag",
            "note",
            f"group {settings.app_id} has committed nothing yet",
            "start one: `leadstream worker`",
        )
        return
    behind = {
        topic: sum(
            max(0, end - committed.get((name, partition), first))
            for (name, partition), (first, end) in reader.offsets([topic]).items()
        )
        for topic in names
    }
    yield _lag_finding(settings, behind)


def _lag_finding(settings: Settings, behind: Mapping[str, int]) -> Finding:
    total = sum(behind.values())
    shown = ", ".join(f"{topic} {count:,}" for topic, count in behind.items() if count)
    if not total:
        return Finding("lag", "ok", f"group {settings.app_id} has processed everything")
    return Finding(
        "lag",
        "note",
        f"group {settings.app_id} is {total:,} records behind: {shown}",
        "if that does not shrink, see that workers run (/readyz) and add some, up to one per partition",
    )


def dead_letters(admin: Admin, reader: Reader, settings: Settings) -> Iterator[Finding]:
    name = settings.topics.dead_letters
    if name not in admin.topic_names():
        return
    count = sum(end - first for first, end in reader.offsets([name]).values())
    if count:
        yield Finding(
            "dead letters",
            "note",
            f"up to {count:,} in the last days",
            "`leadstream dead-letters list` shows the reasons",
        )
    else:
        yield Finding("dead letters", "ok", "none")
