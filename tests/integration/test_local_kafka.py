"""The local broker is a real one: Java clients, a kill with data kept, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from streams.local_kafka import LocalKafka, console_tool
from tests.eventually import eventually

pytestmark = pytest.mark.integration

LINES = b"lead-1|one\nlead-2|two\n"


def produce(kafka: LocalKafka, topic: str) -> None:
    options = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=|"]
    command = [
        *console_tool("ConsoleProducer"),
        "--bootstrap-server",
        kafka.bootstrap,
        "--topic",
        topic,
        *options,
    ]
    subprocess.run(command, input=LINES, check=True, timeout=60, capture_output=True)


def consume(kafka: LocalKafka, topic: str, count: int) -> list[bytes]:
    options = ["--from-beginning", "--max-messages", str(count), "--timeout-ms", "20000"]
    command = [
        *console_tool("ConsoleConsumer"),
        "--bootstrap-server",
        kafka.bootstrap,
        "--topic",
        topic,
        *options,
    ]
    answer = subprocess.run(
        [*command, "--formatter-property", "print.key=true"], check=True, timeout=60, capture_output=True
    )
    return sorted(answer.stdout.splitlines())


def test_java_console_tools_write_and_read(kafka: LocalKafka, topics: Callable[..., list[str]]) -> None:
    (topic,) = topics("console")
    produce(kafka, topic)
    assert consume(kafka, topic, 2) == [b"lead-1\tone", b"lead-2\ttwo"]


def test_a_killed_broker_comes_back_with_its_data_at_its_address(tmp_path: Path) -> None:
    from tests.conftest import create_topics

    with LocalKafka(tmp_path) as own:
        address, pid = own.bootstrap, own.pid
        create_topics(address, ["kept"], 1)
        produce(own, "kept")
        own.kill()
        assert own.pids == {}
        own.start()
        assert own.bootstrap == address
        assert own.pid != pid
        assert consume(own, "kept", 2) == [b"lead-1\tone", b"lead-2\ttwo"]


def test_no_broker_outlives_a_killed_owner(tmp_path: Path) -> None:
    script = "import sys; from streams.local_kafka import LocalKafka\n"
    script += "k = LocalKafka(sys.argv[1]).start(); print(k.pid, flush=True); sys.stdin.read()"
    owner = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    with owner:
        broker = psutil.Process(int(owner.stdout.readline()))
        os.kill(owner.pid, signal.SIGKILL)
    eventually(lambda: not broker.is_running() or broker.status() == psutil.STATUS_ZOMBIE, 30, "broker gone")
