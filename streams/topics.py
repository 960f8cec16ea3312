"""The topics of leadstream: declared here, created and compared explicitly, never by a broker's guess.

``message.timestamp.type`` of what publishers write is LogAppendTime. The domain's ``recorded_at`` is the
smallest source-record timestamp among the deliveries of a fact and says when leadstream could know of it;
clocks of sales people start at it. With the broker's clock a publisher can neither lend them time nor take
it from them, and the skew of a source's clock (``occurred_at`` against ``recorded_at``) can be measured
at all. Simulations and copies of old logs bring their own time: they create the topics with CreateTime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from msgspec import Struct

from streams.kafka_tools import Admin, TopicInfo
from streams.settings import SOURCES, Settings

Timestamps = Literal["LogAppendTime", "CreateTime"]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_RECORD_OVERHEAD = 128 * 1024  # headers, reasons and framing beside the bytes of a dead letter


class Topic(Struct, frozen=True, kw_only=True):
    """One declared topic. ``configs`` are compared by `check`; ``suggested`` only given at creation,
    because the owner of the topic may choose otherwise. ``co_partitioned``: its partition count is that
    of the table, and another one stops a worker."""

    field: str
    name: str
    partitions: int
    replication: int
    configs: Mapping[str, str]
    suggested: Mapping[str, str] = {}
    co_partitioned: bool = False


class Problem(NamedTuple):
    """``severity``: "error" stops or endangers a worker, "warning" is worth knowing."""

    severity: Literal["error", "warning"]
    topic: str
    what: str
    remedy: str


def declared(settings: Settings, timestamps: Timestamps = "LogAppendTime") -> tuple[Topic, ...]:
    """All topics of a deployment, the changelog included."""
    names = settings.topics
    safe = {"min.insync.replicas": str(settings.min_isr)}
    delete = {"cleanup.policy": "delete"}
    forever = {"cleanup.policy": "compact"}
    stamped = {"message.timestamp.type": timestamps}

    def keep(days: int) -> dict[str, str]:
        return {"retention.ms": str(days * DAY_MS)}

    def topic(
        field: str,
        configs: Mapping[str, str],
        suggested: Mapping[str, str] | None = None,
        partitions: int = settings.partitions,
    ) -> Topic:
        return Topic(
            field=field,
            name=settings.changelog if field == "changelog" else getattr(names, field),
            partitions=partitions,
            replication=settings.replication,
            configs={**configs, **safe},
            suggested=suggested or {},
            co_partitioned=field in SOURCES or field == "changelog",
        )

    # 400 days: the reach of a row's ledger, so that a rebuild can find what a row may hold. Retention looks at the
    # records' own timestamps: a copy of an older log would be deleted before it is read.
    owners = {**stamped, **(keep(400) if timestamps == "LogAppendTime" else {"retention.ms": "-1"})}
    dead_letter = {
        "max.message.bytes": str(max(1_048_588, settings.dead_letter_max_bytes + _RECORD_OVERHEAD))
    }
    return (
        topic("engagement", delete, owners),
        topic("lead", delete, owners),
        topic("deal", delete, owners),
        topic("inbox", delete | keep(7), stamped),
        topic("market", delete, owners, partitions=1),
        # All of it for ever: who was active when a lead was routed is asked again by every fold of its past, and what
        # compaction would leave of an owner is the last word only (decision 0016).
        topic("reference", delete | {"retention.ms": "-1"}, stamped, partitions=1),
        topic("stage_changes", delete | keep(90)),
        topic("handoffs", delete | keep(90)),
        topic("sla", delete | keep(90)),
        topic("nurture", delete | keep(90)),
        topic("handovers", delete | keep(90)),
        topic("restatements", delete | keep(400)),
        topic("dead_letters", delete | keep(14) | dead_letter),
        topic(
            "changelog",
            # Lag: a restore reads an even log, and a row that changes often is not rewritten each time.
            forever | {"min.compaction.lag.ms": str(600_000), "delete.retention.ms": str(DAY_MS)},
            # Bound: what a row no longer holds (an erasure) is gone from the log after a week at most.
            {"max.compaction.lag.ms": str(7 * DAY_MS)},
        ),
    )


def create(
    admin: Admin,
    settings: Settings,
    *,
    timestamps: Timestamps = "LogAppendTime",
    progress: Callable[[str], None] | None = None,
) -> list[str]:
    """Create the topics that are missing; their names. Existing ones are left as they are: see `check`."""
    wanted = declared(settings, timestamps)
    there = admin.topic_names()
    made = []
    for topic in wanted:
        if topic.name not in there:
            admin.create(
                topic.name, topic.partitions, topic.replication, {**topic.configs, **topic.suggested}
            )
            made.append(topic.name)
        if progress is not None:
            progress(topic.name)
    return made


def check(admin: Admin, settings: Settings) -> list[Problem]:
    """What of the real topics differs from the declared ones, worst first."""
    wanted = declared(settings)
    real = admin.topics(topic.name for topic in wanted)
    found = [problem for topic in wanted for problem in _compare(topic, real.get(topic.name))]
    return sorted(found, key=lambda problem: problem.severity)


def _compare(topic: Topic, real: TopicInfo | None) -> list[Problem]:
    def problem(severity: Literal["error", "warning"], what: str, remedy: str) -> Problem:
        return Problem(severity, topic.name, what, remedy)

    if real is None:
        return [problem("error", "does not exist", "run `leadstream topics create`")]
    found = []
    if real.partitions != topic.partitions:
        if topic.co_partitioned:
            found.append(
                problem(
                    "error",
                    f"has {real.partitions} partitions, the table {topic.partitions}: no worker will start",
                    "set `partitions` to the topic's number, or rebuild under another app_id and "
                    "topic_prefix; never add partitions to a live deployment: keys would leave their rows",
                )
            )
        else:
            found.append(
                problem(
                    "warning",
                    f"has {real.partitions} partitions, declared are {topic.partitions}",
                    "harmless, but order per key holds only since the last change of the number",
                )
            )
    if real.replication < topic.replication:
        found.append(
            problem(
                "error",
                f"is replicated {real.replication} times, declared are {topic.replication}",
                f"reassign it (kafka-reassign-partitions) or set replication = {real.replication}",
            )
        )
    for key, value in topic.configs.items():
        is_value = real.configs.get(key, "")
        if _as_wanted(key, value, is_value):
            continue
        severity: Literal["error", "warning"] = (
            "warning" if key in _MATTERS_LESS and value != "-1" else "error"
        )
        found.append(
            problem(
                severity,
                f"{key} = {is_value or '(not set)'}, declared is {value}",
                f"kafka-configs --alter --topic {topic.name} --add-config {key}={value}",
            )
        )
    stamps = topic.suggested.get("message.timestamp.type")
    if stamps and real.configs.get("message.timestamp.type") not in (stamps, None):
        found.append(
            problem(
                "warning",
                "message.timestamp.type = CreateTime: publishers' clocks decide when leadstream could know",
                f"kafka-configs --alter --topic {topic.name} --add-config message.timestamp.type={stamps}, "
                f"unless this is a simulation or a copy of an old log",
            )
        )
    return found


#: A longer or shorter memory is a choice; a wrong clean-up policy or too few replicas loses data.
_MATTERS_LESS = frozenset({"retention.ms", "min.compaction.lag.ms", "delete.retention.ms"})


def _as_wanted(key: str, wanted: str, real: str) -> bool:
    if key == "cleanup.policy":
        return set(real.split(",")) == set(wanted.split(","))
    if key in ("min.insync.replicas", "max.message.bytes", "retention.ms", "delete.retention.ms"):
        try:
            return int(real) == -1 or int(real) >= int(wanted) != -1
        except ValueError:
            return False
    return real == wanted
