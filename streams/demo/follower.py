"""Reads what leadstream says beside everything else, as the system of the sales people would."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue

from streams.kafka_tools import KafkaToolError, Reader
from streams.settings import Settings


class _ClosedError(Exception):
    """Ends the reading between two polls."""


class Follower(threading.Thread):
    """All records of some topics, from their beginning, as they are committed."""

    def __init__(self, settings: Settings, topics: Sequence[str]) -> None:
        super().__init__(name="follower", daemon=True)
        self._settings = settings
        self._topics = topics
        self._closed = threading.Event()
        self._found: SimpleQueue[tuple[str, bytes]] = SimpleQueue()
        self._error: KafkaToolError | None = None

    def run(self) -> None:
        try:
            with Reader(self._settings) as reader:
                for record in reader.read(self._topics, follow=True, progress=self._polled):
                    self._found.put((record.topic, record.value or b""))
        except _ClosedError:
            return
        except KafkaToolError as error:
            self._error = error

    def _polled(self, _passed: int, _total: int) -> None:
        if self._closed.is_set():
            raise _ClosedError

    def records(self) -> Iterator[tuple[str, bytes]]:
        """Topic and value of what has arrived since the last call.

        :raises KafkaToolError: the reading has failed.
        """
        while True:
            try:
                yield self._found.get_nowait()
            except Empty:
                break
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End it; the thread needs half a second to notice."""
        self._closed.set()
