"""The processes of the demo: Apache Kafka and the workers, and nothing left of them at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from streams.errors import WorkerError
from streams.settings import ENV_PREFIX

#: Not settings of a worker, but needed to find Java and its jars.
_KEPT = ("LEADSTREAM_CACHE",)


class WorkerProcess:
    """``leadstream worker`` in a process of its own, with its log in a file."""

    def __init__(self, name: str, config: Path, folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._ready = folder / f"{name}.json"
        # What the user has set for other deployments must not reach this one.
        env = {k: v for k, v in os.environ.items() if not k.startswith(ENV_PREFIX) or k in _KEPT}
        env |= {
            "LEADSTREAM_CONFIG": str(config),
            "LEADSTREAM_READY_FILE": str(self._ready),
            "LEADSTREAM_WEB_PORT": "0",
        }
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C goes to the demo, which ends everything in its order.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "streams.cli", "worker"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=env,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code, None while it runs."""
        return self._process.poll()

    @property
    def url(self) -> str:
        """Where its pages are; "" before it is ready."""
        try:
            found: Mapping[str, object] = json.loads(self._ready.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return ""
        return str(found["url"]) if found["pid"] == self.pid else ""

    def terminate(self) -> None:
        if self.code is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, deadline: float) -> None:
        """Until it has ended; killed when it has not by the deadline (monotonic)."""
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        telling = [line for line in lines if " ERROR " in line or " CRITICAL " in line or "Error" in line]
        return "\n".join((telling or lines)[-3:])


class Workers:
    """All workers of the demo; a guard ends them should the demo itself be killed."""

    def __init__(self, count: int, config: Path, folder: Path) -> None:
        self.all = [WorkerProcess(f"worker-{n}", config, folder) for n in range(1, count + 1)]
        self._guard = subprocess.Popen(
            ["sh", "-c", 'read done || kill -TERM "$@"', "sh", *(str(each.pid) for each in self.all)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait_ready(self, seconds: float, check: Callable[[], None]) -> None:
        """Until every worker has its partitions.

        :param check: called while waiting; raises to give up.
        :raises WorkerError: one has ended, or it takes too long.
        """
        deadline = time.monotonic() + seconds
        while not all(each.url for each in self.all):
            check()
            for each in self.all:
                if each.code is not None:
                    raise WorkerError(
                        f"{each.name} ended with code {each.code} while starting:\n{each.last_words()}"
                    )
                if time.monotonic() > deadline:
                    raise WorkerError(f"{each.name} is not ready after {seconds:g} s:\n{each.last_words()}")
            time.sleep(0.05)

    def stop(self, seconds: float) -> None:
        """Ask all to end, and kill those that have not within so many seconds."""
        for each in self.all:
            each.terminate()
        deadline = time.monotonic() + seconds
        for each in self.all:
            each.wait(deadline)
        self._guard.communicate(b"done\n")
