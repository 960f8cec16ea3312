"""Topics, traffic, worker processes and readings of one test of the transport."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from streams.settings import ALL_OUTPUTS, SIDE_INPUTS, SOURCES, Settings
from streams.table import VERSION_BYTES
from tests.conftest import PROJECT, create_topics
from tests.eventually import eventually
from tests.integration.toy import Subject, decode

#: Where, key, value.
Traffic = Iterable[tuple[str, str, str]]


class Worker:
    """One worker process, its log and what it says on its port."""

    #: What runs, as arguments of Python.
    program: tuple[str, ...] = ("-m", "tests.integration.toy_worker")

    def __init__(self, name: str, folder: Path, env: dict[str, str]) -> None:
        self.name = name
        self.ready_file = folder / f"{name}.ready"
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.program],
                cwd=PROJECT,
                stdout=log,
                stderr=log,
                env={**os.environ, **env, "LEADSTREAM_READY_FILE": str(self.ready_file)},
            )

    def lines(self, text: str = "") -> list[str]:
        return [line for line in self.log.read_text(errors="replace").splitlines() if text in line]

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def said(self) -> dict[str, object]:
        return json.loads(self.ready_file.read_text()) if self.ready_file.exists() else {}

    def get(self, path: str) -> tuple[int, str]:
        url = str(self.said().get("url", ""))
        try:
            with urllib.request.urlopen(f"{url}{path}", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (OSError, ValueError):
            return 0, ""

    def metric(self, name: str) -> float:
        """Sum over its series; 0 if there is none."""
        pattern = re.compile(rf"^{name}(?:\{{.*\}})? (\S+)$", re.MULTILINE)
        return sum(float(value) for value in pattern.findall(self.get("/metrics")[1]))

    def partitions(self) -> list[int]:
        """Those it works on now; a worker that is not ready has none."""
        if not self.alive or self.get("/readyz")[0] != 200:
            return []
        found = self.said().get("partitions", [])
        assert isinstance(found, list)
        return found

    def stop(self) -> tuple[int, float]:
        """Exit code and seconds after SIGTERM."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(15)
        return code, time.monotonic() - started

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Stored(NamedTuple):
    rows: dict[str, Subject]
    #: Changelog records whose version is not above the one before them.
    stale: int


