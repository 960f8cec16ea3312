"""The demo from its start to its end: broker, history, workers, then traffic and view until somebody says stop."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TextIO

import msgspec
from msgspec import Struct
from rich.console import Console

from streams import topics
from streams.clock import ScaledClock, clock_of
from streams.demo.follower import Follower
from streams.demo.guide import guide, write_files
from streams.demo.show import Show
from streams.demo.stack import Workers
from streams.demo.traffic import Sent, Traffic, monday_after
from streams.errors import WorkerError
from streams.kafka_jars import require
from streams.kafka_tools import Admin, KafkaToolError, Publisher
from streams.local_kafka import LocalKafka
from streams.settings import DEMO_FILE, DEMO_LOCK, Settings

#: Ctrl-C is a promise of 5 s. What is not done by then is cut off, and the guards end what it leaves.
END_S = 4.5
_WORKERS_END_S, _PUBLISHER_END_S, _KAFKA_END_S = 2.5, 0.5, 1.0
#: From the choice of the start of simulated time until workers run, about: longer only means that the
#: first minutes come at once.
_HEAD_START_S = 3.0
_RECORDS_PER_S = 15_000
_READY_S = 90.0
_STEP_S = 0.05
_PARTITIONS_EACH = 4


class Options(Struct, frozen=True, kw_only=True):
    """What the user has chosen. ``once_s``: end after so many seconds of traffic, None: never."""

    speed: float
    seed: int
    leads_per_day: float
    weeks: int
    workers: int
    data_dir: Path | None = None
    once_s: float | None = None
    plain: bool = False


class DemoRunsError(Exception):
    """One demo per folder: other commands find it there."""


class FolderError(Exception):
    """A folder that the demo needs cannot be written; the text says what to do."""


def run(settings: Settings, options: Options, out: TextIO | None = None) -> int:
    """Run the demo until it is told to stop or its time is up; the exit code.

    :param settings: the user's; only the definition and the log level are taken from them.
    :raises LocalKafkaError: Java, Maven or the jars are missing.
    :raises WorkerError: a worker does not start, or Kafka has ended.
    :raises DemoRunsError: in this folder; :raises FolderError: it, or that of the data, cannot be written.
    """
    console = Console(file=out or sys.stdout, highlight=False, markup=False)
    # What the workers log is in their files; here it would tear the view. Errors are raised.
    logging.getLogger().addHandler(logging.NullHandler())
    stop, stack = Stop(), ExitStack()
    demo = _Demo(settings, options, console, stop, stack)
    with stop.listening():
        try:
            demo.run()
        except StoppedError:
            pass
        finally:
            stop.set()  # from here on a signal changes nothing
            began = time.monotonic()
            with _cut_off_after(END_S, lambda: demo.folder):
                stack.close()
    console.print(f"stopped within {time.monotonic() - began:.1f} s, nothing is left behind")
    return 0


class StoppedError(Exception):
    """Somebody asked for the end while things were being started."""


class Stop(threading.Event):
    """Set by the first SIGINT, SIGTERM or SIGHUP."""

    def __init__(self) -> None:
        super().__init__()
        self._raising = False

    def check(self) -> None:
        """:raises StoppedError: it is set."""
        if self.is_set():
            raise StoppedError

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """What is inside ends at once. Not for Kafka's client: that might hang at its own end then."""
        self.check()
        self._raising = True
        try:
            yield
        finally:
            self._raising = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = [signal.signal(number, self._asked) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def _asked(self, _number: int, _frame: FrameType | None) -> None:
        first = not self.is_set()
        self.set()
        if first and self._raising:
            raise StoppedError


@contextmanager
def _cut_off_after(seconds: float, folder: Callable[[], Path | None]) -> Iterator[None]:
    """End the process if what is inside takes longer, and say so.

    :param folder: the temporary one, None where there is none: it stays then.
    """

    def cut_off() -> None:
        left = folder()
        what = f"; delete what it leaves: {left}" if left is not None and left.exists() else ""
        text = f"the end took longer than {seconds:g} s and was cut off; Kafka and the workers end by themselves{what}"
        os.write(sys.stderr.fileno(), f"\n{text}\n".encode())
        os._exit(1)

    timer = threading.Timer(seconds, cut_off)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _locked() -> Iterator[None]:
    """Held as long as the demo lives; without it its settings file counts for nothing."""
    with _writable(DEMO_LOCK.parent, "start the demo in a folder that can be written"):
        lock = DEMO_LOCK.open("a")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoRunsError(
                f"a demo runs in this folder already ({DEMO_LOCK} is locked); end it, or start this one elsewhere"
            ) from None
        try:
            yield
        finally:
            DEMO_FILE.unlink(missing_ok=True)


@contextmanager
def _writable(folder: Path, remedy: str) -> Iterator[None]:
    """Makes the folder, and says what to do where it or what is made in it fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise FolderError(f"{folder}: {error.strerror}; {remedy}") from None


class _Demo:
    def __init__(
        self, settings: Settings, options: Options, console: Console, stop: Stop, stack: ExitStack
    ) -> None:
        self._options = options
        self._console = console
        self._stop = stop
        #: The temporary folder of Kafka's data and the logs, once there is one.
        self.folder: Path | None = None
        #: Everything that has to be ended, the last first.
        self._stack = stack
        definition = str(Path(settings.definition).resolve()) if settings.definition else ""
        self._settings = Settings(
            definition=definition,
            log_level=settings.log_level,
            partitions=_PARTITIONS_EACH * options.workers,
            web_port=0,
        )

    def run(self) -> None:
        options, say = self._options, self._say
        require()  # Java or Maven missing is told before anything is done
        self._stack.enter_context(_locked())
        folder = self._folder()
        start_ms = monday_after(time.time_ns() // 1_000_000)
        traffic = Traffic(self._settings, options.seed, options.leads_per_day, start_ms, options.weeks)
        say(f"playing {options.weeks} weeks of history, starting Apache Kafka ...")
        history = _Beside(lambda: traffic.history(self._stop.check))
        kafka = LocalKafka(folder / "kafka")
        if options.data_dir is None:
            self._stack.callback(kafka.kill)  # its data is thrown away
        else:
            self._stack.callback(kafka.stop, timeout=_KAFKA_END_S)
        with self._stop.interrupting():
            kafka.start()
        self._settings = msgspec.structs.replace(self._settings, bootstrap=kafka.bootstrap)
        with Admin(self._settings) as admin:
            topics.create(
                admin, self._settings, timestamps="CreateTime", progress=lambda _: self._stop.check()
            )
        past = history.result()
        clock = self._start_clock(start_ms, len(past))
        publisher = Publisher(self._settings)
        self._stack.callback(_close, publisher)
        self._publish_history(publisher, past, clock)
        say(f"published {len(past):,} records of history, starting {options.workers} workers ...")
        self._write_settings()
        follower = Follower(self._settings, self._settings.topics.named("handoffs", "sla"))
        follower.start()
        self._stack.callback(follower.close)
        workers = Workers(options.workers, DEMO_FILE.resolve(), folder)
        self._stack.callback(workers.stop, _WORKERS_END_S)
        workers.wait_ready(_READY_S, self._stop.check)
        show = Show(self._settings, clock, start_ms, workers, self._console, plain=options.plain)
        for file in write_files(DEMO_FILE.parent, self._settings, time.time_ns() // 1_000_000):
            self._stack.callback(file.unlink, missing_ok=True)
        say(guide(self._settings, show.workers(), DEMO_FILE.resolve(), folder))
        self._stack.enter_context(show)
        self._live(kafka, traffic, clock, publisher, follower, show)

    def _live(
        self,
        kafka: LocalKafka,
        traffic: Traffic,
        clock: ScaledClock,
        publisher: Publisher,
        follower: Follower,
        show: Show,
    ) -> None:
        end = time.monotonic() + self._options.once_s if self._options.once_s is not None else None
        while not self._stop.is_set() and (end is None or time.monotonic() < end):
            now_ms = clock.now_ms()
            for topic, value in follower.records():
                if topic == self._settings.topics.handoffs:
                    traffic.handed_over(value, now_ms)
                show.board.read(value)
            for at_ms, message in traffic.until(now_ms):
                publisher.send(message, clock.wall_ms(at_ms))
            show.refresh()
            if not kafka.pids:
                raise WorkerError(f"Apache Kafka has ended; its log:\n{kafka.log().read_text()[-2000:]}")
            self._stop.wait(_STEP_S)

    def _folder(self) -> Path:
        if self._options.data_dir is not None:
            with _writable(self._options.data_dir, "name a folder that can be written by --data-dir"):
                return self._options.data_dir.resolve()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="leadstream-demo-")))
        return self.folder

    def _start_clock(self, start_ms: int, records: int) -> ScaledClock:
        """Simulated time begins when the workers do, so that the first hours are not a backlog."""
        wall_ms = time.time_ns() // 1_000_000 + int(1000 * (_HEAD_START_S + records / _RECORDS_PER_S))
        speed = f"{self._options.speed:.3f}".rstrip("0").rstrip(".")
        text = f"scaled:{_iso(start_ms)}@{_iso(wall_ms)}x{speed}"
        self._settings = msgspec.structs.replace(self._settings, clock=text)
        clock = clock_of(self._settings)
        assert isinstance(clock, ScaledClock)
        return clock

    def _publish_history(self, publisher: Publisher, past: list[Sent], clock: ScaledClock) -> None:
        """Reference data first: whoever starts reads it whole, and old definitions judge old events."""
        first = (self._settings.topics.reference, self._settings.topics.market)
        for reference in (True, False):
            for at_ms, message in past:
                if (message.topic in first) is reference:
                    self._stop.check()
                    publisher.send(message, clock.wall_ms(at_ms))
            publisher.flush()

    def _write_settings(self) -> None:
        """For the workers, and for every command in this folder (`streams.settings.load`)."""
        default = Settings()
        chosen = {
            name: value
            for name, value in msgspec.structs.asdict(self._settings).items()
            if value != getattr(default, name)
        }
        lines = ["# Of the demo that runs in this folder; removed at its end."]
        lines += [f"{name} = {json.dumps(value)}" for name, value in chosen.items()]
        DEMO_FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)


def _close(publisher: Publisher) -> None:
    """Without waiting for acknowledgements that a dead broker will never send."""

    def leave() -> None:
        with suppress(KafkaToolError), publisher:
            pass

    leaving = threading.Thread(target=leave, daemon=True)
    leaving.start()
    leaving.join(_PUBLISHER_END_S)


class _Beside:
    """Something that is computed while we wait for other processes."""

    def __init__(self, compute: Callable[[], list[Sent]]) -> None:
        self._compute = compute
        self._result: list[Sent] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._compute()
        except Exception as error:  # noqa: BLE001 (handed to the thread that waits for the result)
            self._error = error

    def result(self) -> list[Sent]:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
