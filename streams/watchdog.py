"""The watchdog: what never ends becomes a restart."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Any

import mode

from streams.errors import WorkerError


class Watchdog(mode.Service):
    """Ends the process when something is under way but nothing has moved for too long.

    A service and not an ``app.task``: those start after the first recovery, and would miss that one
    being stuck.

    :param busy: what is under way (for the message); "" when all is done and it may be quiet.
    :param progress: compared with its value a second before: any change is progress.
    :param limit_s: how long nothing may move while busy.
    """

    INTERVAL_S = 1.0

    def __init__(
        self, busy: Callable[[], str], progress: Callable[[], Hashable], limit_s: float, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._busy = busy
        self._progress = progress
        self._limit_s = limit_s
        self._seen: Hashable = None
        self._still_s = 0.0
        self._looked_at = time.monotonic()

    def stuck(self) -> str:
        """What is stuck; "" if nothing is."""
        self._look()
        still = self._still_s
        return f"stuck: {self._busy()}, no progress for {still:.0f} s" if still > self._limit_s else ""

    def _look(self) -> None:
        seen = self._progress() if self._busy() else None
        now = time.monotonic()
        if seen is None or seen != self._seen:
            self._still_s = 0.0
        else:
            # Of a stretch in which nobody looked (the machine slept, the process was stopped, one step took long)
            # only a moment counts: nothing could move then, and the first look after it must not end the worker.
            self._still_s += min(now - self._looked_at, 2 * self.INTERVAL_S)
        self._seen, self._looked_at = seen, now

    @mode.Service.task  # type: ignore[untyped-decorator] # mode is untyped here
    async def _watch(self) -> None:
        while not self.should_stop:
            if stuck := self.stuck():
                await self.crash(WorkerError(f"{stuck}; ending, so that it is started again"))
                return
            await self.sleep(self.INTERVAL_S)
