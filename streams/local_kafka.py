"""A real Apache Kafka on this machine: for the demo, the tests and the bench, never for production.

Needs Java 17 or newer and, for the first fetch of the jars, Maven::

    python -m streams.local_kafka fetch
    python -m streams.local_kafka run --brokers 1
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from streams.kafka_jars import KAFKA_VERSION, LocalKafkaError, console_tool, fetch, jvm, require

__all__ = ["LocalKafka", "LocalKafkaError", "console_tool", "fetch", "free_ports"]

# The log cleaner's default buffer of 128 MB would end a small heap.
_SMALL = """\
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=8388608
log.segment.bytes=67108864
num.network.threads=2
num.io.threads=2
background.threads=2
"""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now.

    Taken from below the range that the system gives to outgoing connections: a client that
    reconnects must not sit on the port of a broker which is about to come back.
    """
    held: list[socket.socket] = []
    try:
        for _ in range(500):
            candidate = socket.socket()
            try:
                candidate.bind(("127.0.0.1", random.randint(15_000, 32_000)))
            except OSError:
                candidate.close()
                continue
            held.append(candidate)
            if len(held) == count:
                return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()
    raise LocalKafkaError("no free TCP ports between 15000 and 32000 on 127.0.0.1")


class _Node:
    """One broker-and-controller process and the guard that ends it should we be killed."""

    def __init__(self, number: int, directory: Path) -> None:
        self.number = number
        self.directory = directory
        self.port = self.controller = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.guard: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.directory / "kafka.log"

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def launch(self, command: list[str]) -> None:
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C goes to us, and we stop the clients first.
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.directory,
            )
        self.guard = subprocess.Popen(
            ["sh", "-c", 'read done || kill -TERM "$1"', "sh", str(self.process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def wait(self, deadline: float) -> None:
        """Until the process has ended; killed when it has not by the deadline (monotonic)."""
        if self.process is not None:
            try:
                self.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.guard is not None:
            self.guard.communicate(b"done\n")
        self.process = self.guard = None

    def last_words(self) -> str:
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        telling = [line for line in lines if " ERROR " in line or "Exception" in line]
        return "\n".join((telling or lines)[-8:])


class LocalKafka:
    """Apache Kafka in KRaft mode with ``brokers`` nodes (1 or 3), data in ``directory``.

    A context manager. Nodes are numbered from 1; ``start``, ``stop`` and ``kill`` take one of them,
    or all when none is named. Stopped or killed nodes keep their data and their ports.

    :param heap: the JVM's maximum heap per node; by default the least that works.
    :param full_jit: the JVM's usual compilers and collector, for benchmarks.
    :param settings: further broker properties; they win over those of this class.
    """

    def __init__(
        self,
        directory: Path | str,
        heap: str | None = None,
        brokers: int = 1,
        *,
        full_jit: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        if brokers not in (1, 3):
            raise LocalKafkaError(f"a local Kafka has 1 or 3 brokers, not {brokers}")
        self.directory = Path(directory).resolve()
        self._heap = heap or ("160m" if brokers == 1 else "192m")
        self._full_jit = full_jit
        self._settings = dict(settings or {})
        self._nodes = {n: _Node(n, self.directory / f"node-{n}") for n in range(1, brokers + 1)}
        self._formatted = False

    # -- what there is -------------------------------------------------------------------------

    @property
    def bootstrap(self) -> str:
        """The addresses for clients; known from the first ``start`` on."""
        if not self._formatted:
            raise LocalKafkaError("this Kafka was not started yet, so it has no address")
        return ",".join(f"127.0.0.1:{node.port}" for node in self._nodes.values())

    @property
    def pids(self) -> dict[int, int]:
        """Process ids of the nodes that run, by node number."""
        running = {n: node.process for n, node in self._nodes.items() if node.alive}
        return {n: process.pid for n, process in running.items() if process is not None}

    @property
    def pid(self) -> int:
        """Process id of the first node that runs."""
        try:
            return next(iter(self.pids.values()))
        except StopIteration:
            raise LocalKafkaError("no node of this Kafka is running") from None

    def log(self, node: int = 1) -> Path:
        """The file with what the node has logged."""
        return self._nodes[node].log

    # -- start and end -------------------------------------------------------------------------

    def start(self, node: int | None = None, timeout: float = 90.0) -> Self:
        """Start all nodes, or one, and wait until every running one serves clients.

        :raises LocalKafkaError: Java or the jars are missing, or a node does not come up.
        """
        deadline = time.monotonic() + timeout
        fresh = not self._formatted
        for attempt in range(3):
            if fresh:
                self._format()
            for each in self._chosen(node):
                if not each.alive:
                    each.wait(time.monotonic())  # a crashed one is reaped first
                    each.launch([*self._command(), "kafka.Kafka", str(each.directory / "server.properties")])
            try:
                self._wait_ready(deadline)
            except LocalKafkaError:
                taken = any("Address already in use" in each.last_words() for each in self._nodes.values())
                self.kill(node)
                # Somebody took a port between our look and the broker's bind: look again.
                if fresh and taken and attempt < 2:
                    continue
                raise
            except BaseException:
                self.kill(node)
                raise
            break
        return self

    def stop(self, node: int | None = None, timeout: float = 10.0) -> None:
        """End all nodes, or one, in an orderly way (SIGTERM); killed after ``timeout`` seconds."""
        self._end(node, signal.SIGTERM, timeout)

    def kill(self, node: int | None = None) -> None:
        """End all nodes, or one, at once (SIGKILL), as a power cut would."""
        self._end(node, signal.SIGKILL, 10.0)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # -- inside --------------------------------------------------------------------------------

    def _chosen(self, node: int | None) -> list[_Node]:
        return list(self._nodes.values()) if node is None else [self._nodes[node]]

    def _end(self, node: int | None, number: signal.Signals, timeout: float) -> None:
        for each in self._chosen(node):
            each.signal(number)
        deadline = time.monotonic() + timeout
        for each in self._chosen(node):
            each.wait(deadline)

    def _command(self) -> list[str]:
        return jvm(fetch(), self._heap, full_jit=self._full_jit)

    def _format(self) -> None:
        """Choose ports, write the properties and format the data folders of every node."""
        nodes = list(self._nodes.values())
        ports = free_ports(2 * len(nodes))
        cluster, directories = _kafka_id(), {node.number: _kafka_id() for node in nodes}
        for node, port, controller in zip(nodes, ports[::2], ports[1::2], strict=True):
            node.port, node.controller = port, controller
        quorum = ",".join(f"127.0.0.1:{node.controller}" for node in nodes)
        voters = ",".join(f"{n.number}@127.0.0.1:{n.controller}:{directories[n.number]}" for n in nodes)
        layout = ["--standalone"] if len(nodes) == 1 else ["--initial-controllers", voters]
        command = [*self._command(), "kafka.tools.StorageTool", "format", "-t", cluster, *layout, "-c"]
        running: list[tuple[_Node, subprocess.Popen[str]]] = []
        for node in nodes:
            shutil.rmtree(node.directory / "data", ignore_errors=True)
            node.directory.mkdir(parents=True, exist_ok=True)
            node.log.unlink(missing_ok=True)
            properties = node.directory / "server.properties"
            properties.write_text(self._properties(node, quorum), encoding="utf-8")
            running.append(
                (
                    node,
                    subprocess.Popen(
                        [*command, str(properties)],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT,
                        text=True,
                    ),
                )
            )
        for node, process in running:
            said, _ = process.communicate(timeout=120)
            if process.returncode:
                raise LocalKafkaError(
                    f"formatting node {node.number} in {node.directory} failed; Kafka said:\n"
                    + "\n".join(said.strip().splitlines()[-8:])
                )
        self._formatted = True

    def _properties(self, node: _Node, quorum: str) -> str:
        replicas, in_sync = (1, 1) if len(self._nodes) == 1 else (3, 2)
        listeners = f"PLAINTEXT://127.0.0.1:{node.port},CONTROLLER://127.0.0.1:{node.controller}"
        properties = dict(line.split("=", 1) for line in _SMALL.splitlines())
        properties |= {
            "process.roles": "broker,controller",
            "node.id": str(node.number),
            "controller.quorum.bootstrap.servers": quorum,
            "listeners": listeners,
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dir": str(node.directory / "data"),
            # After a kill a broker may register again only when its old session has ended.
            "broker.session.timeout.ms": "6000",
            "broker.heartbeat.interval.ms": "1000",
        }
        for topic in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
            properties[f"{topic}.replication.factor"] = str(replicas)
        for topic in ("transaction.state.log", "share.coordinator.state.topic"):
            properties[f"{topic}.min.isr"] = str(in_sync)
        if replicas > 1:
            properties |= {
                "default.replication.factor": str(replicas),
                "min.insync.replicas": str(in_sync),
            }
        properties |= self._settings
        return "".join(f"{name}={value}\n" for name, value in properties.items())

    def _wait_ready(self, deadline: float) -> None:
        """Until the cluster names as many brokers as processes run, and each takes connections."""
        while True:
            for node in self._nodes.values():
                if node.process is not None and not node.alive:
                    raise LocalKafkaError(
                        f"node {node.number} ended with code {node.process.returncode} while starting; "
                        f"its log is {node.log}:\n{node.last_words()}"
                    )
            running = {n for n, node in self._nodes.items() if node.alive}
            if _serving([self._nodes[n].port for n in running], running):
                return
            if time.monotonic() > deadline:
                words = "\n".join(self._nodes[n].last_words() for n in sorted(running))
                raise LocalKafkaError(
                    f"Kafka did not become ready in time; logs are in {self.directory}:\n{words}"
                )
            time.sleep(0.1)


def _kafka_id() -> str:
    """As ``kafka-storage random-uuid``: Kafka's tools take one that begins with ``-`` for an option."""
    while True:
        text = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        if not text.startswith("-"):
            return text


def _serving(ports: Iterable[int], expected: set[int]) -> bool:
    """Whether each broker knows of all the expected ones."""
    return all(_known_brokers(port) >= expected for port in ports)


def _known_brokers(port: int) -> set[int]:
    """Node ids in the broker's metadata; empty while it does not answer.

    One Metadata request (version 1) by hand: a client library would bring retries and log lines
    for the refused connections that are usual while a broker starts.
    """
    client = b"leadstream"
    body = b"\0\3\0\1\0\0\0\1" + len(client).to_bytes(2, "big") + client + b"\0\0\0\0"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
            connection.sendall(len(body).to_bytes(4, "big") + body)
            reader = connection.makefile("rb")
            answer = reader.read(int.from_bytes(reader.read(4), "big"))
    except OSError:
        return set()
    if len(answer) < 8:
        return set()
    found, at = set(), 8
    for _ in range(int.from_bytes(answer[4:8], "big")):
        found.add(int.from_bytes(answer[at : at + 4], "big"))
        at += 6 + int.from_bytes(answer[at + 4 : at + 6], "big") + 4  # node id, host, port
        rack = int.from_bytes(answer[at : at + 2], "big", signed=True)
        at += 2 + max(rack, 0)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Fetch Kafka's jars, see whether that is possible, or run a broker until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m streams.local_kafka", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="see whether Java and Maven are there; fetches nothing")
    commands.add_parser("fetch", help="fetch Apache Kafka's jars into the cache")
    run = commands.add_parser("run", help="run a broker until Ctrl-C; its data is thrown away")
    run.add_argument("--directory", type=Path, help="folder for data and logs (default: a temporary one)")
    run.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    run.add_argument("--heap", help="heap per node, e.g. 1g (default: 160m, or 192m each of three)")
    run.add_argument("--full-jit", action="store_true", help="the JVM's usual compilers, for benchmarks")
    options = parser.parse_args(arguments)
    try:
        if options.command == "check":
            require()
            return 0
        if options.command == "fetch":
            print(f"Apache Kafka {KAFKA_VERSION} is in {fetch()}")
            return 0
        return _run(options)
    except LocalKafkaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    with tempfile.TemporaryDirectory(prefix="leadstream-kafka-") as temporary:
        kafka = LocalKafka(
            options.directory or temporary, options.heap, options.brokers, full_jit=options.full_jit
        )
        try:
            with kafka:
                print(kafka.bootstrap, flush=True)
                while True:
                    signal.pause()
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
