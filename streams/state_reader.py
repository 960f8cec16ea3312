"""Rows as the changelog has them, read committed and without a worker: for figures, show, explain and handoffs.

Of each key the newest (epoch, revision) counts, wherever it lies in the log, as in a worker's restore.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from logging import getLogger

from processors import additive, figures, versions
from processors.additive import Contribution
from processors.model import Row, load
from streams.kafka_tools import Reader, partition_of
from streams.settings import Settings
from streams.topology import LeadTopology, build
from streams.work import SYSTEM, Headers

log = getLogger(__name__)

#: A value begins with the writer's epoch and the row's revision (`streams.table` writes them); not imported from
#: there, for that would load Faust into every command.
VERSION_BYTES = 8
VERSION_HEADER = "version"

#: Of leads whose rows were cut above the instant that is asked for; see `processors.hindsight`.
UNSURE = (
    "%d leads were erased since, or have more history than their rows keep: stages, handoffs and what was booked are told "
    "as they stood then, what they did to the end of that day, amounts of deals as they are now and lead quality without "
    "campaigns; a replay of the inputs has them exactly"
)

#: Told partitions read, and of how many.
Progress = Callable[[int, int], None]


def rows(settings: Settings, progress: Progress | None = None) -> Iterator[tuple[str, Row]]:
    """The rows of all subjects by key (kind letter, ``:``, id), partition by partition.

    :raises KafkaToolError: the changelog cannot be read; :raises RowVersionError: a newer program wrote it.
    """
    with Reader(settings) as reader:
        numbers = reader.partitions(settings.changelog)
        for done, number in enumerate(numbers, 1):
            for key, data in _newest(reader, settings, number).items():
                if key[:1] != SYSTEM:
                    yield key.decode(), load(data)
            if progress is not None:
                progress(done, len(numbers))


def row(settings: Settings, key: str) -> Row | None:
    """One row by its key, None if there is none; reads only the partition that it lies on."""
    wanted = key.encode()
    with Reader(settings) as reader:
        number = partition_of(wanted[2:], len(reader.partitions(settings.changelog)))
        found = _newest(reader, settings, number, wanted).get(wanted)
    return load(found) if found is not None else None


def loaded(pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, Row]]:
    """Rows from their stored bytes, as `Driver.all_rows` has them."""
    for key, data in pairs:
        yield key.decode(), load(data)


def topology(settings: Settings) -> LeadTopology:
    """The topology with all that reference and market data say now: the definitions in force, owners, rates.

    :raises DefinitionError: the settings' definition has mistakes; :raises KafkaToolError: no broker or topic.
    """
    built = build(settings)
    with Reader(settings) as reader:
        built.learn(reader.read([settings.topics.reference, settings.topics.market]))
    return built


def figures_of_rows(
    found: Iterable[tuple[str, Row]],
    logic: LeadTopology,
    as_of_ms: int | None = None,
    unsure: Callable[[int], object] = lambda n: log.warning(UNSURE, n),
) -> Contribution:
    """What some rows add to the figures, days and distributions included, as of an instant.

    :param as_of_ms: epoch ms; None: each row as of its own last transition.
    :param unsure: told of how many leads the rows keep too little to say exactly how they stood then (`UNSURE`).
    """
    totals: Contribution = {}
    forgotten = 0
    for key, each in found:
        scope = logic.scope(key.encode())
        if key[:1] in "la":
            versions.catch_up(each, scope)  # where no worker has reviewed it yet
        forgotten += as_of_ms is not None and figures.forgotten(each, as_of_ms)
        additive.add(totals, figures.of_row(key, each, scope, as_of_ms).items())
    if forgotten:
        unsure(forgotten)
    return totals


def _newest(reader: Reader, settings: Settings, number: int, only: bytes | None = None) -> dict[bytes, bytes]:
    """Key to row, without version."""
    found: dict[bytes, tuple[bytes, bytes | None]] = {}
    for record in reader.read([settings.changelog], partitions=[number]):
        key, value = record.key, record.value
        if key is None or (only is not None and key != only):
            continue
        current = found.get(key, (b"", b""))[0]
        # A tombstone without version was sent by hand: it deletes what is there.
        version = value[:VERSION_BYTES] if value is not None else _version(record.headers) or current
        if version >= current:
            found[key] = (version, value)
    return {key: value[VERSION_BYTES:] for key, (_, value) in found.items() if value is not None}


def _version(headers: Headers) -> bytes:
    return next((value for name, value in headers if name == VERSION_HEADER), b"")
