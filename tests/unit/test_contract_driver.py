"""The contract of the topology, on the in-process driver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from schemas.codec import decode_output, encode_event
from streams.dead_letters import PREFIX
from streams.driver import Driver
from streams.settings import ALL_OUTPUTS, Settings
from streams.topology import build
from streams.work import Headers, Record
from tests.contract import DEFINITION, REFERENCE, START_MS, Dead, TopologyContract
from tests.contract_people import PeopleContract
from tests.integration.pipeline import record_of
from tests.subscriber import Output, Subscriber


class InProcess:
    """A `Deployment` on the driver."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.driver = Driver(build(settings), START_MS)
        self._learn()

    def _learn(self) -> None:
        self.driver.topology.learn(
            Record(self.settings.topics.reference, 0, n, event["occurred_at"], None, encode_event(event))
            for n, event in enumerate(REFERENCE)
        )

    def now_ms(self) -> int:
        return self.driver.now_ms

    def publish(self, *events: Mapping[str, Any]) -> None:
        for event in events:
            sent = record_of(self.settings, event)
            self.append(sent.field, sent.key, sent.value)

    def append(
        self,
        field: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int | None = None,
    ) -> None:
        self.driver.publish(
            getattr(self.settings.topics, field), key, value, headers=headers, partition=partition
        )

    def wait(self, until_ms: int) -> None:
        if self.driver.live:
            self.driver.run()
            self.driver.advance(max(until_ms, self.now_ms()))
        else:
            self.driver.now_ms = max(until_ms, self.now_ms())

    def settle(self) -> None:
        self.driver.run()

    def eventually(self, condition: Callable[[], Any], what: str) -> Any:
        self.settle()
        found = condition()
        assert found, what
        return found

    def heard(self) -> Subscriber:
        subscriber = Subscriber()
        for field in ALL_OUTPUTS:
            if field != "dead_letters":
                subscriber.take_all(self.driver.read(getattr(self.settings.topics, field)))
        return subscriber

    def said(self, field: str, key: str = "") -> list[Output]:
        found = (
            r for r in self.driver.read(getattr(self.settings.topics, field)) if key.encode() in (b"", r.key)
        )
        return [decode_output(r.value or b"")[1] for r in found]

    def dead(self) -> list[Dead]:
        found = []
        for r in self.driver.read(self.settings.topics.dead_letters):
            code = dict(r.headers)[f"{PREFIX}code"].decode()
            found.append(Dead(code, r.key, r.value, {n: v for n, v in r.headers if not n.startswith(PREFIX)}))
        return found

    def counted(self, metric: str, **labels: str) -> float:
        families = text_string_to_metric_families(self.driver.topology.exposition())
        samples = (s for family in families for s in family.samples)
        return sum(s.value for s in samples if s.name == metric and labels.items() <= s.labels.items())

    def partition_of(self, subject_id: str) -> int:
        return self.driver.topology.partition_of(subject_id)

    def down(self) -> None:
        self.driver.live = False

    def up(self) -> None:
        self.driver.restart(build(self.settings))
        self._learn()
        self.driver.run(batch=2)  # so that a backlog is many steps
        self.driver.catch_up()


class TestDriver(TopologyContract, PeopleContract):
    @pytest.fixture
    def d(self, tmp_path: Path) -> InProcess:
        path = tmp_path / "contract.toml"
        path.write_text(DEFINITION)
        return InProcess(Settings(partitions=4, definition=str(path)))
