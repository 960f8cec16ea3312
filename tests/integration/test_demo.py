"""The demo as a visitor sees it: one command starts everything, and nothing is left of it at the end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Producer

from streams.demo.scrape import Figures, figures, get
from tests.conftest import PROJECT
from tests.eventually import eventually

pytestmark = pytest.mark.timeout(240)

READY_S = 120.0
END_S = 5.0


def environment() -> dict[str, str]:
    """Nothing is configured; Kafka's jars are where they are."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LEADSTREAM_") or k == "LEADSTREAM_CACHE"}
    return kept | {"PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"}


class Demo:
    """``leadstream demo`` in a folder of its own, what it prints, and all processes that it has started."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.family: dict[int, psutil.Process] = {}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streams.cli", "demo", "--weeks", "2", "--leads-per-day", "15", *options],
            cwd=folder,
            env=environment() | {"TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def until(self, pattern: str, seconds: float = READY_S) -> re.Match[str]:
        """What is printed sooner or later."""

        def found() -> re.Match[str] | None:
            match = re.search(pattern, self.text, re.MULTILINE)
            if match is None:
                assert self.process.poll() is None, self.text
            return match

        match = eventually(found, seconds, f"{pattern!r} in what the demo prints")
        assert match is not None
        return match

    def look(self) -> dict[int, psutil.Process]:
        """Remember the processes that there are now."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.family |= {child.pid: child for child in children}
        return self.family

    def workers(self) -> list[psutil.Process]:
        return [p for p in self.look().values() if p.is_running() and p.cmdline()[-1:] == ["worker"]]

    @property
    def urls(self) -> list[str]:
        return sorted(set(re.findall(r"(http://127\.0\.0\.1:\d+)/metrics", self.text)))

    def figures(self) -> Figures:
        return figures(page for url in self.urls if (page := get(url)))

    def ends_within(self, seconds: float) -> None:
        """The process, and everything that it has started, is gone by then."""
        deadline = time.monotonic() + seconds
        self.process.wait(seconds)
        self._reader.join(seconds)
        eventually(lambda: not self.left(), max(0.0, deadline - time.monotonic()), "the end of all processes")

    def left(self) -> list[psutil.Process]:
        return [p for p in self.family.values() if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    def close(self) -> None:
        """Whatever the test has found: leave nothing behind."""
        if self.process.poll() is None:
            self.look()
            self.process.kill()
            self.process.wait()
        for process in self.left():
            process.kill()
        self._reader.join(END_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def starting(folder: Path) -> Iterator[Any]:
    demos: list[Demo] = []

    def start(*options: str) -> Demo:
        demos.append(Demo(folder, *options))
        return demos[-1]

    yield start
    for demo in demos:
        demo.close()


def leadstream(folder: Path, *arguments: str) -> Any:
    """A command in the folder of the demo, without any configuration; its JSON."""
    answer = subprocess.run(
        [sys.executable, "-m", "streams.cli", *arguments, "--json"],
        check=False, capture_output=True, text=True, timeout=60, cwd=folder, env=environment(),
    )  # fmt: skip
    return json.loads(answer.stdout) if answer.returncode == 0 else None


def test_the_demo_shows_a_funnel_takes_events_of_others_and_ends_in_time(folder: Path, starting: Any) -> None:
    demo = starting("--once", "25")
    bootstrap = demo.until(r"^BOOTSTRAP=(\S+)$")[1]
    demo.until("leadstream show")
    demo.look()
    assert len(demo.workers()) == 2
    assert len(demo.urls) == 2
    for url in demo.urls:
        assert get(url, "/livez") == "ok\n"
        assert f"{url}/readyz" in demo.text

    # A visitor with another client and a clock of their own asks to be called.
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    fields = {"role": "VP Sales", "company_size": 250, "industry": "software", "country": "DE"}
    for type_, payload in (
        ("created", {"source": "website", "generated_by": "marketing"}),
        ("attributes_changed", {"fields": fields}),
        ("form_submitted", {"form_id": "contact", "intent": "hand_raise"}),
    ):
        event = {"type": type_, "occurred_at": int(time.time() * 1000), "source_system": "visitor"}
        event |= {"subject": {"lead_id": "lead-9"}, "payload": payload}
        producer.produce("lead.events.v1", json.dumps(event), "lead-9")
    assert producer.flush(10) == 0
    demo.until(r"^handoff .*: lead-9 \(raised a hand\) to owner-\d", 30)
    shown = leadstream(folder, "show", "lead-9")
    assert shown["journeys"][0]["handoffs"][0]["outcome"] in ("open", "accepted", "rejected")

    # The same funnel on the workers' pages: believable, and of two workers.
    eventually(lambda: demo.figures().one("transport_live_partitions") == 8, 30, "all partitions are live")
    seen = demo.figures()
    stages = [s for s in ("known", "engaged", "mql", "sal", "sql") if seen.one("stage_balance", s)]
    assert len(stages) >= 3, seen.all("stage_balance")
    assert seen.one("handoffs", "accepted") > 0
    assert seen.one("handoffs", "rejected") > 0
    assert seen.one("sla_clocks", "first_touch", "breached") > 0

    demo.until(
        r"^\w{3} \d{4}-\d\d-\d\d \d\d:\d\d \| \d+ events/s \| anonymous [\d,]+, known .* worker-2 live: 4 partitions"
    )
    demo.process.wait(60)  # its time is up
    demo.ends_within(END_S)
    assert demo.process.returncode == 0, demo.text
    took = re.search(r"^stopped within ([\d.]+) s", demo.text, re.MULTILINE)
    assert took is not None
    assert float(took[1]) < END_S
    assert "Traceback" not in demo.text
    assert sorted(p.name for p in folder.rglob("*")) == [".leadstream", "demo.lock"]


def test_the_demo_goes_on_without_a_worker_and_ends_at_once_when_asked_to(
    folder: Path, starting: Any
) -> None:
    demo = starting()
    demo.until(r"worker-1 live.* worker-2 live")
    victim = demo.workers()[0]
    victim.kill()
    demo.until(r"^worker-[12] has ended with code -9", 10)
    demo.until(r"worker-[12] live: 8 partitions", 60)
    demo.look()
    demo.process.send_signal(signal.SIGINT)
    demo.ends_within(END_S)
    assert demo.process.returncode == 0, demo.text
    assert "Traceback" not in demo.text
    assert sorted(p.name for p in folder.rglob("*")) == [".leadstream", "demo.lock"]


def test_the_demo_can_be_stopped_while_it_starts(folder: Path, starting: Any) -> None:
    demo = starting()
    demo.until("starting Apache Kafka")
    eventually(lambda: len(demo.look()) >= 1, 30, "the broker's process")
    demo.process.send_signal(signal.SIGTERM)
    demo.ends_within(END_S)
    assert demo.process.returncode == 0, demo.text
    assert "Traceback" not in demo.text
    assert sorted(p.name for p in folder.rglob("*")) == [".leadstream", "demo.lock"]