class Lab:
    """One deployment of its own: topics, group, workers. ``with`` ends the workers."""

    worker_type: type[Worker] = Worker

    def __init__(self, bootstrap: str, prefix: str, folder: Path, partitions: int = 4, **env: str) -> None:
        self.settings = Settings(
            bootstrap=bootstrap, topic_prefix=prefix, app_id=f"{prefix}app", partitions=partitions
        )
        self.topics = self.settings.topics
        self.folder = folder
        self.workers: dict[str, Worker] = {}
        self.crashed: list[str] = []
        self._env = {
            "LEADSTREAM_BOOTSTRAP": bootstrap,
            "LEADSTREAM_TOPIC_PREFIX": prefix,
            "LEADSTREAM_APP_ID": self.settings.app_id,
            "LEADSTREAM_PARTITIONS": str(partitions),
            "LEADSTREAM_WEB_PORT": "0",
            "LEADSTREAM_SESSION_TIMEOUT_S": "6",
            **{f"LEADSTREAM_{name.upper()}": value for name, value in env.items()},
        }

    def create_topics(self, *but: str) -> None:
        """All topics of the deployment but those (keys of the settings)."""
        names = self.topics.named(*(f for f in (*SOURCES, *ALL_OUTPUTS) if f not in but))
        create_topics(self.settings.bootstrap, list(names), self.settings.partitions)
        create_topics(self.settings.bootstrap, list(self.topics.named(*SIDE_INPUTS)), 1)
        self.create_topic(self.settings.changelog, self.settings.partitions, **{"cleanup.policy": "compact"})

    def create_topic(self, name: str, partitions: int, **config: str) -> None:
        create_topics(self.settings.bootstrap, [name], partitions, config)

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers.values():
            if worker.alive:
                worker.kill()

    # -- workers -------------------------------------------------------------------------------

    def start(self, name: str = "a", **env: str) -> Worker:
        more = {f"LEADSTREAM_{key.upper()}": value for key, value in env.items()}
        worker = self.workers[name] = self.worker_type(name, self.folder, {**self._env, **more})
        return worker

    def wait_ready(self, *names: str, timeout: float = 60) -> None:
        """Until these workers own every partition between them, each some."""
        workers = [self.workers[name] for name in names or self.workers]

        def all_owned() -> bool:
            dead = [worker for worker in workers if not worker.alive]
            assert not dead, f"{dead[0].name} has ended: {dead[0].lines()[-3:]}"
            owned = [worker.partitions() for worker in workers]
            return all(owned) and sorted(chain.from_iterable(owned)) == list(range(self.settings.partitions))

        eventually(all_owned, timeout, f"{[worker.name for worker in workers]} own all partitions")

    def revive(self) -> None:
        """What an orchestrator does: start again what has ended."""
        for name, worker in list(self.workers.items()):
            if not worker.alive:
                self.crashed.append(name)
                self.start(name)

    # -- records -------------------------------------------------------------------------------

    def send(self, traffic: Traffic, **config: object) -> int:
        """(field of the topic, key, value) each; how many."""
        producer = Producer(
            {
                "bootstrap.servers": self.settings.bootstrap,
                "linger.ms": 2,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "log_level": 2,
                **config,
            }
        )
        count = 0
        for field, key, value in traffic:
            while True:
                try:
                    producer.produce(getattr(self.topics, field), value, key)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
            count += 1
        assert producer.flush(60) == 0
        return count

    def read(self, *topics: str, isolation: str = "read_committed") -> list[Message]:
        """Everything in some topics up to their ends."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.settings.bootstrap,
                "group.id": f"{self.settings.app_id}-oracle",
                "enable.auto.commit": False,
                "isolation.level": isolation,
                "enable.partition.eof": True,
                "log_level": 2,
            }
        )
        known = consumer.list_topics(timeout=10).topics
        unfinished = {(topic, p) for topic in topics for p in known[topic].partitions}
        consumer.assign([TopicPartition(topic, p, 0) for topic, p in unfinished])
        found = []
        while unfinished:
            for message in consumer.consume(5_000, 0.05):
                if message.error():
                    unfinished.discard((message.topic(), message.partition()))
                else:
                    found.append(message)
        consumer.close()
        return found

    def lag(self) -> int:
        """Offsets of all sources that the group has not committed; -1: cannot be told now."""
        consumer = Consumer({"bootstrap.servers": self.settings.bootstrap, "group.id": self.settings.app_id})
        tps = [
            TopicPartition(topic, p)
            for topic in self.topics.named(*SOURCES)
            for p in range(self.settings.partitions)
        ]
        behind = 0
        try:
            committed = consumer.committed(tps, 10)
        except KafkaException:  # the coordinator of a young broker is not there yet
            return -1
        for done in committed:
            begin, end = consumer.get_watermark_offsets(TopicPartition(done.topic, done.partition))
            behind += end - (done.offset if done.offset >= 0 else begin)
        consumer.close()
        return behind

    def wait_idle(self, timeout: float = 60) -> None:
        """Until everything is read and committed, forwards included; crashed workers start again."""

        def idle() -> bool:
            self.revive()
            return self.lag() == 0

        eventually(idle, timeout, "no lag")

    def said(self, topic: str) -> list[tuple[str, str]]:
        """Key and value of all that was said on an output topic."""
        return [(m.key().decode(), m.value().decode()) for m in self.read(topic)]

    def stored(self) -> Stored:
        """What a restore would find."""
        rows: dict[str, bytes] = {}
        versions: dict[str, bytes] = {}
        stale = 0
        for message in self.read(self.settings.changelog):
            key, value = message.key().decode(), message.value()
            version = dict(message.headers())["version"] if value is None else value[:VERSION_BYTES]
            stale += version <= versions.get(key, b"")
            versions[key] = version
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value[VERSION_BYTES:]
        return Stored({key[2:]: decode(row) for key, row in rows.items()}, stale)
