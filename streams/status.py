"""Where a worker stands: what the probes, the watchdog, the metrics and the ready file say."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any


class Status:
    """Reads the parts of the application; changes nothing but the ready file."""

    def __init__(self, app: Any, ready_file: str) -> None:
        self._app = app
        self._file = Path(ready_file) if ready_file else None
        self._said: tuple[str, tuple[int, ...]] | None = None
        self._was_live = False
        if self._file is not None:
            self._file.unlink(missing_ok=True)  # of an earlier run

    def not_ready(self) -> str:
        """What is missing before every assigned partition is worked on; "" if nothing is."""
        app = self._app
        if not app.reference.at_end:
            return "reference data is being read"
        if not app.tasks.opened:
            return "rows are being restored" if app.in_recovery else "partitions are being assigned"
        return "" if app.tasks.all_ready else "tasks are starting"

    def busy(self) -> str:
        """What is under way and has to move on; "" if there is nothing to do."""
        if missing := self.not_ready():
            return missing
        if any(task.busy_since is not None for task in self._app.tasks):
            return "a transaction is being stored"
        behind = sorted({topic for topic, _, lag in self.lags() if lag > 0})
        return f"records of {', '.join(behind)} wait" if behind else ""

    def progress(self) -> Hashable:
        """Something that differs whenever anything has moved."""
        app = self._app
        totals = app.tasks.totals()
        restored = sum(partition.offset for partition in app.table.data.partitions.values())
        steps = (app.consumer_generation_id, app.reference.records, restored, totals.transactions)
        return (*steps, tuple(totals.records.values()), self.not_ready())

    def lags(self) -> Iterator[tuple[str, int, int]]:
        """Topic, partition and offsets between what is committed and what could be read."""
        for task in self._app.tasks:
            if not task.ready:
                continue
            for source in task.inputs.values():
                end = self._app.consumer.stable_end(source.tp)
                yield source.tp.topic, task.number, max(0, (end or 0) - source.committed)

    def changed(self) -> None:
        """Tasks were opened, became ready or live: tell the log and the ready file."""
        app = self._app
        live = app.tasks.opened and app.tasks.all_live
        if live and not self._was_live and app.tasks.live:
            app.report.info("live: %d partitions have caught up", len(app.tasks.live))
        self._was_live = live
        self.announce()

    def announce(self) -> None:
        """Write the ready file when it would say something new."""
        if self._file is None or self.not_ready():
            return
        now = (self._app.side.url, tuple(self._app.tasks.ready))
        if now == self._said:
            return
        self._said = now
        said = {"url": now[0], "pid": os.getpid(), "partitions": list(now[1])}
        draft = self._file.with_name(self._file.name + ".new")
        draft.write_text(json.dumps(said), encoding="utf-8")
        draft.replace(self._file)
