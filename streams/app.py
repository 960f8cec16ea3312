"""The composition root: everything that runs is put together here, and nowhere else.

engagement, lead, deal, inbox ─▶ consumer ─▶ agent ─▶ tasks ─▶ topology ─▶ delivery ─▶ outputs, changelog
                                                        ▲ rows                              │
                                                      table ◀─────────── merge ─────────────┘
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import faust
import mode
from aiokafka.structs import TopicPartition

from streams.clock import clock_of
from streams.delivery import Delivery
from streams.reference import ReferenceReader
from streams.settings import SIDE_INPUTS, SOURCES, TABLE, Settings
from streams.status import Status
from streams.table import PartitionTable
from streams.tasks import Task, Tasks
from streams.transport import driver
from streams.transport.batch import BatchSchema
from streams.transport.pace import Pace
from streams.transport.preflight import Preflight
from streams.transport.security import client_options, credentials
from streams.transport_metrics import TransportMetrics
from streams.watchdog import Watchdog
from streams.web.side import SideServer
from streams.work import SourceRecord, Topology


class Logic(Topology, Protocol):
    """What a worker runs: a topology that also learns reference data and has figures."""

    def learn(self, records: Sequence[SourceRecord]) -> None: ...

    def exposition(self) -> str: ...


class App(faust.App):
    """Faust's application with our parts attached; `create_app` fills them in."""

    table: PartitionTable
    tasks: Tasks
    pace: Pace
    metrics: TransportMetrics
    preflight: Preflight
    reference: ReferenceReader
    watchdog: Watchdog
    side: SideServer
    status: Status
    #: Set once something has ended the process; ``crash_reason`` says what.
    failed: asyncio.Event
    #: How any other client reaches the brokers (aiokafka's options).
    client: dict[str, Any]
    transaction_timeout_ms: int
    #: Topics; the inbox is one of the sources.
    sources: tuple[str, ...]
    inbox: str
    report: logging.Logger

    def on_init_dependencies(self) -> Iterator[Any]:
        """First what must be there before Kafka is: the probes, then the checks."""
        yield from (self.side, self.watchdog, self.preflight, self.reference)
        yield from super().on_init_dependencies()

    def _create_directories(self) -> None:
        """Nothing is kept on disk: the state is in Kafka."""

    def FlowControlQueue(self, maxsize: int | None = None, **_: Any) -> Any:  # noqa: N802 (Faust's name)
        """Resuming must not throw away what was fetched a moment before, as Faust would have it."""
        return super().FlowControlQueue(maxsize, clear_on_resume=False)

    def _crash(self, reason: BaseException) -> None:
        if not self.crashed:
            super()._crash(reason)
            self.failed.set()

    def crash_soon(self, error: BaseException) -> None:
        """End the process, from where one cannot await."""
        self.add_future(self.crash(error))


def create_app(settings: Settings, topology: Logic) -> App:
    """Wire a worker; to be called on the event loop that will run it."""
    sources = settings.topics.named(*SOURCES)
    clock = clock_of(settings)
    app = App(settings.app_id, **faust_options(settings))
    app.report = logging.getLogger("leadstream")
    app.failed = asyncio.Event()
    app.sources, app.inbox = tuple(sources), settings.topics.inbox
    app.client = client_options(settings)
    app.transaction_timeout_ms = int(settings.transaction_timeout_s * 1000)
    app.pace = Pace(settings.cpu_share, settings.longest_wait_ms / 1000, settings.min_bytes)
    app.table = app.Table(TABLE, partitions=settings.partitions, sources=sources)
    app.preflight = Preflight(settings, beacon=app.beacon)
    app.reference = ReferenceReader(
        settings.topics.named(*SIDE_INPUTS),
        app.preflight.partitions.__getitem__,
        app.client,
        topology.learn,
        beacon=app.beacon,
    )

    def make_task(number: int) -> Task:
        return Task(
            number,
            sources,
            topology,
            app.table.partition(number),
            Delivery(
                app.producer.for_task(app.table.task_id(number)),
                settings.app_id,
                TopicPartition(settings.changelog, number),
                app.preflight.partitions.__getitem__,
            ),
            clock,
            slice_s=settings.slice_ms / 1000,
            tick_s=settings.tick_ms / 1000,
            max_batch_records=settings.max_batch_records,
            on_change=app.status.changed,
            past_is_read=lambda: app.tasks.past_is_read,
        )

    app.tasks = Tasks(make_task, app)
    app.metrics = TransportMetrics(app, sources)
    app.status = Status(app, settings.ready_file)
    app.watchdog = Watchdog(app.status.busy, app.status.progress, settings.stuck_limit_s, beacon=app.beacon)
    app.side = SideServer(
        settings.web_host,
        settings.web_port,
        alive=app.watchdog.stuck,
        ready=app.status.not_ready,
        exposition=lambda: exposition(app, topology),
        beacon=app.beacon,
    )

    inputs = app.topic(*sources, schema=BatchSchema(key_type=bytes, value_type=bytes))

    @app.agent(inputs, concurrency=1)  # type: ignore[untyped-decorator] # Faust is untyped here
    async def dispatch(stream: Any) -> None:
        async for event in stream.noack().events():
            app.tasks.put(event)

    return app


def exposition(app: App, topology: Logic) -> str:
    """The text of ``/metrics``: the topology's figures and the transport's own work."""
    return topology.exposition() + app.metrics.exposition()


def faust_options(settings: Settings) -> dict[str, Any]:
    """Our settings in Faust's words."""
    return {
        "broker": driver.broker_urls(settings.bootstrap),
        "broker_credentials": credentials(settings),
        "Table": PartitionTable,  # a table made beside the app would not be registered
        "store": "memory://",
        "cache": "memory://",
        "datadir": settings.data_dir,
        "web_enabled": False,
        "topic_partitions": settings.partitions,
        "topic_replication_factor": settings.replication,
        "topic_allow_declare": False,  # `leadstream topics create` does
        "topic_disable_leader": True,
        "table_standby_replicas": settings.standbys,
        "agent_supervisor": mode.CrashingSupervisor,
        "consumer_auto_offset_reset": "earliest",
        "consumer_group_instance_id": settings.instance_id or None,
        "broker_session_timeout": settings.session_timeout_s,
        "broker_heartbeat_interval": min(3.0, settings.session_timeout_s / 4),
        "broker_rebalance_timeout": 30.0,
        "broker_request_timeout": max(30.0, settings.session_timeout_s + 5.0),
        "broker_commit_interval": 60.0,  # nothing to commit: offsets travel in transactions
        "broker_max_poll_records": settings.max_poll_records,
        "producer_max_batch_size": 512 * 1024,
        "stream_buffer_maxsize": 4096,  # in batches; `Tasks.wants` is what holds the fetcher back
    }
