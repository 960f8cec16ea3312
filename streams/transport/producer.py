"""The producer: one transactional producer per task, whose start fences whoever had the task before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from aiokafka.producer import sender
from faust.transport.drivers import aiokafka as driver

# The broker answers EndTxn before it has written the markers, and refuses a transaction that follows
# at once (CONCURRENT_TRANSACTIONS). aiokafka then sleeps 20 ms; the markers take about 2 ms.
sender.BACKOFF_OVERRIDE = 0.004


class BatchProducer(driver.Producer):
    """Faust's own producer (idempotent, used for nothing but its buffer) and those of the tasks."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._by_task: dict[str, Any] = {}

    def _settings_extra(self) -> dict[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    def for_task(self, task_id: str) -> Any:
        """The transactional producer of a task that this worker has fenced.

        :raises KeyError: not this worker's.
        """
        return self._by_task[task_id]

    async def fence(self, task_ids: Iterable[str]) -> None:
        """Start a new producer epoch for each task.

        When this returns, transactions of earlier owners are completed or aborted, and whatever they
        still send is refused.
        """
        await self._stop_tasks()
        started = await asyncio.gather(*map(self._start_task, sorted(task_ids)))
        self._by_task = dict(started)

    async def _start_task(self, task_id: str) -> tuple[str, Any]:
        producer = self._producer_type(
            **{
                **self._settings_default(),
                **self._settings_auth(),
                **self._settings_extra(),
                "transactional_id": f"{self.app.conf.id}-{task_id}",
                "transaction_timeout_ms": self.app.transaction_timeout_ms,
            }
        )
        await producer.start()
        return task_id, producer

    async def _stop_tasks(self) -> None:
        old, self._by_task = self._by_task, {}
        # A fenced producer complains when it is stopped; it is of no use any more either way.
        await asyncio.gather(*(producer.stop() for producer in old.values()), return_exceptions=True)

    async def on_stop(self) -> None:
        await self._stop_tasks()
        await super().on_stop()
